"""A grant for a stock ssh, by the command that is printed."""

import asyncio
import shlex
import shutil
import socket
from pathlib import Path

import psycopg
import pytest

from tests.cli.terminal import Terminal
from tests.lab import Lab
from tests.tunnel.test_openssh import COMPATIBLE, wait_open


async def test_the_printed_command_reaches_the_target(terminal: Terminal, lab: Lab, tmp_path: Path) -> None:
    if shutil.which("ssh") is None:
        pytest.skip("there is no ssh")
    async with lab.gateway(extra=COMPATIBLE) as site:
        terminal.log_in(site, await lab.tokens("ana"))
        ended = await terminal.run("ssh-config", "warehouse", "--dir", str(tmp_path / "for ssh"))
        assert ended.code == 0, ended.err
        assert "ana@example.com may connect with it until" in ended.err
        with socket.create_server(("127.0.0.1", 0)) as bound:
            port = bound.getsockname()[1]
        ssh = await asyncio.create_subprocess_exec(*shlex.split(ended.out.replace("15432", str(port))))
        try:
            await wait_open(port)
            async with await psycopg.AsyncConnection.connect(f"postgresql://ana@127.0.0.1:{port}/shop") as connection:
                row = await (await connection.execute("SELECT current_user")).fetchone()
            assert row == ("shop_rw",)
        finally:
            ssh.terminate()
            await ssh.wait()


async def test_what_is_refused_is_not_written(ana: Terminal, tmp_path: Path) -> None:
    ended = await ana.run("ssh-config", "payroll", "--dir", str(tmp_path / "ssh"))
    assert ended.code == 77
    assert "payroll-is-for-finance" in ended.err
    assert not (tmp_path / "ssh").exists()
