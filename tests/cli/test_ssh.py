"""A grant for a stock ssh, by the command that is printed."""

import asyncio
import shlex
import shutil
import socket
import stat
from pathlib import Path

import psycopg
import pytest

from tests.cli.terminal import Terminal
from tests.lab import Lab, Site
from tests.ssh_agent import held, ssh_agent
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


async def test_without_a_directory_the_files_are_airtunnels_own(ana: Terminal, site: Site) -> None:
    ended = await ana.run("ssh-config", "warehouse")
    assert ended.code == 0, ended.err
    place = ana.state / "ssh" / site.address
    assert shlex.split(ended.out)[:3] == ["ssh", "-F", str(place / "config")]
    assert stat.S_IMODE(place.stat().st_mode) == 0o700
    assert stat.S_IMODE((place / "key").stat().st_mode) == 0o600


async def test_the_agent_has_the_key_and_the_disk_has_none(terminal: Terminal, lab: Lab, tmp_path: Path) -> None:
    if shutil.which("ssh") is None:
        pytest.skip("there is no ssh")
    async with lab.gateway(extra=COMPATIBLE) as site, ssh_agent(tmp_path / "agent.sock"):
        terminal.log_in(site, await lab.tokens("ana"))
        terminal.variables["SSH_AUTH_SOCK"] = str(tmp_path / "agent.sock")
        ended = await terminal.run("ssh-config", "warehouse", "--agent")
        assert ended.code == 0, ended.err
        assert len(ended.out.splitlines()) == 1
        assert "your ssh-agent forgets the key" in ended.err
        (session,) = {comment.removeprefix("airtunnel ") for comment in await held(tmp_path / "agent.sock")}
        assert [one["sid"] for one in site.records("grant.issued")] == [session]
        files = [path for path in (terminal.state / "ssh").rglob("*") if path.is_file()]
        assert {path.name for path in files} == {"key.pub", "key-cert.pub", "known_hosts", "config"}
        assert not [path for path in files if "PRIVATE" in path.read_text()]
        with socket.create_server(("127.0.0.1", 0)) as bound:
            port = bound.getsockname()[1]
        ssh = await asyncio.create_subprocess_exec(
            *shlex.split(ended.out.replace("15432", str(port))), env=terminal.environment
        )
        try:
            await wait_open(port)
        finally:
            ssh.terminate()
            await ssh.wait()


async def test_without_an_agent_no_grant_is_asked_for(ana: Terminal, site: Site) -> None:
    ana.variables["SSH_AUTH_SOCK"] = ""
    ended = await ana.run("ssh-config", "warehouse", "--agent")
    assert (ended.code, ended.out) == (69, "")
    assert "hint: eval $(ssh-agent)" in ended.err
    assert site.records("grant.issued") == []
    assert not (ana.state / "ssh").exists()
