"""The end of a gateway: running sessions get their time, then a native error; what they borrowed is given back."""

import asyncio

import psycopg
import pytest

from airtunnel.errors import Temporary
from airtunnel.identity.http import http_client
from airtunnel.model import Tags
from airtunnel.tunnel.tunnels import Tunnels
from tests.gateway.guests import granted, told_end
from tests.lab import Lab

LIMIT = 10.0


async def test_after_the_drain_a_running_session_ends_natively_and_gives_its_role_back(lab: Lab) -> None:
    async with lab.gateway(extra="sessions: {drain: 1s}") as site:
        account = await site.account("ana")
        async with Tunnels.open(account, ["warehouse"], Tags()) as tunnels:
            way = await tunnels.listen("warehouse")
            connection = await asyncio.to_thread(lambda: psycopg.connect(way.url, autocommit=True))
            running = asyncio.ensure_future(site.gateway.run())
            site.gateway.stop()
            with pytest.raises(Temporary, match="shutting down"):
                await account.grant(("warehouse",), Tags())
            assert await asyncio.to_thread(lambda: connection.execute("SELECT 1").fetchone()) == (1,)
            await asyncio.wait_for(running, LIMIT)
            ending = asyncio.ensure_future(site.gateway.sessions.drain())
            await asyncio.wait_for(tunnels.link.over.wait(), LIMIT)
            with pytest.raises(psycopg.errors.AdminShutdown, match="draining"):
                await asyncio.to_thread(lambda: connection.execute("SELECT 1"))
            connection.close()
            await asyncio.wait_for(ending, LIMIT)
    assert not lab.roles()


async def test_what_is_new_while_the_gateway_drains_is_refused_with_words_and_what_runs_goes_on(lab: Lab) -> None:
    async with lab.gateway(extra="sessions: {drain: 1h}") as site:
        account, early = await site.account("ana"), await granted(site)
        async with Tunnels.open(account, ["warehouse"], Tags()) as tunnels, http_client(ca=site.ca) as client:
            way = await tunnels.listen("warehouse")
            site.gateway.stop()
            ready = await client.get(f"https://{site.address}/readyz")
            assert (ready.status_code, ready.json()["message"]) == (503, "the gateway is shutting down")
            with pytest.raises(Temporary, match="shutting down"):
                await account.grant(("warehouse",), Tags())
            assert await told_end(account, early) == "the gateway ended the session: draining"
            async with await psycopg.AsyncConnection.connect(way.url) as connection:  # one more of a session that runs
                await connection.execute("SELECT 1")
            assert not tunnels.link.over.is_set()


async def test_a_gateway_without_sessions_does_not_wait(lab: Lab) -> None:
    async with lab.gateway(extra="sessions: {drain: 1h}") as site:
        site.gateway.stop()
        await asyncio.wait_for(site.gateway.run(), LIMIT)


async def test_the_second_order_to_stop_ends_the_wait(lab: Lab) -> None:
    async with (
        lab.gateway(extra="sessions: {drain: 1h}") as site,
        Tunnels.open(await site.account("ana"), ["warehouse"], Tags()),
    ):
        site.gateway.stop()
        running = asyncio.ensure_future(site.gateway.run())
        site.gateway.stop()
        await asyncio.wait_for(running, LIMIT)
