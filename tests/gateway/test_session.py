"""Sessions: when they end, and in which order what they hold is let go."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import psycopg
import pytest

from airtunnel.errors import Temporary
from airtunnel.gateway.leases import Leases
from airtunnel.gateway.session import Session, Sessions
from airtunnel.model import EndReason, Tags
from airtunnel.tunnel.tunnels import Tunnels
from tests.gateway.grants import a_grant
from tests.gateway.guests import connect, granted, login_of, papers, visit
from tests.lab import POLICY, Lab


class Line:
    """A link that remembers how it was cut."""

    def __init__(self) -> None:
        self.reasons: list[EndReason] = []

    def cut(self, reason: EndReason) -> None:
        self.reasons.append(reason)


class Guest:
    """A connection that remembers how it was ended."""

    def __init__(self) -> None:
        self.reasons: list[EndReason] = []

    async def end(self, reason: EndReason) -> None:
        self.reasons.append(reason)

    def idle_too_long(self) -> bool:
        return False

    traffic = (3, 4)
    allowance: int | None = None


@contextlib.asynccontextmanager
async def parts(lab: Lab) -> AsyncIterator[tuple[Sessions, Session, Line]]:
    """Sessions over a real gateway's store and audit, with one session in them."""
    async with lab.gateway() as site:
        leases = Leases(site.gateway.service)
        sessions, line = Sessions(site.gateway.service, leases), Line()
        yield sessions, sessions.enter(a_grant(), line, None), line
        await leases.aclose()


async def test_links_of_one_grant_share_a_session_and_the_last_one_closes_it(lab: Lab) -> None:
    async with parts(lab) as (sessions, session, line):
        second = Line()
        assert sessions.enter(session.grant, second, None) is session
        assert len(sessions) == 1
        await sessions.leave(session, line)
        assert session.ended is None
        await sessions.leave(session, second)
        assert session.ended is EndReason.CLIENT_CLOSED
        assert len(sessions) == 0


async def test_an_end_tells_connections_first_and_counts_once(lab: Lab) -> None:
    async with parts(lab) as (sessions, session, line):
        guest = Guest()
        session.move_in(guest)
        assert await sessions.end_where(lambda one: one is session, EndReason.REVOKED) == 1
        await session.end(EndReason.EXPIRED)
        assert (guest.reasons, line.reasons) == ([EndReason.REVOKED], [EndReason.REVOKED])
        assert session.ended is EndReason.REVOKED
        with pytest.raises(Temporary, match="has ended: revoked"):
            await session.open()


async def test_a_session_waits_for_its_connections_before_it_gives_back(lab: Lab) -> None:
    async with parts(lab) as (sessions, session, line):
        guest = Guest()
        session.move_in(guest)
        leaving = asyncio.ensure_future(sessions.leave(session, line))
        done, _ = await asyncio.wait([leaving], timeout=0.05)
        assert not done
        session.move_out(guest)
        await asyncio.wait_for(leaving, 5)


async def test_seats_are_taken_and_freed(lab: Lab) -> None:
    async with parts(lab) as (_, session, _):
        one, two = Guest(), Guest()
        assert session.sit(one, 1)
        assert not session.sit(two, 1)
        assert session.sit(two, None)
        session.stand_up(one)
        session.stand_up(two)
        assert session.sit(two, 1)


async def test_keys_reach_their_own_connection_until_they_are_dropped(lab: Lab) -> None:
    async with parts(lab) as (_, session, _):
        rung: list[int] = []
        keys = [session.take_key(lambda number=number: rung.append(number)) for number in range(3)]  # type: ignore[misc]  # mypy cannot infer a lambda's default
        assert len(set(keys)) == 3
        assert session.cancel(keys[1])
        session.drop_key(keys[1])
        assert not session.cancel(keys[1])
        assert rung == [1]


