"""Who may see, end and lock what, by the API."""

import asyncio
from datetime import timedelta

import psycopg
import pytest

from airtunnel.errors import Forbidden, LoginRequired, NotFound, ProtocolError, Refused
from airtunnel.identity.present import Presented
from airtunnel.model import Tags
from airtunnel.tunnel.control import Control
from airtunnel.tunnel.tunnels import Tunnels
from airtunnel.wire.sessions import LockRequest
from tests.gateway.guests import granted
from tests.lab import Lab, Site

LIMIT = 10.0
ADMINS = "admins: {users: [fin@example.com]}"
ANA = LockRequest("user", "ana@example.com", "laptop stolen")


async def asking(site: Site, login: str) -> tuple[Control, Presented]:
    """The API, and what this person shows there."""
    return Control(site.address, site.ca), await (await site.account(login)).present()


async def gone(tunnels: Tunnels) -> str:
    """The reason for which the gateway ended these."""
    await asyncio.wait_for(tunnels.link.over.wait(), LIMIT)
    return str(getattr(tunnels.link.error, "reason", tunnels.link.error))


async def test_without_a_login_there_is_nothing(lab: Lab) -> None:
    async with lab.gateway(extra=ADMINS) as site:
        control, stranger = Control(site.address, site.ca), Presented("rubbish")
        for call in (
            control.sessions(stranger),
            control.sessions(stranger, everybody=True),
            control.kill(stranger, "x"),
            control.kill_all(stranger),
            control.locks(stranger),
            control.lock(stranger, ANA),
            control.unlock(stranger, "user", "ana@example.com"),
        ):
            with pytest.raises(LoginRequired):
                await call


async def test_everybody_sees_their_own_sessions_and_what_goes_through_them(lab: Lab) -> None:
    async with lab.gateway() as site:
        control, ana = await asking(site, "ana")
        tags = Tags(dag_id="billing", task_id="load", run_id="r1")
        async with Tunnels.open(await site.account("ana"), ["warehouse"], tags) as tunnels:
            unused = (await granted(site, "ana")).reply.session
            way = await tunnels.listen("warehouse")
            async with await psycopg.AsyncConnection.connect(way.url) as connection:
                await connection.execute("SELECT repeat('x', 10000)")
                async with asyncio.timeout(LIMIT):
                    while not (one := (await control.sessions(ana)).sessions[0]).bytes_down > 10_000:
                        await asyncio.sleep(0.05)
            assert (one.session, one.who, one.targets) == (tunnels.reply.session, "ana@example.com", ("warehouse",))
            assert (one.tags, one.connections, one.running, one.source) == (tags, 1, True, "127.0.0.1")
            assert one.ends_at == tunnels.reply.ends_at
            listed = (await control.sessions(ana)).sessions
            assert [(each.session, each.running) for each in listed] == [(one.session, True), (unused, False)]
            control, fin = await asking(site, "fin")
            assert (await control.sessions(fin)).sessions == ()
        control, ana = await asking(site, "ana")
        async with asyncio.timeout(LIMIT):
            while any(each.running for each in (await control.sessions(ana)).sessions):
                await asyncio.sleep(0.05)


async def test_ones_own_session_is_killed_and_the_others_go_on(lab: Lab) -> None:
    async with lab.gateway() as site:
        control, ana = await asking(site, "ana")
        account = await site.account("ana")
        async with (
            Tunnels.open(account, ["warehouse"], Tags()) as one,
            Tunnels.open(account, ["warehouse"], Tags()) as two,
        ):
            way = await one.listen("warehouse")
            async with await psycopg.AsyncConnection.connect(way.url, autocommit=True) as connection:
                assert (await control.kill(ana, one.reply.session)).sessions == (one.reply.session,)
                assert await gone(one) == "revoked"
                with pytest.raises(psycopg.errors.AdminShutdown, match="revoked"):
                    await connection.execute("SELECT 1")
            await two.test("warehouse")
            async with asyncio.timeout(LIMIT):
                while len((await control.sessions(ana)).sessions) > 1:
                    await asyncio.sleep(0.05)
            with pytest.raises(NotFound):
                await control.kill(ana, one.reply.session)
        (record,) = site.records("session.killed")
        assert (record["sid"], record["user"]["name"], record["detail"]) == (
            one.reply.session,
            "ana@example.com",
            "of ana@example.com",
        )


