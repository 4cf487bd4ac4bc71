"""Tunnels that open on first use."""

import asyncio

import psycopg
import pytest

from airtunnel.errors import Refused
from airtunnel.model import Protocol, Tags
from airtunnel.tunnel.lazy import LazyTunnels, airflow_connection, merge
from airtunnel.tunnel.tunnels import Way
from airtunnel.wire.control import GrantedTarget
from tests.lab import Lab


async def test_a_connection_opens_on_first_use_with_its_own_tags_and_is_counted(lab: Lab) -> None:
    async with lab.gateway() as site:
        account = await site.account("ana")
        lazy = LazyTunnels(account, await account.catalog(), Tags(ticket="T-1", dag_id="said"))
        assert lazy.managed == ("warehouse", "payroll")
        assert await lazy.open("elsewhere", Tags()) is None
        assert site.records("grant.issued") == []
        opened = await lazy.open("warehouse", Tags(dag_id="billing"))
        assert opened is not None
        given = opened.connection

        def ask() -> object:
            login = {"user": given["login"], "password": given["password"], "dbname": given["schema"]}
            with psycopg.connect(host=given["host"], port=given["port"], **login) as connection:
                return connection.execute("SELECT current_user").fetchone()

        assert await asyncio.to_thread(ask) == ("shop_rw",)
        await opened.close()
        (use,) = lazy.uses
        assert (use.target, use.rule, use.connections) == ("warehouse", "engineers", 1)
        assert use.up > 0
        assert use.down > 0
        assert use.closed is not None
    assert site.records("session.closed")[0]["tags"] == {"dag_id": "billing", "ticket": "T-1"}
    assert lab.roles() == []


async def test_a_refused_connection_leaves_no_use(lab: Lab) -> None:
    async with lab.gateway() as site:
        account = await site.account("ana")
        lazy = LazyTunnels(account, await account.catalog())
        with pytest.raises(Refused):
            await lazy.open("payroll", Tags())
        assert lazy.uses == []
        assert len(site.gateway.sessions) == 0


def test_what_a_task_says_goes_before_what_was_said_for_all() -> None:
    assert merge(Tags(dag_id="a", map_index=0), Tags(dag_id="b", reason="r", map_index=3)) == Tags(
        dag_id="a", map_index=0, reason="r"
    )


def test_a_target_of_no_known_protocol_is_a_generic_connection() -> None:
    way = Way(GrantedTarget("w", Protocol.TCP, "r", "p"), "ana", "secret", "127.0.0.1", 5)
    assert airflow_connection(way) == {"conn_type": "generic", "host": "127.0.0.1", "port": 5}
