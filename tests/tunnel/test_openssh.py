"""A stock `ssh` with the files that we write for it."""

import asyncio
import shutil
import socket
import stat
from pathlib import Path

import psycopg
import pytest

from airtunnel.errors import ConfigError
from airtunnel.model import Tags
from airtunnel.tunnel.openssh import write_files
from tests.lab import Lab

COMPATIBLE = "ssh: {compat_openssh: true}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


async def open_ssh(config: Path, *words: str) -> asyncio.subprocess.Process:
    """`ssh` with our configuration and nothing of the user's."""
    if shutil.which("ssh") is None:
        pytest.skip("there is no ssh")
    return await asyncio.create_subprocess_exec("ssh", "-F", str(config), *words, stderr=asyncio.subprocess.PIPE)


async def wait_open(port: int) -> None:
    """Wait until something listens there."""
    async with asyncio.timeout(15):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except ConnectionRefusedError:
                await asyncio.sleep(0.02)
            else:
                writer.close()
                return


async def test_a_stock_ssh_carries_a_query_and_shows_a_refusal_whole(lab: Lab, tmp_path: Path) -> None:
    async with lab.gateway(extra=COMPATIBLE) as site:
        account = await site.account("ana")
        granted = await account.grant(("warehouse",), Tags())
        config = write_files(tmp_path / "a dir", site.published, granted)
        open_port, closed_port = free_port(), free_port()
        forwards = ("-L", f"{open_port}:warehouse:5432", "-L", f"{closed_port}:payroll:5432")
        ssh = await open_ssh(config, "-N", *forwards, "airtunnel")
        try:
            await wait_open(open_port)
            url = f"postgresql://ana@127.0.0.1:{open_port}/shop"

            def ask() -> object:
                with psycopg.connect(url) as connection:
                    return connection.execute("SELECT current_user").fetchone()

            assert await asyncio.to_thread(ask) == ("shop_rw",)
            with pytest.raises(psycopg.OperationalError):
                await asyncio.to_thread(lambda: psycopg.connect(url.replace(str(open_port), str(closed_port))))
        finally:
            ssh.terminate()
            _, errors = await ssh.communicate()
        assert "administratively prohibited" in errors.decode()
        for part in ("payroll", "payroll-is-for-finance (policy/policy.yaml:20)", "needs group finance; you are in: data-eng"):
            assert part in errors.decode()


async def test_the_files_are_for_their_owner_only(lab: Lab, tmp_path: Path) -> None:
    async with lab.gateway() as site:
        granted = await (await site.account("ana")).grant(("warehouse",), Tags())
        config = write_files(tmp_path / "ssh", site.published, granted)
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (config.parent, *config.parent.iterdir())}
        assert modes == {"ssh": 0o700, "key": 0o600, "key-cert.pub": 0o600, "known_hosts": 0o600, "config": 0o600}
        config.parent.chmod(0o755)
        with pytest.raises(ConfigError, match="others may enter"):
            write_files(config.parent, site.published, granted)
