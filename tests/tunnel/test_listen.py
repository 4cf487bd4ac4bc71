"""The local end: who gets in, who does not, and what becomes of the others when one breaks."""

import asyncio
import contextlib
import os
import socket
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from airtunnel.errors import AddressTaken, ConfigError, Unreachable
from airtunnel.model import Protocol, Tags
from airtunnel.tunnel.listen import Bind, Listener, Traffic
from airtunnel.tunnel.loopback import port_holder
from airtunnel.tunnel.stream import ChannelEnd
from airtunnel.tunnel.tunnels import Tunnels, Way
from tests.lab import Lab

# ruff: noqa: ASYNC240 - looks at a local file between two awaits, and nobody waits for it

NOBODY = 65534
AS_NOBODY = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
kind, where = sys.argv[1:]
one = socket.socket(socket.AF_UNIX if kind == "unix" else socket.AF_INET)
try:
    one.connect(where if kind == "unix" else ("127.0.0.1", int(where)))
    one.settimeout(10)
    # A startup packet, as ana@example.com for database shop.
    body = b"\\0\\3\\0\\0user\\0ana@example.com\\0database\\0shop\\0\\0"
    one.sendall((len(body) + 4).to_bytes(4, "big") + body)
    sys.stdout.buffer.write(one.recv(4096))
except OSError as error:
    print(type(error).__name__)
"""


@pytest.fixture
def near() -> Iterator[Path]:
    """A directory whose name is short enough for a socket's path."""
    with tempfile.TemporaryDirectory(prefix="at-") as name:
        yield Path(name)


@contextlib.asynccontextmanager
async def opened(lab: Lab) -> AsyncIterator[Tunnels]:
    async with lab.gateway() as site, Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels:
        yield tunnels


