"""A stock `ssh` with the files that we write for it."""

import asyncio
import os
import shutil
import socket
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import psycopg
import pytest

from airtunnel.errors import ConfigError, ProtocolError, Unreachable
from airtunnel.gateway.rotation import rotate
from airtunnel.model import Tags
from airtunnel.tunnel.control import Granted
from airtunnel.tunnel.openssh import add_to_agent, open_agent, write_files
from airtunnel.wire.control import GrantReply
from tests.lab import Lab
from tests.ssh_agent import held, ssh_agent

COMPATIBLE = "ssh: {compat_openssh: true}"


NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def granted_until(end: datetime) -> Granted:
    """A grant as a gateway would send it that says whatever it likes."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    certificate = key.generate_user_certificate(key, "ana", principals=["session"]).export_certificate().decode()
    return Granted(GrantReply("session", certificate, "ana", end, end, ()), key)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        return int(bound.getsockname()[1])


async def open_ssh(config: Path, *words: str, **variables: str) -> asyncio.subprocess.Process:
    """`ssh` with our configuration and nothing of the user's."""
    if shutil.which("ssh") is None:
        pytest.skip("there is no ssh")
    environment = {name: value for name, value in os.environ.items() if name != "SSH_AUTH_SOCK"} | variables
    return await asyncio.create_subprocess_exec(
        "ssh", "-F", str(config), *words, stderr=asyncio.subprocess.PIPE, env=environment
    )


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


async def test_a_key_that_only_the_agent_has_carries_a_query(lab: Lab, tmp_path: Path) -> None:
    socket_path = tmp_path / "agent.sock"
    async with lab.gateway(extra=COMPATIBLE) as site, ssh_agent(socket_path):
        granted = await (await site.account("ana")).grant(("warehouse",), Tags())
        async with open_agent(str(socket_path)) as agent:
            await add_to_agent(agent, granted, datetime.now(UTC))
        assert set(await held(socket_path)) == {f"airtunnel {granted.reply.session}"}
        config = write_files(tmp_path / "ssh", site.published, granted, in_agent=True)
        assert sorted(path.name for path in config.parent.iterdir()) == ["config", "key-cert.pub", "key.pub", "known_hosts"]
        assert not [path for path in config.parent.iterdir() if "PRIVATE" in path.read_text()]
        port = free_port()
        words = ("-N", "-L", f"{port}:warehouse:5432", "airtunnel")
        ssh = await open_ssh(config, *words, SSH_AUTH_SOCK=str(socket_path))
        try:
            await wait_open(port)
            url = f"postgresql://ana@127.0.0.1:{port}/shop"
            async with await psycopg.AsyncConnection.connect(url) as connection:
                assert await (await connection.execute("SELECT current_user")).fetchone() == ("shop_rw",)
        finally:
            ssh.terminate()
            await ssh.communicate()
        without = await open_ssh(config, *words, SSH_AUTH_SOCK="")
        _, errors = await asyncio.wait_for(without.communicate(), 15)
        assert without.returncode == 255
        assert "Permission denied" in errors.decode()


async def test_the_agent_forgets_the_key_with_the_grant(lab: Lab, tmp_path: Path) -> None:
    socket_path = tmp_path / "agent.sock"
    async with lab.gateway(extra="grants: {ttl: 3s}") as site, ssh_agent(socket_path):
        granted = await (await site.account("ana")).grant(("warehouse",), Tags())
        async with open_agent(str(socket_path)) as agent:
            await add_to_agent(agent, granted, datetime.now(UTC))
        assert await held(socket_path)
        async with asyncio.timeout(10):
            while await held(socket_path):
                await asyncio.sleep(0.05)
        # An agent's clock has whole seconds.
        assert datetime.now(UTC) < granted.reply.valid_before + timedelta(seconds=2)


async def test_a_grant_that_is_over_already_is_not_held_for_ever(lab: Lab, tmp_path: Path) -> None:
    socket_path = tmp_path / "agent.sock"
    async with lab.gateway() as site, ssh_agent(socket_path):
        granted = await (await site.account("ana")).grant(("warehouse",), Tags())
        async with open_agent(str(socket_path)) as agent:
            await add_to_agent(agent, granted, granted.reply.valid_before + timedelta(minutes=1))
        async with asyncio.timeout(10):
            while await held(socket_path):
                await asyncio.sleep(0.05)


class Taker:
    """An agent that takes every key, and says for how long."""

    def __init__(self) -> None:
        self.lifetime = 0

    async def add_keys(self, keys: object, *, lifetime: int) -> None:
        self.lifetime = lifetime


