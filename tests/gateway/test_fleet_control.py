"""Two gateways with one store: who is killed, locked or counted at one is so at the other, within two seconds."""

import asyncio
import contextlib
import shutil
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncssh
import psycopg
import pytest

from airtunnel.config.gateway import load_gateway
from airtunnel.errors import Refused, Temporary
from airtunnel.gateway.desk import Operator
from airtunnel.gateway.follow import LOOK
from airtunnel.gateway.serve import Gateway
from airtunnel.gateway.store import Store
from airtunnel.model import EndReason, Tags
from airtunnel.tunnel.control import Control
from airtunnel.tunnel.stream import ChannelEnd
from airtunnel.tunnel.tunnels import Tunnels
from airtunnel.wire.sessions import LockRequest
from tests.gateway.guests import connect, granted, login_of
from tests.lab import Lab, Site

LIMIT = 10.0
PROMISED = 2.0
"""Seconds until an order holds everywhere."""
ANA = LockRequest("user", "ana@example.com", "laptop stolen")


@contextlib.asynccontextmanager
async def fleet(lab: Lab, extra: str = "") -> AsyncIterator[tuple[Site, Site]]:
    """Two gateways with one CA and one store. Fin is the admin."""
    shared = f"state: {lab.root / 'shared.db'}\nadmins: {{users: [fin@example.com]}}\n{extra}"
    lab.write(extra=shared, name="second")
    async with lab.gateway(extra=shared) as site:
        shutil.copytree(site.directory / "authority", lab.root / "second" / "authority", dirs_exist_ok=True)
        async with Gateway.open(load_gateway(lab.root / "second" / "gateway.yaml")) as other:
            yield site, Site(lab, other, lab.root / "second")


async def ends_in_time(tunnels: Tunnels, began: float) -> None:
    """The link is over as soon as was promised, which is not luck."""
    assert LOOK.total_seconds() < PROMISED / 2
    await asyncio.wait_for(tunnels.link.over.wait(), LIMIT)
    assert time.monotonic() - began < PROMISED


async def test_a_session_is_seen_and_killed_from_the_other_gateway(lab: Lab) -> None:
    async with fleet(lab) as (site, other), Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels:
        way = await tunnels.listen("warehouse")
        async with await psycopg.AsyncConnection.connect(way.url, autocommit=True) as connection:
            control, fin = Control(other.address, other.ca), await (await other.account("fin")).present()
            (one,) = (await control.sessions(fin, everybody=True)).sessions
            assert (one.session, one.running) == (tunnels.reply.session, True)
            began = time.monotonic()
            await control.kill(fin, one.session)
            await ends_in_time(tunnels, began)
            with pytest.raises(psycopg.errors.AdminShutdown, match="revoked"):
                await connection.execute("SELECT 1")


async def test_a_lock_at_one_gateway_ends_a_running_query_at_the_other_natively(lab: Lab) -> None:
    async with fleet(lab) as (site, other), Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels:
        way = await tunnels.listen("warehouse")
        async with await psycopg.AsyncConnection.connect(way.url, autocommit=True) as connection:
            running = asyncio.ensure_future(connection.execute("SELECT pg_sleep(60)"))
            async with asyncio.timeout(LIMIT):
                while not site.gateway.sessions._running[tunnels.reply.session].traffic[0]:
                    await asyncio.sleep(0.01)
            control, fin = Control(other.address, other.ca), await (await other.account("fin")).present()
            await control.lock(fin, ANA)
            with pytest.raises(psycopg.OperationalError, match=r"locked|canceling"):
                await asyncio.wait_for(running, LIMIT)
        await asyncio.wait_for(tunnels.link.over.wait(), LIMIT)
        with pytest.raises(Refused, match="warehouse") as refused:
            await (await site.account("ana")).grant(("warehouse",), Tags())
        assert refused.value.rule == "lock"
    assert not lab.roles()