async def test_all_of_ones_own_are_killed_and_one_stays_logged_in(lab: Lab) -> None:
    async with lab.gateway() as site, Tunnels.open(await site.account("fin"), ["payroll"], Tags()) as fins:
        control, ana = await asking(site, "ana")
        unused = await granted(site, "ana")
        async with Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as anas:
            killed = await control.kill_all(ana)
            assert killed.sessions == (unused.reply.session, anas.reply.session)
            assert await gone(anas) == "revoked"
        async with asyncio.timeout(LIMIT):
            while (await control.sessions(ana)).sessions:  # also what had not begun is gone
                await asyncio.sleep(0.05)
        await fins.test("payroll")
        await (await site.account("ana")).grant(("warehouse",), Tags())


async def test_anothers_session_is_told_of_as_one_that_does_not_exist(lab: Lab) -> None:
    async with lab.gateway() as site, Tunnels.open(await site.account("fin"), ["payroll"], Tags()) as fins:
        control, ana = await asking(site, "ana")
        said = set()
        for session in (fins.reply.session, "0" * 26, "../locks", "x" * 5000):
            with pytest.raises(NotFound) as told:
                await control.kill(ana, session)
            said.add((told.value.message, told.value.hint, told.value.details))
        assert len(said) == 1
        with pytest.raises(Forbidden, match=r"ana@example\.com may not see all sessions"):
            await control.sessions(ana, everybody=True)
        await fins.test("payroll")
        assert site.records("session.killed") == []


async def test_who_is_no_admin_may_not_lock(lab: Lab) -> None:
    async with lab.gateway(extra=ADMINS) as site:
        control, ana = await asking(site, "ana")
        for call in (
            control.locks(ana),
            control.lock(ana, LockRequest("user", "fin@example.com", "spite")),
            control.unlock(ana, "user", "fin@example.com"),
        ):
            with pytest.raises(Forbidden, match="for the gateway's admins"):
                await call
        await (await site.account("fin")).grant(("payroll",), Tags())
        assert [one["detail"].partition(":")[0] for one in site.records("refused")] == ["see locks", "lock", "unlock"]
        assert site.records("lock.set", "lock.lifted") == []


async def test_nobody_is_an_admin_unless_the_configuration_says_so(lab: Lab) -> None:
    async with lab.gateway() as site:
        control, fin = await asking(site, "fin")
        with pytest.raises(Forbidden):
            await control.lock(fin, ANA)


async def test_an_admin_sees_and_ends_anothers_session(lab: Lab) -> None:
    async with (
        lab.gateway(extra="admins: {groups: [finance]}") as site,
        Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as anas,
    ):
        control, fin = await asking(site, "fin")
        assert (await control.sessions(fin)).sessions == ()
        (one,) = (await control.sessions(fin, everybody=True)).sessions
        assert (one.session, one.who, one.kind) == (anas.reply.session, "ana@example.com", "person")
        await control.kill(fin, one.session)
        assert await gone(anas) == "revoked"
        (record,) = site.records("session.killed")
        assert (record["user"]["name"], record["detail"]) == ("fin@example.com", "of ana@example.com")


