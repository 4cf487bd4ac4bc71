"""The SSH port: who gets in, and what opens for those who did. Each refusal is asked for by a client made by hand."""

import asyncio
import logging
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh
import psycopg
import pytest

from airtunnel.config.authority import AuthorityFiles
from airtunnel.errors import Ended
from airtunnel.gateway import server
from airtunnel.gateway.authority import create_keys, load_authority
from airtunnel.model import Tags
from airtunnel.tunnel.control import Control
from airtunnel.tunnel.stream import ChannelEnd
from airtunnel.tunnel.tunnels import Tunnels
from tests.gateway.grants import a_grant, opened, private_key
from tests.gateway.guests import Papers, certify, connect, granted, login_of, papers, visit
from tests.lab import Lab, Site


async def test_an_honest_certificate_is_let_in(lab: Lab) -> None:
    async with lab.gateway() as site, visit(site, papers()) as connection:
        assert connection.get_extra_info("server_version") == "SSH-2.0-airtunnel"
        assert connection.get_extra_info("send_cipher").startswith("aes")


FORGED: dict[str, Callable[[Papers], Papers]] = {
    "expired": lambda one: replace(one, valid_before=timedelta(seconds=-1)),
    "not yet valid": lambda one: replace(one, valid_after=timedelta(minutes=2)),
    "without principals": lambda one: replace(one, principals=()),
    "for another principal": lambda one: replace(one, principals=(a_grant().session,)),
    "under another session's name": lambda one: replace(one, user=a_grant().session),
    "under a name that is none": lambda one: replace(one, user="root"),
    "under a name for the server's file": lambda one: replace(one, user='x",principals="*'),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED.keys())
async def test_a_certificate_that_is_not_quite_right_is_refused(lab: Lab, forge: Callable[[Papers], Papers]) -> None:
    async with lab.gateway() as site:
        with pytest.raises(asyncssh.PermissionDenied):
            async with visit(site, forge(papers())):
                pass
        assert len(site.gateway.sessions) == 0


@pytest.mark.parametrize(
    "forge", [lambda one: replace(one, command=""), lambda one: replace(one, command="sh")], ids=["none", "sh"]
)
async def test_a_certificate_without_a_grant_is_refused(
    lab: Lab, forge: Callable[[Papers], Papers], caplog: pytest.LogCaptureFixture
) -> None:
    async with lab.gateway() as site:
        await _turned_away(site, forge(papers()))
        assert "carries no grant" in caplog.text


async def _turned_away(site: Site, one: Papers) -> None:
    async with visit(site, one) as connection:
        await asyncio.wait_for(connection.wait_closed(), 5)
        with pytest.raises(asyncssh.ChannelOpenError):
            await connection.create_connection(ChannelEnd, "warehouse", 0)
    assert len(site.gateway.sessions) == 0


