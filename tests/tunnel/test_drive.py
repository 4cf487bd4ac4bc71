"""Flows over real connections."""

import asyncio
from datetime import timedelta

import pytest

from airtunnel.errors import ProtocolError, Unreachable
from airtunnel.tunnel.drive import drive
from airtunnel.wire.flow import Flow, Recv, Send, Work
from tests.tunnel.ends import Pair, channel_pair, socket_pair

LIMIT = timedelta(seconds=5)
BOTH = pytest.mark.parametrize("pair", [socket_pair, channel_pair], ids=["socket", "channel"])


def greet() -> Flow[str]:
    (length,) = yield Recv(1)
    name = yield Recv(length)
    digest = yield Work(lambda: name.upper())
    yield Send(b"hello " + digest)
    return name.decode()


@BOTH
async def test_a_flow_reads_works_and_sends(pair: Pair) -> None:
    async with pair() as (here, there):
        there.write(b"\3ana, and what follows")
        assert await drive(greet(), here, limit=LIMIT, peer="the peer") == "ana"
        assert await there.read(9) == b"hello ANA"
        assert await here.read(5) == b", and", "bytes after the flow's are left alone"


@BOTH
async def test_a_peer_that_leaves_is_a_connection_error(pair: Pair) -> None:
    async with pair() as (here, there):
        there.write(b"\3a")
        there.write_eof()
        with pytest.raises(ConnectionError):
            await drive(greet(), here, limit=LIMIT, peer="the peer")


@BOTH
async def test_a_flow_may_say_better_what_the_loss_means(pair: Pair) -> None:
    def flow() -> Flow[str]:
        try:
            yield Recv(1)
        except ConnectionError as error:
            raise ProtocolError("the peer left before it said who it is") from error
        return ""

    async with pair() as (here, there):
        there.abort()
        with pytest.raises(ProtocolError, match="before it said"):
            await drive(flow(), here, limit=LIMIT, peer="the peer")


async def test_a_flow_may_go_on_after_a_loss() -> None:
    def flow() -> Flow[bytes]:
        try:
            return (yield Recv(4))
        except ConnectionError:
            return (yield Recv(2))

    async with socket_pair() as (here, there):
        there.write(b"ab")
        there.write_eof()
        assert await drive(flow(), here, limit=LIMIT, peer="the peer") == b"ab"


@BOTH
async def test_a_silent_peer_is_named_when_the_time_is_up(pair: Pair) -> None:
    closed = []

    def flow() -> Flow[None]:
        try:
            yield Recv(1)
        finally:
            closed.append(True)

    async with pair() as (here, _):
        with pytest.raises(Unreachable, match=r"^target warehouse did not finish its login within 0\.05 s$"):
            await drive(flow(), here, limit=timedelta(milliseconds=50), peer="target warehouse")
    assert closed == [True]


async def test_a_peer_that_does_not_read_is_under_the_same_limit() -> None:
    def flow() -> Flow[None]:
        while True:
            yield Send(bytes(1024 * 1024))

    async with socket_pair() as (here, _):
        with pytest.raises(Unreachable, match="did not finish"):
            await drive(flow(), here, limit=timedelta(milliseconds=300), peer="the peer")


async def test_a_flow_that_ends_at_once_needs_nobody() -> None:
    def flow() -> Flow[int]:
        return 3
        yield Recv(1)  # makes it a generator

    async with socket_pair() as (here, _):
        assert await drive(flow(), here, limit=LIMIT, peer="the peer") == 3


async def test_work_leaves_the_loop_free() -> None:
    import threading

    gate = threading.Event()

    def flow() -> Flow[bytes]:
        return (yield Work(lambda: b"yes" if gate.wait(5) else b"no"))

    async with socket_pair() as (here, _), asyncio.TaskGroup() as group:
        task = group.create_task(drive(flow(), here, limit=LIMIT, peer="the peer"))
        await asyncio.sleep(0)
        gate.set()
        assert await task == b"yes"
