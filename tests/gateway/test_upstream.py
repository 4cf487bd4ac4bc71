"""Failures behind the gateway, as they reach a driver: named, native, and without address or secret."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest

from airtunnel.errors import AirtunnelError, Unreachable
from airtunnel.gateway import upstream
from airtunnel.gateway.setup import create_certificate
from airtunnel.model import Address, Lease, Place, Protocol, Tags, Target
from airtunnel.tunnel.stream import SocketEnd
from airtunnel.tunnel.tunnels import Tunnels
from airtunnel.wire import postgres
from tests.lab import POLICY, Lab

FILE = POLICY.replace(
    "credential: {{source: postgres-role, admin: broker, admin_password_file: ../secrets/broker.password, role: shop_rw}}",
    "credential: {{source: file, path: LOGIN}}",
)
"""A fixed login, so that the target alone is what fails."""


async def complaint(lab: Lab, policy: str, login: str = "") -> str:
    """What psycopg hears when it connects."""
    secret = lab.root / "login.toml"
    secret.touch(0o600)
    policy = policy.replace("LOGIN", str(secret))
    secret.write_text(login or f'user = "broker"\npassword = "{lab.database.broker_password}"\n')
    async with lab.gateway(policy) as site, Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels:
        way = await tunnels.listen("warehouse")
        with pytest.raises(psycopg.OperationalError) as caught:
            await asyncio.wait_for(psycopg.AsyncConnection.connect(way.url), 8)
        with pytest.raises(Unreachable) as tested:
            await tunnels.test("warehouse")
        assert tested.value.message in str(caught.value)
    assert [record["close_reason"] for record in site.records("connection.closed")] == ["failed"] * 2
    said = str(caught.value)
    assert lab.database.broker_password not in said
    assert str(lab.database.socket) not in said
    assert "airtunnel: " in said
    return said


async def test_a_database_that_is_down(lab: Lab) -> None:
    said = await complaint(lab, FILE.replace("address: {address}", "address: 127.0.0.1:1", 1))
    assert "target warehouse is unreachable: connect" in said
    assert "127.0.0.1:1" not in said


async def test_a_database_without_the_tls_that_is_demanded(lab: Lab) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(b"N")
        await reader.read()

    async with serving(refuse) as port:
        said = await complaint(lab, FILE.replace("address: {address}", f"address: 127.0.0.1:{port}", 1))
    assert "target warehouse offers no TLS" in said


@contextlib.asynccontextmanager
async def serving(handle: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]) -> AsyncIterator[int]:
    """A server for one kind of conversation; its port."""
    tasks: set[asyncio.Task[None]] = set()

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handle(reader, writer)
        except (OSError, EOFError):
            return
        finally:
            # Not `close`: after a TLS handshake that failed, 3.11 never says that it is done.
            writer.transport.abort()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.get_running_loop().create_task(guarded(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield int(server.sockets[0].getsockname()[1])
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def test_a_credential_source_that_fails_is_named(lab: Lab) -> None:
    (lab.root / "wrong").mkdir()
    wrong = lab.root / "wrong" / "broker.password"
    wrong.touch(0o600)
    wrong.write_text("not-the-password")
    said = await complaint(lab, POLICY.replace("../secrets/broker.password", str(wrong)))
    assert "postgres-role" in said
    assert "warehouse" in said
    assert "not-the-password" not in said


async def test_a_login_that_the_database_refuses_is_told_in_its_own_words(lab: Lab) -> None:
    said = await complaint(lab, FILE, 'user = "nobody-here"\npassword = "sesame-open"\n')
    assert "the database refused: password authentication failed" in said
    assert "sesame" not in said


def a_target(address: Address, **options: object) -> Target:
    return Target("warehouse", Protocol.POSTGRES, address, Place("policy.yaml", 3), **options)  # type: ignore[arg-type]  # a few of its fields


def a_lease() -> Lease:
    return Lease("abc", "file", "ana", "secret", datetime.now(UTC))


async def test_a_missing_socket_is_unreachable_and_not_named(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"^target warehouse is unreachable: no such file or directory$"):
        await upstream.dial(a_target(Address(path=str(tmp_path / "none"))))


async def test_a_database_that_leaves_during_the_login_is_unreachable(tmp_path: Path) -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(4)
        writer.close()

    async with serving(leave) as port:
        for tls in (False, True):
            target = a_target(Address("127.0.0.1", port), tls=tls)
            with pytest.raises(Unreachable, match="closed the connection"):
                await upstream.log_in(target, postgres.Startup({"user": "ana"}), a_lease())


async def test_a_database_that_wants_the_password_in_clear_does_not_get_it_without_tls() -> None:
    heard = bytearray()

    async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"R\0\0\0\x08\0\0\0\x03")  # AuthenticationCleartextPassword
        heard.extend(await reader.read())
        writer.close()

    async with serving(ask) as port:
        with pytest.raises(AirtunnelError) as caught:
            await upstream.log_in(a_target(Address("127.0.0.1", port), tls=False), postgres.Startup({"user": "ana"}), a_lease())
        assert "clear" in str(caught.value)
    assert b"secret" not in heard


class Tls:
    """A server that answers SSLRequest with S, then TLS with a certificate for `name`, and closes."""

    def __init__(self, directory: Path, name: str, early: bytes = b"") -> None:
        create_certificate(directory, (name,))
        self.early = early
        self.ca = str(directory / "ca.pem")
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self.context.load_cert_chain(directory / "gateway.pem", directory / "gateway.key")

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, ssl.SSLError, OSError):
            await reader.readexactly(8)
            writer.write(b"S" + self.early)
            await writer.drain()
            if not self.early:
                await writer.start_tls(self.context)
                await reader.read()
        writer.close()


async def test_a_certificate_for_another_name_is_not_taken(tmp_path: Path) -> None:
    server = Tls(tmp_path, "other.internal")
    async with serving(server.handle) as port:
        for target in (
            a_target(Address("127.0.0.1", port), tls_ca=server.ca),
            a_target(Address("127.0.0.1", port), tls_ca=server.ca, tls_name="db.internal"),
            a_target(Address("127.0.0.1", port), tls_name="other.internal"),
        ):
            with pytest.raises(Unreachable, match="has no good certificate") as caught:
                await upstream.log_in(target, postgres.Startup({"user": "ana"}), a_lease())
            assert "policy.yaml:3" in str(caught.value.hint)


async def test_bytes_between_the_answer_and_tls_are_refused(tmp_path: Path) -> None:
    server = Tls(tmp_path, "127.0.0.1", early=b"E\0\0\0\x05\0")
    async with serving(server.handle) as port:
        with pytest.raises(Unreachable, match=r"before TLS|TLS failed"):
            await upstream.log_in(
                a_target(Address("127.0.0.1", port), tls_ca=server.ca), postgres.Startup({"user": "a"}), a_lease()
            )


async def test_a_cancel_for_a_target_that_is_gone_is_unreachable_and_one_that_closes_is_done() -> None:
    got = asyncio.Event()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert len(await reader.readexactly(16)) == 16
        got.set()
        writer.close()

    async with serving(take) as port:
        await upstream.cancel(a_target(Address("127.0.0.1", port), tls=False), postgres.CancelRequest(1, b"1234"))
    assert got.is_set()
    with pytest.raises(Unreachable):
        await upstream.cancel(a_target(Address("127.0.0.1", 1), tls=False), postgres.CancelRequest(1, b"1234"))


async def test_dial_gives_an_open_end() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hi")
        await reader.read()
        writer.close()

    async with serving(greet) as port:
        end = await upstream.dial(a_target(Address("127.0.0.1", port)))
        assert isinstance(end, SocketEnd)
        assert await end.read(2) == b"hi"
        end.close()