async def test_another_sessions_grant_is_refused(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    async with lab.gateway() as site:
        other = str(opened(await certify(site.gateway.service.authority, papers())).options["force-command"])
        await _turned_away(site, replace(papers(), command=other))
        assert "another session" in caplog.text


async def test_another_authoritys_certificate_is_refused(lab: Lab, tmp_path: Path) -> None:
    create_keys(tmp_path / "other")
    other = load_authority(AuthorityFiles(tmp_path / "other"))
    async with lab.gateway() as site:
        with pytest.raises(asyncssh.PermissionDenied):
            async with visit(site, papers(), other):
                pass


async def test_a_certificate_of_the_host_authority_is_refused(lab: Lab) -> None:
    async with lab.gateway() as site:
        authority = site.gateway.service.authority
        with pytest.raises(asyncssh.PermissionDenied):
            async with visit(site, papers(), replace(authority, user_ca=authority.host_ca)):
                pass


async def test_a_hosts_certificate_is_no_users(lab: Lab) -> None:
    async with lab.gateway() as site:
        authority, one = site.gateway.service.authority, papers()
        for ca in (authority.user_ca, authority.host_ca):
            certificate = private_key(ca).generate_host_certificate(one.key, "a host", principals=[one.grant.session])
            with pytest.raises(asyncssh.PermissionDenied):
                async with connect(site, username=one.grant.session, client_keys=[(one.key, certificate)]):
                    pass


async def test_a_stolen_certificate_without_its_key_is_refused(lab: Lab) -> None:
    async with lab.gateway() as site:
        one = await granted(site)
        thief = asyncssh.generate_private_key("ssh-ed25519")
        with pytest.raises((asyncssh.PermissionDenied, ValueError)):
            async with connect(site, **(login_of(one) | {"client_keys": [(thief, login_of(one)["client_keys"][0][1])]})):
                pass


@pytest.mark.parametrize("how", ["plain key", "authority's own key", "password", "nothing"])
async def test_anything_but_a_certificate_is_refused(lab: Lab, how: str) -> None:
    async with lab.gateway() as site:
        session = (await granted(site)).reply.session
        choices: dict[str, dict[str, Any]] = {  # Any: asyncssh's options
            "plain key": {"client_keys": [asyncssh.generate_private_key("ssh-ed25519")]},
            "authority's own key": {"client_keys": [private_key(site.gateway.service.authority.user_ca)]},
            "password": {"password": "secret", "password_auth": True, "kbdint_auth": True},
            "nothing": {},
        }
        with pytest.raises(asyncssh.PermissionDenied):
            async with connect(site, username=session, **choices[how]):
                pass


async def test_nothing_but_channels_to_targets_exists(lab: Lab) -> None:
    async with lab.gateway() as site:
        one = await granted(site)
        async with connect(site, **login_of(one)) as connection:
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.create_session(asyncssh.SSHClientSession)
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.run("id", request_pty=False)
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.start_sftp_client()
            with pytest.raises(asyncssh.ChannelListenError):
                await connection.forward_remote_port("", 0, "127.0.0.1", 22)
            with pytest.raises(asyncssh.ChannelListenError):
                await connection.forward_remote_path("/tmp/at.sock", "/tmp/at.sock")
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.create_unix_connection(asyncssh.SSHUNIXSession, str(lab.database.socket))
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.create_tun(asyncssh.SSHTunTapSession)
        assert site.records("connection.opened") == []


@pytest.mark.parametrize("option", ["agent_forwarding", "x11_forwarding"])
async def test_neither_agent_nor_display_is_forwarded(lab: Lab, option: str) -> None:
    async with lab.gateway() as site:
        one = await granted(site)
        with pytest.raises((asyncssh.ChannelOpenError, ValueError, OSError)):
            async with connect(site, **login_of(one)) as connection:
                await connection.run("id", **({"x11_forwarding": True} if option == "x11_forwarding" else {}))


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost", "169.254.169.254", "::1", "nowhere", "", "Warehouse", "warehouse "])
async def test_only_the_names_of_targets_open(lab: Lab, name: str) -> None:
    async with lab.gateway() as site:
        one = await granted(site)
        port = site.gateway.https_port
        async with connect(site, **login_of(one)) as connection:
            with pytest.raises(asyncssh.ChannelOpenError) as caught:
                await connection.create_connection(ChannelEnd, name, port)
        (refusal,) = site.records("refused")
        assert refusal["sid"] == one.reply.session
        assert refusal["id"] in caught.value.reason
        assert site.records("connection.opened") == []


@pytest.mark.parametrize("name", ["x\nINFO:root:forged", "\x1b[2J", "a" * 5000, "\u202ewarehouse"])
async def test_a_name_cannot_write_into_the_log(lab: Lab, name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "airtunnel")
    async with lab.gateway() as site:
        one = await granted(site)
        async with connect(site, **login_of(one)) as connection:
            with pytest.raises(asyncssh.ChannelOpenError) as caught:
                await connection.create_connection(ChannelEnd, name, 1)
        assert site.records("refused")[0]["target"] == "(no name)"
        assert site.records("refused")[0]["target"].isprintable()
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("airtunnel")]
    assert ours
    assert all(line.isprintable() and len(line) < 2000 for line in [*ours, caught.value.reason])


