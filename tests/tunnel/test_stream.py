"""Ends: what a reader gets, in which order, and how much an end holds for one that does not read."""

import asyncio
import contextlib
import ssl
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airtunnel.gateway.setup import create_certificate
from airtunnel.tunnel.stream import BUFFERED, HIGH_WATER, WINDOW, ChannelEnd, End, SocketEnd
from tests.tunnel.ends import Pair, Sink, channel_pair, socket_pair, tcp_pair

BOTH = pytest.mark.parametrize("pair", [socket_pair, channel_pair], ids=["socket", "channel"])


@BOTH
async def test_a_reader_gets_exactly_what_it_asks_for(pair: Pair) -> None:
    async with pair() as (here, there):
        there.write(b"hello ")
        there.write(b"world")
        assert [await here.read(count) for count in (1, 5, 0, 5)] == [b"h", b"ello ", b"", b"world"]


@BOTH
async def test_what_is_buffered_is_handed_over_once_and_before_the_rest(pair: Pair) -> None:
    async with pair() as (here, there):
        there.write(b"login;first")
        assert await here.read(6) == b"login;"
        sink = Sink(here)
        sink.attach()
        there.write(b",second")
        assert await sink.have(12) == b"first,second"


@BOTH
async def test_an_end_of_stream_before_the_handover_is_handed_over(pair: Pair) -> None:
    async with pair() as (here, there):
        there.write(b"ab")
        there.write_eof()
        assert await here.read(2) == b"ab"
        with pytest.raises(ConnectionError):
            await here.read(1)
        sink = Sink(here)
        sink.attach()
        assert sink.ended.is_set()
        assert bytes(sink.data) == b""


@BOTH
async def test_what_came_before_the_end_of_stream_can_still_be_read(pair: Pair) -> None:
    async with pair() as (here, there):
        there.write(b"abc")
        there.write_eof()
        with pytest.raises(ConnectionError):
            await here.read(4)
        assert await here.read(3) == b"abc"


@BOTH
async def test_the_other_direction_goes_on_after_an_end_of_stream(pair: Pair) -> None:
    async with pair() as (here, there):
        sink = Sink(there)
        sink.attach()
        here.write(b"question")
        here.write_eof()
        await sink.have(8)
        await sink.ended.wait()
        there.write(b"answer")
        assert await here.read(6) == b"answer"


@BOTH
async def test_a_peer_that_is_gone_ends_reading_and_draining_and_takes_writes_silently(pair: Pair) -> None:
    async with pair() as (here, there):
        there.abort()
        with pytest.raises(ConnectionError):
            await here.read(1)
        here.close()
        while not here.lost:
            await asyncio.sleep(0)
        with pytest.raises(ConnectionError):
            await here.drain()
        here.write(b"x")
        here.write_eof()
        here.pause()
        here.resume()
        sink = Sink(here)
        sink.attach()
        assert sink.lost.is_set()


@BOTH
async def test_a_reader_that_is_cancelled_loses_no_byte(pair: Pair) -> None:
    async with pair() as (here, there):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await here.read(3)
        there.write(b"abc")
        assert await here.read(3) == b"abc"


async def flood(end: End, total: int) -> int:
    """Write until `total` bytes are queued or the peer makes us wait; how many went."""
    chunk, sent = bytes(BUFFERED), 0
    with contextlib.suppress(TimeoutError):
        while sent < total:
            async with asyncio.timeout(0.3):
                await end.drain()
            end.write(chunk)
            sent += len(chunk)
    return sent


@BOTH
async def test_a_stalled_reader_stops_the_writer_within_bounded_memory(pair: Pair) -> None:
    async with pair() as (here, there):
        sent = await flood(there, 64 * 1024 * 1024)
        # What a window, the socket's buffers (both at most a few megabytes) and the high water mark hold.
        assert sent < WINDOW + HIGH_WATER + 12 * 1024 * 1024
        assert len(here._buffer) <= 2 * WINDOW
        sink = Sink(here)
        sink.attach()
        assert len(await sink.have(sent)) == sent


async def test_a_socket_pauses_its_peer_when_nobody_reads() -> None:
    async with tcp_pair() as (here, there):
        await flood(there, 64 * 1024 * 1024)
        assert len(here._buffer) <= BUFFERED + 256 * 1024, "one read of the loop's beyond the mark"
        assert not here.transport.is_reading()
        await here.read(BUFFERED * 8)
        assert len(here._buffer) < BUFFERED * 4


@BOTH
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    up=st.lists(st.binary(max_size=5000), max_size=12),
    down=st.lists(st.binary(max_size=5000), max_size=12),
    reads=st.lists(st.integers(0, 3000), max_size=5),
)
def test_bytes_arrive_exactly_however_they_are_cut(pair: Pair, up: list[bytes], down: list[bytes], reads: list[int]) -> None:
    async def carry() -> None:
        async with pair() as (here, there):
            near, far = Sink(here), Sink(there)
            whole, back = b"".join(up), b"".join(down)
            for chunk in up:
                here.write(chunk)
            got, left = b"", len(whole)
            for count in reads:
                got += await there.read(min(count, left))
                left = len(whole) - len(got)
            near.attach()
            far.attach()
            for chunk in down:
                there.write(chunk)
            here.write_eof()
            there.write_eof()
            async with asyncio.timeout(10):
                await near.ended.wait()
                await far.ended.wait()
            assert got + bytes(far.data) == whole
            assert bytes(near.data) == back

    asyncio.run(carry())


async def test_bytes_before_tls_are_refused() -> None:
    async with tcp_pair() as (here, there):
        there.write(b"SELECT 1")
        await here.read(1)
        with pytest.raises(ConnectionAbortedError, match="before TLS"):
            await here.start_tls(ssl.create_default_context(), "localhost", 1)


async def test_a_socket_goes_on_in_tls_and_checks_whom_it_speaks_to(tmp_path: Path) -> None:
    create_certificate(tmp_path, ("db.internal",))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(tmp_path / "gateway.pem", tmp_path / "gateway.key")
    client = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))

    async def serve(end: SocketEnd) -> None:
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            transport = await asyncio.get_running_loop().start_tls(end.transport, end, server, server_side=True)
            assert transport is not None
            transport.write(b"secret")

    async with tcp_pair() as (here, there), asyncio.TaskGroup() as group:
        group.create_task(serve(there))
        await here.start_tls(client, "db.internal", 5)
        assert await here.read(6) == b"secret"
        here.abort()
    async with tcp_pair() as (here, there), asyncio.TaskGroup() as group:
        group.create_task(serve(there))
        with pytest.raises(ssl.SSLCertVerificationError):
            await here.start_tls(client, "another.internal", 5)


def test_an_end_without_a_transport_is_abstract() -> None:
    assert not ChannelEnd().lost
    assert not SocketEnd().lost
    with pytest.raises(NotImplementedError):
        End().write(b"")