UTC_9999 = datetime.max.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("end", "lifetime"),
    [
        (NOW + timedelta(minutes=5), 300),
        (NOW + timedelta(hours=24), 86400),
        (NOW + timedelta(hours=24, seconds=1), 86400),
        (datetime(2100, 1, 1, tzinfo=UTC), 86400),
        (UTC_9999, 86400),
        (NOW + timedelta(milliseconds=1), 1),
        (datetime.min.replace(tzinfo=UTC), 1),
    ],
)
async def test_an_agent_keeps_a_key_for_a_second_to_a_day_whatever_the_gateway_says(end: datetime, lifetime: int) -> None:
    agent = Taker()
    await add_to_agent(agent, granted_until(end), NOW)  # type: ignore[arg-type]  # all that is asked of an agent
    assert agent.lifetime == lifetime


@pytest.mark.parametrize(
    "nonsense",
    [{"valid_before": datetime(2026, 11, 22)}, {"certificate": "rubbish"}, {"certificate": ""}],  # noqa: DTZ001 of no zone
    ids=["a time of no zone", "no certificate", "nothing"],
)
async def test_a_reply_that_makes_no_sense_gives_nothing_to_the_agent(nonsense: dict[str, Any]) -> None:
    agent, sound = Taker(), granted_until(NOW + timedelta(minutes=5))
    with pytest.raises(ProtocolError, match="makes no sense"):
        await add_to_agent(
            agent,  # type: ignore[arg-type]  # all that is asked of an agent
            replace(sound, reply=replace(sound.reply, **nonsense)),
            NOW,
        )
    assert agent.lifetime == 0


async def test_without_an_agent_it_is_told_how_to_start_one(tmp_path: Path) -> None:
    for where, said in (
        (None, "SSH_AUTH_SOCK is not set"),
        ("", "SSH_AUTH_SOCK is not set"),
        (str(tmp_path / "gone.sock"), "does not answer"),
    ):
        with pytest.raises(Unreachable, match=said) as caught:
            async with open_agent(where):
                pass
        assert caught.value.hint == "eval $(ssh-agent)"


async def test_an_agent_that_takes_no_key_is_told(lab: Lab, tmp_path: Path) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"\x00\x00\x00\x01\x05")  # SSH_AGENT_FAILURE
        await writer.drain()
        await reader.read()
        writer.close()

    async with lab.gateway() as site, await asyncio.start_unix_server(refuse, tmp_path / "agent.sock"):
        granted = await (await site.account("ana")).grant(("warehouse",), Tags())
        async with open_agent(str(tmp_path / "agent.sock")) as agent:
            with pytest.raises(Unreachable, match="the ssh-agent does not take the key"):
                await add_to_agent(agent, granted, datetime.now(UTC))


async def test_the_other_kinds_key_does_not_stay(lab: Lab, tmp_path: Path) -> None:
    async with lab.gateway() as site:
        granted = await (await site.account("ana")).grant(("warehouse",), Tags())
        for in_agent in (False, True, False):
            config = write_files(tmp_path / "ssh", site.published, granted, in_agent=in_agent)
            names = {path.name for path in config.parent.iterdir()}
            assert ("key" in names, "key.pub" in names) == (not in_agent, in_agent)


async def test_a_gateway_that_the_host_ca_did_not_sign_is_not_spoken_to(lab: Lab, tmp_path: Path) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode().strip()
    async with lab.gateway(extra=COMPATIBLE) as site:
        granted = await (await site.account("ana")).grant(("warehouse",), Tags())
        for cas in ((other,), ()):
            config = write_files(tmp_path / "ssh", replace(site.published, host_cas=cas), granted)
            ssh = await open_ssh(config, "-N", "airtunnel")
            _, errors = await asyncio.wait_for(ssh.communicate(), 15)
            assert ssh.returncode == 255
            assert "Host key verification failed" in errors.decode()
        assert len(site.gateway.sessions) == 0


async def test_every_host_ca_is_pinned_while_there_are_two(lab: Lab, tmp_path: Path) -> None:
    keys = lab.write(extra=COMPATIBLE) / "authority"
    rotate(keys / "host_ca", None)
    async with lab.gateway(extra=COMPATIBLE) as site:
        assert len(site.published.host_cas) == 2
        granted = await (await site.account("ana")).grant(("warehouse",), Tags())
        config = write_files(tmp_path / "ssh", site.published, granted)
        rotate(keys / "host_ca", None)
        async with asyncio.timeout(10):
            while not site.records("authority.changed"):
                await asyncio.sleep(0.02)
        port = free_port()
        ssh = await open_ssh(config, "-N", "-L", f"{port}:warehouse:5432", "airtunnel")
        try:
            await wait_open(port)
        finally:
            ssh.terminate()
            await ssh.communicate()