def who(url: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT current_user").fetchone()
    assert row is not None
    return str(row[0])


async def no_channel() -> ChannelEnd:
    raise Unreachable("the gateway is gone", hint="airtunnel login")


@contextlib.asynccontextmanager
async def listening(
    bind: Bind,
    *,
    protocol: Protocol = Protocol.POSTGRES,
    open_channel: Callable[[], Awaitable[ChannelEnd]] = no_channel,
    done: Callable[[Traffic], None] = lambda traffic: None,
) -> AsyncIterator[Listener]:
    listener = Listener("warehouse", protocol, open_channel, on_close=done)
    try:
        await listener.start(bind)
        yield listener
    finally:
        await listener.close()


async def test_a_port_lets_in_whoever_knows_the_session_password_and_nobody_else(lab: Lab) -> None:
    async with opened(lab) as tunnels:
        way = await tunnels.listen("warehouse")
        assert way.host == "127.0.0.1"
        assert await asyncio.to_thread(who, way.url) == "shop_rw"
        for wrong in ("wrong", "", way.password + "x"):
            with pytest.raises(psycopg.OperationalError) as caught:
                await asyncio.to_thread(who, way.url.replace(way.password, wrong) + "?passfile=/dev/null")
            assert way.password not in str(caught.value)
        error = await asyncio.to_thread(asyncpg_error, way)
        assert error == "28P01"
    assert way.password not in repr(way)


def asyncpg_error(way: Way) -> str:
    """The SQLSTATE of a login with a wrong password, which psycopg does not show."""
    import asyncpg

    async def ask() -> str:
        try:
            await asyncpg.connect(host=way.host, port=way.port, user=way.user, password="wrong", database="shop", ssl=False)
        except asyncpg.PostgresError as error:
            return str(error.sqlstate)
        return "let in"

    return asyncio.run(ask())


async def test_a_unix_socket_needs_no_password_and_is_this_users_alone(lab: Lab, near: Path) -> None:
    async with opened(lab) as tunnels:
        way = await tunnels.listen("warehouse", Bind(path=near / "db"))
        path = Path(way.path)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        assert way.password not in way.url
        assert await asyncio.to_thread(who, way.url) == "shop_rw"
        assert await asyncio.to_thread(who, f"host={way.directory} user=anybody dbname=shop") == "shop_rw"
    assert not path.exists(), "removed at the end"


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become somebody else")
async def test_another_user_is_refused_at_both(near: Path) -> None:
    near.chmod(0o755)
    async with listening(Bind()) as tcp, listening(Bind(path=near / "db")) as unix:
        command = [sys.executable, "-c", AS_NOBODY]
        by_port = await asyncio.to_thread(subprocess.check_output, [*command, "tcp", str(tcp.port)])
        assert b"this tunnel belongs to another user" in by_port
        assert await asyncio.to_thread(subprocess.check_output, [*command, "unix", str(unix.path)]) == b"PermissionError\n"
        assert unix.path is not None
        unix.path.parent.chmod(0o755)
        assert await asyncio.to_thread(subprocess.check_output, [*command, "unix", str(unix.path)]) == b"PermissionError\n"


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become somebody else")
async def test_another_user_is_refused_where_no_password_can_be_asked_for() -> None:
    asked = []

    async def count() -> ChannelEnd:
        asked.append(True)
        return await no_channel()

    async with listening(Bind(), protocol=Protocol.TCP, open_channel=count) as listener:
        command = [sys.executable, "-c", AS_NOBODY, "tcp", str(listener.port)]
        answer = await asyncio.to_thread(subprocess.check_output, command)
        assert answer in (b"", b"ConnectionResetError\n")
        assert asked == []
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
    assert asked == [True]


async def test_why_no_channel_opens_is_told_in_postgresqls_words(near: Path) -> None:
    ends: list[Traffic] = []
    async with listening(Bind(path=near / "db"), done=ends.append):
        with pytest.raises(psycopg.OperationalError, match=r"airtunnel: the gateway is gone"):
            await asyncio.to_thread(who, f"host={near / 'db'} user=ana dbname=shop")
    assert isinstance(ends[0].error, Unreachable)


async def test_a_stale_socket_is_replaced_and_a_live_one_is_not(near: Path) -> None:
    near.chmod(0o700)
    stale = near / ".s.PGSQL.5432"
    with socket.socket(socket.AF_UNIX) as old:
        old.bind(str(stale))
    async with listening(Bind(path=near)):
        with pytest.raises(AddressTaken, match=r"\.s\.PGSQL\.5432 is in use"):
            async with listening(Bind(path=near)):
                pass
        assert stale.exists(), "the first one's socket stays"


async def test_a_file_that_is_no_socket_is_not_removed(near: Path) -> None:
    near.chmod(0o700)
    (near / "warehouse.sock").write_text("somebody's")
    with pytest.raises(ConfigError, match="is not a socket"):
        async with listening(Bind(path=near), protocol=Protocol.TCP):
            pass
    assert (near / "warehouse.sock").read_text() == "somebody's"


async def test_a_directory_that_others_may_enter_is_not_used(near: Path) -> None:
    near.chmod(0o750)
    with pytest.raises(ConfigError, match="others may enter"):
        async with listening(Bind(path=near)):
            pass
    with pytest.raises(ConfigError, match="longer than the 107 bytes"):
        async with listening(Bind(path=near / ("d" * 100))):
            pass


async def test_who_holds_a_busy_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        with pytest.raises(AddressTaken, match=rf"port {port} is in use by .+ \(pid {os.getpid()}\)") as caught:
            async with listening(Bind(port=port)):
                pass
    assert caught.value.exit_code == 73
    assert "warehouse=0" in str(caught.value.hint)


async def test_after_close_the_port_is_free() -> None:
    async with listening(Bind()) as listener:
        assert port_holder(listener.port) is not None
    assert port_holder(listener.port) is None


async def test_one_drivers_reset_leaves_the_others_alive(lab: Lab) -> None:
    ends: list[Traffic] = []
    async with opened(lab) as tunnels:
        way = await tunnels.listen("warehouse", on_close=ends.append)
        survivor = await psycopg.AsyncConnection.connect(way.url)
        victim = await psycopg.AsyncConnection.connect(way.url)
        with socket.socket(fileno=os.dup(victim.fileno())) as raw:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await victim.close()
        cursor = await survivor.execute("SELECT 41 + 1")
        assert await cursor.fetchone() == (42,)
        await survivor.close()
    assert len(ends) == 2
    assert all(one.up > 0 and one.down > 0 and one.error is None for one in ends)


@pytest.mark.parametrize(
    "rubbish", [b"GET / HTTP/1.1\r\n\r\n", b"\0\0\0\0", b"\xff" * 64, b""], ids=["http", "zero", "ff", "none"]
)
async def test_rubbish_opens_no_channel_and_harms_nobody(rubbish: bytes) -> None:
    asked = []

    async def count() -> ChannelEnd:
        asked.append(True)
        return await no_channel()

    async with listening(Bind(), open_channel=count) as listener:
        for _ in range(3):
            reader, writer = await asyncio.open_connection(listener.host, listener.port)
            writer.write(rubbish)
            writer.write_eof()
            with contextlib.suppress(ConnectionError):
                await reader.read()
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
    assert asked == []


async def test_a_refusal_of_the_gateways_reaches_the_driver_through_the_port(lab: Lab) -> None:
    async with opened(lab) as tunnels:
        listener = Listener("payroll", Protocol.POSTGRES, lambda: tunnels.link.open_channel("payroll"))
        await listener.start(Bind())
        try:
            url = f"postgresql://ana:{listener.password}@127.0.0.1:{listener.port}/payroll"
            with pytest.raises(
                psycopg.OperationalError, match=r"payroll refused by rule payroll-is-for-finance \(policy/policy\.yaml:\d+\)"
            ):
                await asyncio.to_thread(who, url)
        finally:
            await listener.close()


def test_the_password_is_not_shown() -> None:
    listener = Listener("warehouse", Protocol.POSTGRES, no_channel)
    assert len(listener.password) >= 20
    assert listener.password not in repr(listener)