async def test_no_channel_opens_on_a_running_link_once_the_lock_is_set(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airtunnel.gateway.follow.LOOK", timedelta(hours=1))  # nobody looks: the channel's own check is asked
    async with fleet(lab) as (site, other):
        control, fin = Control(other.address, other.ca), await (await other.account("fin")).present()
        early = await granted(site)
        async with (
            Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels,
            connect(site, **login_of(await granted(site)), client_version="OpenSSH_9.9") as stock,
        ):
            way = await tunnels.listen("warehouse")
            await tunnels.test("warehouse")
            await control.lock(fin, ANA)
            with pytest.raises(
                psycopg.OperationalError, match=r"refused by rule lock .*user ana@example.com is locked: laptop"
            ):
                await psycopg.AsyncConnection.connect(way.url)
            with pytest.raises(asyncssh.ChannelOpenError, match="laptop stolen"):
                await stock.create_connection(ChannelEnd, "warehouse", 0)
            # A grant from before the lock: its link is cut, with the reason.
            async with connect(site, **login_of(early)) as late:
                await asyncio.wait_for(late.wait_closed(), LIMIT)
            with pytest.raises(Refused):
                await (await other.account("ana")).grant(("warehouse",), Tags())
            await control.unlock(fin, "user", "ana@example.com")
            await tunnels.test("warehouse")


async def test_an_operator_at_the_store_locks_and_kills_and_each_stands_in_one_audit_once(lab: Lab) -> None:
    async with fleet(lab) as (site, other), Store.open(lab.root / "shared.db") as store:
        operator = Operator(store, "root at ops")
        async with (
            Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as anas,
            Tunnels.open(await other.account("fin"), ["payroll"], Tags()) as fins,
        ):
            began = time.monotonic()
            await operator.kill(anas.reply.session, datetime.now(UTC))
            await ends_in_time(anas, began)
            await fins.test("payroll")
            began = time.monotonic()
            _, ends = await operator.lock("target", "payroll", "restore", datetime.now(UTC), timedelta(hours=2))
            assert ends == 1
            await ends_in_time(fins, began)
            await operator.unlock("target", "payroll", datetime.now(UTC))
        (await (await site.account("fin")).grant(("payroll",), Tags()))
        events = ("session.killed", "lock.set", "lock.lifted")
        async with asyncio.timeout(LIMIT):
            while len(records := [*site.records(*events), *other.records(*events)]) < len(events):
                await asyncio.sleep(0.05)
        assert sorted(one["event"] for one in records) == sorted(events)
        assert all("(by root at ops)" in one["detail"] for one in records)
        assert {one.get("sid") for one in records} == {anas.reply.session, None}


async def test_a_person_has_so_many_sessions_at_all_gateways_together(lab: Lab) -> None:
    async with fleet(lab, "sessions: {per_principal: 2}") as (site, other):
        late = await granted(site), await granted(other)
        account = await other.account("ana")
        async with (
            Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as one,
            Tunnels.open(account, ["warehouse"], Tags()) as two,
        ):
            for tunnels in (one, two):
                await tunnels.test("warehouse")
            with pytest.raises(Temporary, match=r"2 sessions of ana@example\.com run already") as told:
                await account.grant(("warehouse",), Tags())
            number = told.value.details[0].removeprefix("request: ")
            assert [(each["id"], each["policy"]["rule"]) for each in other.records("refused")] == [(number, "sessions")]
            # Grants from before do not get round it, at either gateway.
            for where, grant in zip((site, other), late, strict=True):
                async with connect(where, **login_of(grant), client_version="OpenSSH_9.9") as stock:
                    with pytest.raises(asyncssh.ChannelOpenError, match="2 sessions of ana"):
                        await stock.create_connection(ChannelEnd, "warehouse", 0)
            await (await site.account("fin")).grant(("payroll",), Tags())
        async with asyncio.timeout(LIMIT):
            while await other.gateway.service.store.roll.running(datetime.now(UTC)):
                await asyncio.sleep(0.05)
        await account.grant(("warehouse",), Tags())


async def test_the_gateways_have_so_many_sessions_in_all_and_the_driver_is_told(lab: Lab) -> None:
    async with fleet(lab, "sessions: {total: 1}") as (site, other):
        late = await (await site.account("ana")).grant(("warehouse",), Tags())
        async with Tunnels.open(await other.account("fin"), ["payroll"], Tags()) as tunnels:
            await tunnels.test("payroll")
            with pytest.raises(Temporary, match="all the 1 sessions"):
                await (await site.account("ana")).grant(("warehouse",), Tags())
            link = await (await site.account("ana")).link(late)
            channel = await link.open_channel("warehouse")
            async with asyncio.timeout(10):  # before it is closed: what nobody waits for need not be refused
                while len(site.records("refused")) < 3:
                    await asyncio.sleep(0.02)
            channel.close()
            await link.close()
            assert [one["policy"]["rule"] for one in site.records("refused")] == ["sessions"] * 3


async def test_while_the_store_is_gone_nothing_opens_and_sessions_still_expire(lab: Lab) -> None:
    async with lab.gateway() as site, Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels:
        await tunnels.test("warehouse")
        service = site.gateway.service
        async with Store.open(lab.root / "broken.db") as broken:
            async with broken._engine.begin() as connection:
                await connection.exec_driver_sql("DROP TABLE locks")
            whole, service.store = service.store, broken
            try:
                with pytest.raises(Temporary, match="no such table"):
                    await (await site.account("ana")).grant(("warehouse",), Tags())
                clock = service.clock
                service.clock = lambda: clock() + timedelta(hours=2)
                await asyncio.wait_for(tunnels.link.over.wait(), LIMIT)
                assert getattr(tunnels.link.error, "reason", "") == EndReason.EXPIRED
            finally:
                service.store, service.clock = whole, clock