async def test_a_lease_is_borrowed_once_for_all_connections_of_a_session(lab: Lab) -> None:
    async with lab.gateway() as site:
        leases = Leases(site.gateway.service)
        session = Session(a_grant(), site.gateway.service, leases, None)
        target = site.gateway.service.policy.targets["warehouse"]
        one, two = await asyncio.gather(session.borrow(target), session.borrow(target))
        assert one is two
        await session.close()
        assert lab.roles() == []
        assert [len(site.records(what)) for what in ("lease.lent", "lease.returned")] == [1, 1]
        await leases.aclose()


async def test_a_session_without_a_channel_leaves_no_record(lab: Lab) -> None:
    async with lab.gateway() as site:
        async with visit(site, papers()):
            pass
        while len(site.gateway.sessions):
            await asyncio.sleep(0.01)
        assert site.records("session.opened", "session.closed") == []


async def test_a_link_into_a_session_that_ends_is_cut(lab: Lab) -> None:
    async with lab.gateway() as site:
        one = await granted(site)
        async with connect(site, **login_of(one)):
            (session,) = site.gateway.sessions._running.values()
            session.ended = EndReason.EXPIRED  # its connections are being told at this moment
            async with connect(site, **login_of(one)) as late:
                await asyncio.wait_for(late.wait_closed(), 5)


async def test_an_expired_session_ends_by_the_clock_on_the_wall(lab: Lab) -> None:
    async with lab.gateway() as site:
        sessions, line = site.gateway.sessions, Line()
        grant = a_grant()
        ahead = site.gateway.service.clock
        sessions.enter(grant, line, None)
        site.gateway.service.clock = lambda: ahead() + timedelta(hours=2)  # as after a night's sleep
        sessions.enter(a_grant(), other := Line(), None)  # any change makes it look
        async with asyncio.timeout(5):
            while not (line.reasons and other.reasons):
                await asyncio.sleep(0.01)
        site.gateway.service.clock = ahead
        assert line.reasons == [EndReason.EXPIRED]
        for session in tuple(sessions._running.values()):
            for link in tuple(session.links):
                await sessions.leave(session, link)


async def test_a_session_ends_when_all_its_connections_together_have_carried_what_its_rule_allows(lab: Lab) -> None:
    limited = POLICY.replace("limits: {{duration: 1h}}", "limits: {{duration: 1h, bytes: 100KB}}")
    async with lab.gateway(limited) as site, Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels:
        way = await tunnels.listen("warehouse")
        async with await psycopg.AsyncConnection.connect(way.url, autocommit=True) as connection:
            await connection.execute("SELECT repeat('x', 60000)")
        async with await psycopg.AsyncConnection.connect(way.url, autocommit=True) as connection:
            await connection.execute("SELECT repeat('x', 60000)")
            await asyncio.wait_for(tunnels.link.over.wait(), 10)
            with pytest.raises(psycopg.errors.AdminShutdown, match="limit"):
                await connection.execute("SELECT 1")
        async with asyncio.timeout(5):
            while not site.records("session.closed"):
                await asyncio.sleep(0.01)
        assert [one["close_reason"] for one in site.records("session.closed", "connection.closed")] == [
            "client_closed",
            "limit",
            "limit",
        ]


async def test_what_gone_connections_carried_still_counts(lab: Lab) -> None:
    async with parts(lab) as (_, session, _):
        one, two = Guest(), Guest()
        one.allowance = 14
        session.move_in(one)
        session.move_in(two)
        assert session.traffic == (6, 8)
        session.move_out(two)
        session.move_out(two)
        assert session.traffic == (6, 8)
        assert session.used_up()
        one.allowance = 15
        assert not session.used_up()


async def test_the_audit_says_with_what_and_until_when_a_session_was_opened(lab: Lab) -> None:
    async with lab.gateway() as site, Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels:
        await tunnels.test("warehouse")
        [opened] = site.records("session.opened")
        [granted] = site.records("grant.issued")
    assert opened["client_version"].startswith("SSH-2.0-airtunnel_") or opened["client_version"].startswith("airtunnel_")
    assert opened["session_exp"] == granted["session_exp"]