async def test_a_lock_ends_what_runs_and_refuses_what_is_new_until_it_is_lifted(lab: Lab) -> None:
    async with lab.gateway(extra=ADMINS) as site:
        control, fin = await asking(site, "fin")
        account = await site.account("ana")
        async with Tunnels.open(account, ["warehouse"], Tags()) as tunnels:
            way = await tunnels.listen("warehouse")
            async with await psycopg.AsyncConnection.connect(way.url, autocommit=True) as connection:
                answer = await control.lock(fin, ANA)
                assert (answer.ends, answer.lock.by, answer.lock.until) == (1, "fin@example.com", None)
                assert await gone(tunnels) == "locked"
                with pytest.raises(psycopg.errors.AdminShutdown, match="locked") as told:
                    await connection.execute("SELECT 1")
                assert "user ana@example.com is locked: laptop stolen" in (told.value.diag.message_detail or "")
        with pytest.raises(Refused) as refused:
            await account.grant(("warehouse",), Tags())
        assert refused.value.rule == "lock"
        assert "laptop stolen" in refused.value.because
        assert (await control.locks(fin)).locks == (answer.lock,)
        await control.unlock(fin, "user", "ANA@example.com")
        with pytest.raises(NotFound):
            await control.unlock(fin, "user", "ana@example.com")
        await account.grant(("warehouse",), Tags())
        assert [one["close_reason"] for one in site.records("session.closed")] == ["locked"]
        assert [one["detail"] for one in site.records("lock.set", "lock.lifted")] == ["user ana@example.com: laptop stolen"] * 2
        assert {one["policy"]["rule"] for one in site.records("refused")} == {"lock"}


async def test_a_locked_admin_is_none_and_cannot_lift_the_lock(lab: Lab) -> None:
    async with lab.gateway(extra="admins: {users: [fin@example.com, ana@example.com]}") as site:
        control, fin = await asking(site, "fin")
        _, ana = await asking(site, "ana")
        await control.lock(fin, ANA)
        for call in (control.unlock(ana, "user", "ana@example.com"), control.lock(ana, ANA), control.locks(ana)):
            with pytest.raises(Forbidden):
                await call
        assert len((await control.locks(fin)).locks) == 1


async def test_a_target_and_a_group_are_locked_for_everybody_else_goes_on(lab: Lab) -> None:
    async with lab.gateway(extra=ADMINS) as site:
        control, fin = await asking(site, "fin")
        await control.lock(fin, LockRequest("target", "warehouse", "restore", 3600))
        for login in ("ana", "fin"):
            with pytest.raises(Refused, match="warehouse"):
                await (await site.account(login)).grant(("warehouse",), Tags())
        await (await site.account("fin")).grant(("payroll",), Tags())
        refusals = {one.name: one.refusal for one in (await control.targets(fin)).targets}
        assert refusals["payroll"] is None
        assert refusals["warehouse"] is not None
        assert "target warehouse is locked until" in refusals["warehouse"].because
        assert site.records("lock.set")[0]["target"] == "warehouse"
        await control.lock(fin, LockRequest("group", "finance", "audit week"))
        with pytest.raises(Forbidden):
            await control.locks(fin)
        with pytest.raises(Refused, match="payroll"):
            await (await site.account("fin")).grant(("payroll",), Tags())


@pytest.mark.parametrize(
    "asked",
    [
        LockRequest("usr", "ana", "x"),
        LockRequest("user", "a\nb", "x"),
        LockRequest("user", "ana", ""),
        LockRequest("user", "ana", "x", 0),
        LockRequest("user", "ana", "x", -1),
        LockRequest("user", "ana", "x", 10**30),
    ],
)
async def test_what_is_no_lock_is_told_so(lab: Lab, asked: LockRequest) -> None:
    async with lab.gateway(extra=ADMINS) as site:
        control, fin = await asking(site, "fin")
        with pytest.raises(ProtocolError, match="a lock"):
            await control.lock(fin, asked)
        assert (await control.locks(fin)).locks == ()


async def test_a_lock_is_over_when_its_time_is(lab: Lab) -> None:
    async with lab.gateway(extra=ADMINS) as site:
        control, fin = await asking(site, "fin")
        await control.lock(fin, LockRequest("user", "ana@example.com", "lunch", 60))
        account, clock = await site.account("ana"), site.gateway.service.clock
        with pytest.raises(Refused):
            await account.grant(("warehouse",), Tags())
        site.gateway.service.clock = lambda: clock() + timedelta(seconds=61)
        await account.grant(("warehouse",), Tags())
        site.gateway.service.clock = clock