async def test_a_channel_before_the_login_ends_the_connection(lab: Lab) -> None:
    class Hasty(asyncssh.SSHClient):
        """Asks for a channel in the middle of the login (CVE-2018-7749)."""

        def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
            send = conn.send_packet

            def hasty(kind: int, *parts: bytes, handler: Any = None) -> None:  # Any: asyncssh's own
                if kind == 50:  # SSH_MSG_USERAUTH_REQUEST, RFC 4252 section 5
                    # asyncssh itself would keep the packet back until the login is over.
                    conn._auth_complete = True
                    send(90, *channel_open())
                    conn._auth_complete = False
                send(kind, *parts, handler=handler)

            conn.send_packet = hasty  # type: ignore[method-assign, assignment]  # the only way to make asyncssh break its protocol

    def channel_open() -> list[bytes]:
        """SSH_MSG_CHANNEL_OPEN for direct-tcpip, RFC 4254 sections 5.1 and 7.2."""
        number, text = asyncssh.packet.UInt32, asyncssh.packet.String
        head = [text("direct-tcpip"), number(0), number(2**21), number(2**15)]
        return [*head, text("warehouse"), number(0), text("127.0.0.1"), number(1)]

    async with lab.gateway() as site:
        with pytest.raises(asyncssh.ProtocolError, match="before authentication"):
            async with connect(site, **login_of(await granted(site)), client_factory=Hasty):
                pass
        assert site.records("connection.opened", "refused") == []


async def _idle(site: Site) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", site.published.ssh_port)
    return reader, writer


async def test_those_who_say_nothing_are_let_go(lab: Lab) -> None:
    async with lab.gateway(extra="ssh: {login_timeout: 1s}") as site:
        crowd = [await _idle(site) for _ in range(20)]
        async with asyncio.timeout(5):
            for reader, _ in crowd:
                assert (await reader.read()).startswith(b"SSH-2.0-airtunnel")
        for _, writer in crowd:
            writer.close()
        async with visit(site, papers()):
            pass


async def test_no_more_than_so_many_wait_without_a_login(lab: Lab) -> None:
    async with lab.gateway(extra="ssh: {max_unauthenticated: 3}") as site:
        crowd = [await _idle(site) for _ in range(3)]
        for reader, _ in crowd:
            assert (await reader.readline()).startswith(b"SSH-2.0-airtunnel")
        reader, late = await _idle(site)
        assert (await reader.readline()).startswith(b"SSH-2.0-airtunnel")
        async with asyncio.timeout(5):
            await _rest(crowd[0][0])
        # Whoever crowds the door pushes out the oldest of their own: an honest login still gets in.
        async with visit(site, papers()):
            pass
        for _, writer in [*crowd, (reader, late)]:
            writer.close()


async def test_who_opens_too_many_and_never_logs_in_is_turned_away_before_a_key_is_exchanged(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "STRANGERS_BURST", 3)
    monkeypatch.setattr(server, "STRANGERS_RATE", 0.0)
    async with lab.gateway() as site:
        for _ in range(5):  # who logs in does not count
            async with visit(site, papers()):
                pass
        crowd = [await _idle(site) for _ in range(3)]
        for reader, _ in crowd:
            assert (await reader.readline()).startswith(b"SSH-2.0-airtunnel")
        late, writer = await _idle(site)
        async with asyncio.timeout(5):
            assert await _rest(late) == b""
        for _, one in [*crowd, (late, writer)]:
            one.close()
    assert not [one for one in caplog.records if one.exc_info]


