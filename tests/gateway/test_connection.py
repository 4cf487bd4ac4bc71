"""One connection through everything, with a real driver."""

import asyncio

import psycopg

from airtunnel.model import Tags
from airtunnel.tunnel.tunnels import Tunnels
from tests.lab import Lab


async def test_a_query_runs_as_a_role_of_its_own_and_the_role_is_gone_afterwards(lab: Lab) -> None:
    async with lab.gateway() as site, Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels:
        way = await tunnels.listen("warehouse")

        def ask() -> tuple[str, str]:
            with psycopg.connect(way.url) as connection:
                row = connection.execute("SELECT session_user, current_user").fetchone()
            assert row is not None
            return row[0], row[1]

        role, group = await asyncio.to_thread(ask)
        assert role in lab.roles()
    assert group == "shop_rw"
    assert role not in lab.roles()
