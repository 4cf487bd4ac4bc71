"""The roll: what runs is counted at all gateways together, and what a dead one left is not."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from airtunnel.gateway.roll import SILENCE, Caps, Full, Running
from airtunnel.gateway.store import Store
from tests.gateway.conftest import Opener
from tests.gateway.grants import ANA

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
BOB = replace(ANA, subject="bob", name="bob@example.com")
CAPS = Caps(2, 3)
ONE = Running("s1", "gw-1", NOW, "10.0.0.1")


async def test_the_caps_hold_for_all_gateways_together(any_store: Store) -> None:
    roll = any_store.roll
    for gateway in ("gw-1", "gw-2"):
        await roll.beat(gateway, NOW)
    await roll.enter(ONE, ANA, CAPS)
    await roll.enter(replace(ONE, session="s2", gateway="gw-2"), ANA, CAPS)
    with pytest.raises(Full, match=r"2 sessions of ana@example\.com run already"):
        await roll.enter(replace(ONE, session="s3"), ANA, CAPS)
    with pytest.raises(Full, match="2 sessions"):
        await roll.check(ANA, CAPS, "gw-1", NOW)
    await roll.check(BOB, CAPS, "gw-1", NOW)
    await roll.enter(replace(ONE, session="s4"), BOB, CAPS)
    with pytest.raises(Full, match="all the 3 sessions"):
        await roll.enter(replace(ONE, session="s5"), BOB, CAPS)
    assert [one.session for one in await roll.running(NOW)] == ["s1", "s2", "s4"]
    await roll.leave(replace(ONE, session="s2", gateway="gw-2"))
    await roll.enter(replace(ONE, session="s3"), ANA, CAPS)


async def test_a_session_with_links_to_two_gateways_is_one(any_store: Store) -> None:
    roll = any_store.roll
    for gateway in ("gw-1", "gw-2"):
        await roll.beat(gateway, NOW)
        await roll.enter(replace(ONE, gateway=gateway), ANA, Caps(1, 1))
    assert len(await roll.running(NOW)) == 2
    await roll.enter(ONE, ANA, Caps(1, 1))  # again, as after a hiccup


async def test_two_that_want_the_last_place_do_not_both_get_it(opener: Opener) -> None:
    async with opener() as store, opener() as other:
        await store.roll.beat("gw-1", NOW)
        await store.roll.beat("gw-2", NOW)
        wants = [
            (store if number % 2 else other).roll.enter(
                replace(ONE, session=f"s{number}", gateway=f"gw-{number % 2 + 1}"), ANA, Caps(1, 10)
            )
            for number in range(6)
        ]
        got = await asyncio.gather(*wants, return_exceptions=True)
        assert [one for one in got if not isinstance(one, Full)] == [None]
        assert len(await store.roll.running(NOW)) == 1


async def test_what_a_dead_gateway_left_counts_no_more(any_store: Store) -> None:
    roll, later = any_store.roll, NOW + SILENCE
    await roll.beat("gw-1", NOW)
    await roll.enter(ONE, ANA, Caps(1, 1))
    with pytest.raises(Full):
        await roll.check(ANA, Caps(1, 1), "gw-2", NOW)
    await roll.check(ANA, Caps(1, 1), "gw-2", later)
    await roll.enter(Running("s2", "gw-2", later), ANA, Caps(1, 1))
    await roll.beat("gw-2", later)
    assert [one.session for one in await roll.running(later)] == ["s2"]
    await any_store.prune(later + timedelta(days=1))
    await roll.beat("gw-1", later)
    assert [one.session for one in await roll.running(later)] == ["s2"]  # the first one's is forgotten, not only silent


async def test_a_gateway_that_starts_again_strikes_out_its_own(any_store: Store) -> None:
    roll = any_store.roll
    for gateway in ("gw-1", "gw-2"):
        await roll.beat(gateway, NOW)
        await roll.enter(Running(gateway, gateway, NOW), ANA, CAPS)
    await roll.clear("gw-1")
    assert [one.session for one in await roll.running(NOW)] == ["gw-2"]


async def test_a_session_that_comes_up_anew_is_not_struck_out_with_the_former_one(any_store: Store) -> None:
    roll, again = any_store.roll, replace(ONE, since=NOW + timedelta(seconds=1))
    await roll.beat("gw-1", NOW)
    await roll.enter(ONE, ANA, Caps(1, 1))
    await roll.enter(again, ANA, Caps(1, 1))
    await roll.leave(ONE)
    assert await roll.running(NOW) == (again,)
    await roll.leave(again)
    assert await roll.running(NOW) == ()


async def test_what_went_through_is_told(any_store: Store) -> None:
    roll = any_store.roll
    await roll.beat("gw-1", NOW)
    await roll.enter(ONE, ANA, CAPS)
    news = replace(ONE, connections=3, bytes_up=10**12, bytes_down=7)
    await roll.report([news, replace(news, session="gone")])
    await roll.report([])
    assert await roll.running(NOW) == (news,)