async def _rest(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.read()
    except ConnectionError:
        return b""


async def _until(ask: Callable[[], Any]) -> None:  # Any: an awaitable, or a plain answer
    async with asyncio.timeout(10):
        while True:
            answer = ask()
            if await answer if asyncio.iscoroutine(answer) else answer:
                return
            await asyncio.sleep(0.02)


async def test_those_who_are_logged_in_do_not_count_as_waiting(lab: Lab) -> None:
    async with lab.gateway(extra="ssh: {max_unauthenticated: 1}") as site, visit(site, papers()), visit(site, papers()):
        assert len(site.gateway.sessions) == 2


async def test_a_logout_ends_sessions_at_once_and_their_certificates_for_good(lab: Lab) -> None:
    async with lab.gateway() as site:
        account = await site.account("ana")
        async with Tunnels.open(account, ["warehouse"], Tags()) as tunnels:
            way = await tunnels.listen("warehouse")
            idle = await psycopg.AsyncConnection.connect(way.url)
            one = await granted(site)
            await Control(site.address, site.ca).log_out(await account.present())
            with pytest.raises(psycopg.errors.AdminShutdown, match="revoked"):
                await idle.execute("SELECT 1")
            await idle.close()
            await asyncio.wait_for(tunnels.link.over.wait(), 5)
            assert isinstance(tunnels.link.error, Ended)
            assert tunnels.link.error.reason == "revoked"
            async with connect(site, **login_of(one)) as connection:
                await asyncio.wait_for(connection.wait_closed(), 5)
        await _until(lambda: site.records("session.closed"))
        assert [record["close_reason"] for record in site.records("connection.closed", "session.closed")] == ["revoked"] * 2
        assert len(site.records("logout")) == 1
        assert lab.roles() == []
        lab.known.pop("ana")  # what logged out is spent: it takes another login
        async with Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as again:
            await again.test("warehouse")


async def test_a_revoked_sessions_next_channel_is_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airtunnel.gateway.follow.LOOK", timedelta(hours=1))  # else the session may have ended before
    async with lab.gateway() as site:
        one = await granted(site)
        async with Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels:
            # Elsewhere: another replica writes it into the store.
            await site.gateway.service.store.revoke_session(tunnels.reply.session, datetime.now(UTC) + timedelta(hours=1))
            way = await tunnels.listen("warehouse")
            with pytest.raises(psycopg.OperationalError, match=r"refused by rule revoked.*this session was revoked"):
                await psycopg.AsyncConnection.connect(way.url)
        async with connect(site, **login_of(one)) as untouched:
            await untouched.create_connection(ChannelEnd, "warehouse", 0)


@pytest.mark.skipif(shutil.which("ssh") is None, reason="there is no ssh")
async def test_a_stock_ssh_is_let_in_and_its_refusal_stands_whole_on_stderr(lab: Lab, tmp_path: Path) -> None:
    async with lab.gateway(extra="ssh: {compat_openssh: true}") as site:
        one = await granted(site)
        port, other = await _free_port(), await _free_port()
        command = _ssh(site, one, tmp_path, f"{port}:warehouse:5432", f"{other}:payroll:5432")
        ssh = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
        assert ssh.stderr is not None
        try:
            await _until(lambda: _listens(port))
            url = f"host=127.0.0.1 port={port} user=ana dbname=shop sslmode=disable connect_timeout=10"
            async with await psycopg.AsyncConnection.connect(url) as connection:
                cursor = await connection.execute("SELECT current_user")
                assert await cursor.fetchone() == ("shop_rw",)
            with pytest.raises(psycopg.OperationalError):
                await psycopg.AsyncConnection.connect(url.replace(f"port={port}", f"port={other}"))
        finally:
            ssh.terminate()
            said = (await ssh.stderr.read()).decode()
            await ssh.wait()
    assert "ana@example.com may not reach payroll" in said
    assert "payroll-is-for-finance (policy/policy.yaml:" in said
    assert str(lab.database.socket) not in said


def _ssh(site: Site, one: Any, directory: Path, *forwards: str) -> list[str]:  # Any: Granted
    key, hosts = directory / "key", directory / "known_hosts"
    key.touch(0o600)
    key.write_bytes(one.key.export_private_key())
    (directory / "key-cert.pub").write_text(one.reply.certificate + "\n")
    hosts.write_text(f"@cert-authority * {site.published.host_cas[0]}\n")
    options = (
        "StrictHostKeyChecking=yes",
        f"UserKnownHostsFile={hosts}",
        "GlobalKnownHostsFile=/dev/null",
        "IdentitiesOnly=yes",
        "ExitOnForwardFailure=yes",
        "BatchMode=yes",
    )
    flags = [word for option in options for word in ("-o", option)]
    flags += [word for forward in forwards for word in ("-L", f"127.0.0.1:{forward}")]
    where = ["-p", str(site.published.ssh_port), "-l", one.reply.session, "-i", str(key)]
    return ["ssh", "-F", "none", "-N", *where, *flags, "127.0.0.1"]


async def _free_port() -> int:
    server = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = int(server.sockets[0].getsockname()[1])
    server.close()
    await server.wait_closed()
    return port


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
