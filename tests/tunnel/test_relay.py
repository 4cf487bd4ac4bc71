"""A relay between two real connections."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airtunnel.tunnel.relay import Relay
from airtunnel.tunnel.stream import HIGH_WATER, WINDOW, End
from tests.tunnel.ends import Pair, Sink, channel_pair, reset, socket_pair, tcp_pair
from tests.tunnel.test_stream import flood

BOTH = pytest.mark.parametrize("pair", [socket_pair, channel_pair], ids=["socket", "channel"])


@contextlib.asynccontextmanager
async def relayed(
    first: Pair, second: Pair, *, half_close: bool = True
) -> AsyncIterator[tuple[End, End, Relay, "asyncio.Task[None]"]]:
    """A driver and a database with a relay between them; the relay runs."""
    async with first() as (driver, client), second() as (target, database):
        relay = Relay(client, target, half_close=half_close)
        task = asyncio.get_running_loop().create_task(relay.run())
        try:
            yield driver, database, relay, task
        finally:
            relay.stop()
            await task


@BOTH
async def test_each_direction_ends_for_itself(pair: Pair) -> None:
    async with relayed(pair, socket_pair) as (driver, database, relay, task):
        driver.write(b"question")
        driver.write_eof()
        with pytest.raises(ConnectionError):
            await database.read(9)
        assert await database.read(8) == b"question"
        assert not task.done()
        database.write(b"answer")
        database.write_eof()
        assert await driver.read(6) == b"answer"
        with pytest.raises(ConnectionError):
            await driver.read(1)
        async with asyncio.timeout(5):
            await asyncio.wait([task])
        assert (relay.up.count, relay.down.count) == (8, 6)


@BOTH
async def test_the_target_may_end_first(pair: Pair) -> None:
    async with relayed(pair, socket_pair) as (driver, database, relay, task):
        database.write(b"bye")
        database.write_eof()
        assert await driver.read(3) == b"bye"
        driver.write(b"late")
        assert await database.read(4) == b"late"
        assert not task.done()
        assert not relay.client_first
        driver.write_eof()
        async with asyncio.timeout(5):
            await asyncio.wait([task])


@BOTH
async def test_without_half_close_the_clients_end_is_the_end(pair: Pair) -> None:
    async with relayed(pair, socket_pair, half_close=False) as (driver, _, relay, task):
        driver.write(b"X\0\0\0\x04")
        driver.write_eof()
        async with asyncio.timeout(5):
            await asyncio.wait([task])
        assert relay.client_first
        assert relay.tail == b"X\0\0\0\x04"


@pytest.mark.parametrize("pair", [tcp_pair, channel_pair], ids=["socket", "channel"])
async def test_a_side_that_is_gone_ends_the_relay(pair: Pair) -> None:
    async with relayed(pair, socket_pair) as (driver, _, relay, task):
        reset(driver)
        async with asyncio.timeout(5):
            await asyncio.wait([task])
        assert relay.client_first
    async with relayed(socket_pair, pair) as (_, database, relay, task):
        reset(database)
        async with asyncio.timeout(5):
            await asyncio.wait([task])
        assert not relay.client_first


@BOTH
async def test_a_reader_that_stalls_makes_the_writer_wait_and_loses_nothing(pair: Pair) -> None:
    async with relayed(socket_pair, pair) as (driver, database, relay, _):
        total = 64 * 1024 * 1024
        sent = await flood(driver, total)
        assert sent < 2 * WINDOW + 2 * HIGH_WATER + 16 * 1024 * 1024
        assert relay.up.count <= sent
        sink = Sink(database)
        sink.attach()
        assert len(await sink.have(sent)) == sent


@BOTH
async def test_bytes_that_wait_at_both_ends_go_first(pair: Pair) -> None:
    async with pair() as (driver, client), socket_pair() as (target, database):
        driver.write(b"early")
        database.write(b"greeting")
        await client.read(0)
        relay = Relay(client, target)
        task = asyncio.get_running_loop().create_task(relay.run())
        assert await database.read(5) == b"early"
        assert await driver.read(8) == b"greeting"
        relay.stop()
        await task


async def test_after_a_stop_nothing_more_goes_down() -> None:
    async with relayed(socket_pair, socket_pair) as (driver, database, relay, task):
        database.write(b"1")
        assert await driver.read(1) == b"1"
        relay.stop()
        relay._sent_down(b"2")
        await task
        assert relay.down.count == 1


@given(chunks=st.lists(st.binary(max_size=8), max_size=8))
def test_the_tail_is_the_last_five_bytes_however_they_came(chunks: list[bytes]) -> None:
    relay = Relay(_Nowhere(), _Nowhere())

    async def send() -> None:
        for chunk in chunks:
            relay._sent_up(chunk)

    asyncio.run(send())
    assert relay.tail == b"".join(chunks)[-5:]
    assert relay.up.count == len(b"".join(chunks))


class _Nowhere(End):
    """Takes everything."""

    def write(self, data: bytes) -> None:
        return


@settings(max_examples=10, deadline=None)
@given(up=st.lists(st.binary(max_size=70_000), max_size=6), down=st.lists(st.binary(max_size=70_000), max_size=6))
def test_bytes_go_through_both_ways_unchanged(up: list[bytes], down: list[bytes]) -> None:
    async def carry() -> None:
        async with relayed(socket_pair, channel_pair) as (driver, database, _, task):
            near, far = Sink(driver), Sink(database)
            near.attach()
            far.attach()
            for chunk in up:
                driver.write(chunk)
            for chunk in down:
                database.write(chunk)
            driver.write_eof()
            database.write_eof()
            async with asyncio.timeout(20):
                await asyncio.wait([task])
                await near.ended.wait()
                await far.ended.wait()
            assert (bytes(far.data), bytes(near.data)) == (b"".join(up), b"".join(down))

    asyncio.run(carry())
