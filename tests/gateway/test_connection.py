"""One connection through everything, with real drivers: what it is given, how it ends, and what the audit has of it."""

import asyncio
import contextlib
import os
import random
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncssh
import psycopg
import pytest

from airtunnel.gateway.connection import Border
from airtunnel.model import Tags
from airtunnel.tunnel.relay import Relay
from airtunnel.tunnel.stream import End
from airtunnel.tunnel.tunnels import Tunnels, Way
from airtunnel.wire import postgres
from tests.gateway.guests import connect, granted, login_of
from tests.lab import POLICY, Lab, Site

SHORT = POLICY.replace("limits: {{duration: 1h}}", "limits: {{duration: 2s}}")
SINGLE = POLICY.replace("limits: {{duration: 1h}}", "limits: {{connections: 1}}")
SLEEP = "SELECT pg_sleep(30)"
ENDLESS = "COPY (SELECT repeat('x', 1000) FROM generate_series(1, 10000000)) TO STDOUT"
Row = tuple[Any, ...]  # Any: what the database has


@contextlib.asynccontextmanager
async def opened(lab: Lab, policy: str = POLICY, tags: Tags | None = None) -> AsyncIterator[tuple[Site, Tunnels, Way]]:
    """Ana's way to the warehouse."""
    async with (
        lab.gateway(policy) as site,
        Tunnels.open(await site.account("ana"), ["warehouse"], tags or Tags()) as tunnels,
    ):
        yield site, tunnels, await tunnels.listen("warehouse")


async def enter(way: Way, **options: Any) -> "psycopg.AsyncConnection[Row]":  # Any: psycopg's options
    """A psycopg connection in which each statement is its own transaction."""
    return await psycopg.AsyncConnection.connect(way.url, autocommit=True, **options)


def running(lab: Lab) -> list[str]:
    """The statements of temporary roles that run now, as the database sees it."""
    with lab.database.connect(lab.database.superuser, lab.database.superuser_password, "postgres") as direct:
        query = r"SELECT query FROM pg_stat_activity WHERE usename LIKE 'at\_e\_%' AND state = 'active'"
        return [row[0] for row in direct.execute(query)]


async def until(lab: Lab, holds: Callable[[list[str]], bool], limit: float = 5.0) -> float:
    """Wait until `holds(running statements)`; the seconds that took."""
    started = time.monotonic()
    async with asyncio.timeout(limit):
        while not holds(await asyncio.to_thread(running, lab)):
            await asyncio.sleep(0.02)
    return time.monotonic() - started


async def started(lab: Lab) -> None:
    """Wait until the long query runs."""
    await until(lab, lambda queries: SLEEP in queries)


async def test_a_query_runs_as_a_role_of_its_own_and_the_role_is_gone_afterwards(lab: Lab) -> None:
    async with opened(lab) as (_, _, way):
        async with await enter(way) as connection:
            cursor = await connection.execute("SELECT session_user, current_user, current_setting('application_name')")
            row = await cursor.fetchone()
        assert row is not None
        role, group, application = row
        assert role in lab.roles()
    assert group == "shop_rw"
    assert application == "airtunnel:ana@example.com"
    assert role not in lab.roles()


async def test_the_audit_has_each_step_in_order_and_both_directions(lab: Lab) -> None:
    tags = Tags(dag_id="billing", task_id="load", run_id="r1", try_number=1)
    async with opened(lab, tags=tags) as (site, tunnels, way), await enter(way) as connection:
        cursor = await connection.execute("SELECT current_setting('application_name')")
        assert await cursor.fetchone() == ("airtunnel:billing/load/r1",)
    records = site.records()
    assert [record["event"] for record in records] == [
        "gateway.started",
        "grant.issued",
        "session.opened",
        "connection.opened",
        "lease.lent",
        "connection.closed",
        "lease.returned",
        "session.closed",
        "gateway.stopped",
    ]
    mine = [record for record in records if not record["event"].startswith("gateway.")]
    assert {record["sid"] for record in mine} == {tunnels.reply.session}
    closed = records[5]
    assert closed["tags"] == tags.said()
    assert closed["user"]["name"] == "ana@example.com"
    assert closed["policy"]["rule"] == "engineers"
    assert closed["upstream"] == f"unix:{lab.database.socket}"
    assert closed["db_user_injected"].startswith("at_e_")
    assert closed["close_reason"] == "client_closed"
    assert closed["bytes_up"] > 20
    assert closed["bytes_down"] > 20
    assert records[3]["conn_id"] == closed["conn_id"]


async def test_nothing_that_is_secret_is_written_anywhere(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    async with opened(lab) as (site, _, way):
        account = await site.account("ana")
        async with await enter(way) as connection:
            await connection.execute("SELECT 1")
        secrets = [way.password, lab.database.broker_password, (await account.present()).token, lab.database.superuser_password]
    written = caplog.text + "".join(path.read_text() for path in (site.directory / "audit").iterdir())
    written += repr(way) + repr(account)
    assert not [secret for secret in secrets if secret in written]
    state = b"".join(path.read_bytes() for path in site.directory.glob("state.db*"))
    assert not [secret for secret in secrets if secret.encode() in state]


async def test_an_idle_connection_hears_in_postgresqls_words_that_its_time_is_up(lab: Lab) -> None:
    async with opened(lab, SHORT) as (site, tunnels, way):
        connection = await enter(way)
        await connection.execute("SELECT 1")
        async with asyncio.timeout(6):
            await tunnels.link.over.wait()
        with pytest.raises(psycopg.errors.AdminShutdown, match="the session to warehouse has ended: expired"):
            await connection.execute("SELECT 1")
        await connection.close()
        assert str(tunnels.link.error) == "the gateway ended the session: expired"
    (closed,) = site.records("connection.closed")
    assert closed["close_reason"] == "expired"
    assert 1_500 <= closed["duration_ms"] <= 3_500
    assert lab.roles() == []


async def test_a_running_query_is_cancelled_when_its_time_is_up(lab: Lab) -> None:
    async with opened(lab, SHORT) as (site, _, way):
        connection = await enter(way)
        with pytest.raises((psycopg.errors.QueryCanceled, psycopg.errors.AdminShutdown)):
            await asyncio.wait_for(connection.execute(SLEEP), 8)
        await until(lab, lambda queries: not queries)
        with pytest.raises(psycopg.OperationalError):
            await connection.execute("SELECT 1")
        await connection.close()
    # At once: a database that works in silence stands between two messages.
    assert site.records("connection.closed")[0]["duration_ms"] < 3_500
    assert [one["close_reason"] for one in site.records("connection.closed", "session.closed")] == ["expired", "expired"]


async def test_a_copy_in_full_flow_is_cancelled_when_its_time_is_up(lab: Lab) -> None:
    async with opened(lab, SHORT) as (site, _, way):
        connection = await enter(way)
        with pytest.raises(psycopg.OperationalError):
            async with connection.cursor().copy(ENDLESS) as copy:
                await asyncio.wait_for(read_on(copy), 8)
        await connection.close()
    assert site.records("connection.closed")[0]["duration_ms"] < 4_900, (
        "without the cancel it takes LAST_WORDS more, which is 5 s"
    )


async def read_on(copy: "psycopg.AsyncCopy") -> None:
    """Read until there is no more."""
    while await copy.read():
        pass


async def read_late(connection: "psycopg.AsyncConnection[Row]", tunnels: Tunnels) -> None:
    """Begin a COPY of ten gigabytes, and read it when the link is gone."""
    async with connection.cursor().copy(ENDLESS) as copy:
        await tunnels.link.over.wait()
        await read_on(copy)


async def test_a_copy_that_nobody_reads_ends_with_its_time_and_does_not_hang(lab: Lab) -> None:
    async with opened(lab, SHORT) as (site, tunnels, way):
        connection = await enter(way)
        with pytest.raises(psycopg.Error):
            await asyncio.wait_for(read_late(connection, tunnels), 8)
        await connection.close()
        await until(lab, lambda queries: not queries)
    assert [one["close_reason"] for one in site.records("connection.closed", "session.closed")] == ["expired", "expired"]
    assert lab.roles() == []


async def test_a_client_that_says_nothing_does_not_outlive_the_session(lab: Lab) -> None:
    async with lab.gateway(SHORT) as site:
        one = await granted(site)
        async with connect(site, **login_of(one)) as silent:
            _, end = await silent.create_connection(asyncssh.SSHTCPSession, "warehouse", 0)
            assert end is not None
            async with asyncio.timeout(7):
                await silent.wait_closed()
                while not site.records("session.closed"):
                    await asyncio.sleep(0.01)
        assert [one["close_reason"] for one in site.records("connection.closed", "session.closed")] == ["expired", "expired"]


async def test_a_query_is_cancelled_through_the_tunnel_and_the_connection_goes_on(lab: Lab) -> None:
    async with opened(lab, SINGLE) as (_, _, way), await enter(way) as connection:
        asking = asyncio.ensure_future(connection.execute(SLEEP))
        await started(lab)
        begun = time.monotonic()
        await connection.cancel_safe(timeout=5)
        with pytest.raises(psycopg.errors.QueryCanceled):
            await asking
        assert time.monotonic() - begun < 1
        cursor = await connection.execute("SELECT 1")
        assert await cursor.fetchone() == (1,)


async def test_the_key_of_a_connection_is_not_the_targets_and_a_foreign_one_does_nothing(lab: Lab) -> None:
    async with opened(lab) as (site, tunnels, way), await enter(way) as connection:
        asking = asyncio.ensure_future(connection.execute(SLEEP))
        await started(lab)
        with lab.database.connect(lab.database.superuser, lab.database.superuser_password, "postgres") as direct:
            found = direct.execute("SELECT pid FROM pg_stat_activity WHERE query = %s", [SLEEP]).fetchone()
        assert found is not None
        assert found[0] != connection.info.backend_pid, "the target's own key stays at the gateway"
        for key in (
            postgres.CancelRequest(found[0], b"\0\0\0\0"),
            postgres.CancelRequest(connection.info.backend_pid, b"\0\0\0\0"),
        ):
            await _cancel(way, key)
        # Ana's other session does not know the key, even the right one.
        async with Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as others:
            elsewhere = await others.listen("warehouse")
            (real,) = next(iter(site.gateway.sessions._running.values()))._cancels
            await _cancel(elsewhere, real)
            assert SLEEP in await asyncio.to_thread(running, lab)
            await _cancel(way, real)
            with pytest.raises(psycopg.errors.QueryCanceled):
                await asking
        assert tunnels.link.error is None
    said = [one["detail"] for one in site.records("connection.closed") if "detail" in one]
    assert said == ["cancel request with a key of no connection here"] * 3 + ["cancel request"]


async def _cancel(way: Way, key: postgres.CancelRequest) -> None:
    reader, writer = await asyncio.open_connection(way.host, way.port)
    writer.write(postgres.encode_cancel(key))
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_a_client_killed_in_a_query_leaves_none_running(lab: Lab) -> None:
    async with opened(lab) as (_, _, way):
        script = f"import psycopg; psycopg.connect({way.url!r}, autocommit=True).execute({SLEEP!r})"
        client = await asyncio.create_subprocess_exec(sys.executable, "-c", script)
        await started(lab)
        client.send_signal(signal.SIGKILL)
        assert await until(lab, lambda queries: not queries) < 2
        await client.wait()


async def test_a_rule_may_limit_how_many_connections_are_open_at_a_time(lab: Lab) -> None:
    async with opened(lab, SINGLE) as (site, _, way):
        async with await enter(way) as first:
            with pytest.raises(
                psycopg.OperationalError, match=r"refused by rule engineers \(policy/policy\.yaml:\d+\).*allows 1 connections"
            ):
                await enter(way)
            await first.execute("SELECT 1")
        for _ in range(5):
            async with await enter(way) as again:
                await again.execute("SELECT 1")
    (refusal,) = site.records("refused")
    assert refusal["policy"]["rule"] == "engineers"
    assert refusal["conn_id"]


async def test_a_limit_holds_for_connections_that_come_at_once(lab: Lab) -> None:
    several = SINGLE.replace("connections: 1", "connections: 3")
    async with opened(lab, several) as (site, _, way), contextlib.AsyncExitStack() as stack:
        answers = await asyncio.gather(*(enter(way) for _ in range(9)), return_exceptions=True)
        for answer in answers:
            if isinstance(answer, psycopg.AsyncConnection):
                stack.push_async_callback(answer.close)
        assert sum(isinstance(answer, psycopg.AsyncConnection) for answer in answers) == 3
    assert len(site.records("refused")) == 6


async def test_thirty_connections_with_random_kills_have_one_start_and_one_end_each(lab: Lab) -> None:
    dice, room = random.Random(7), asyncio.Semaphore(12)
    async with opened(lab) as (site, _, way):

        async def one(kind: int) -> None:
            # A temporary role has 20 connections at most, and PostgreSQL is not done at once with one that was cut.
            async with room:
                await use(await enter(way), kind)

        async def use(connection: "psycopg.AsyncConnection[Row]", kind: int) -> None:
            try:
                if kind == 0:
                    await connection.execute("SELECT generate_series(1, 1000)")
                elif kind == 1:
                    with contextlib.suppress(TimeoutError, psycopg.Error):
                        await asyncio.wait_for(connection.execute("SELECT pg_sleep(0.2)"), dice.random() / 10)
                else:
                    with socket.socket(fileno=os.dup(connection.fileno())) as raw:
                        raw.shutdown(socket.SHUT_RDWR)
            finally:
                await connection.close()

        await asyncio.gather(*(one(dice.randrange(3)) for _ in range(30)))
    starts = [record["conn_id"] for record in site.records("connection.opened")]
    ends = [record["conn_id"] for record in site.records("connection.closed")]
    # Each wait_for above sends a cancel request of its own, which is a connection, too.
    assert len(starts) >= 30
    assert len(set(starts)) == len(starts)
    assert sorted(starts) == sorted(ends)
    assert [len(site.records(what)) for what in ("lease.lent", "lease.returned", "lease.stuck")] == [1, 1, 0]
    assert lab.roles() == []


def test_a_border_is_seen_however_the_bytes_are_cut() -> None:
    ready = b"Z\0\0\0\x05I"
    for cut in range(1, len(ready)):
        border = Border(b"C\0\0\0\x0dSELECT 1\0")
        border.relay = relay = Relay(End(), End())
        border.stop()
        assert not border.reached.is_set()
        border.see(ready[:cut])
        assert not border.reached.is_set()
        border.see(ready[cut:])
        assert border.reached.is_set()
        assert relay.down.ended


def test_at_a_border_the_relay_stops_at_once() -> None:
    border = Border(b"xxxZ\0\0\0\x05T")
    border.relay = Relay(End(), End())
    border.stop()
    assert border.reached.is_set()


def test_a_border_with_a_question_behind_it_is_not_quiet() -> None:
    border = Border(b"Z\0\0\0\x05I")
    border.relay = relay = Relay(End(), End())
    assert border.quiet
    relay.up.count += 1
    assert not border.quiet
    border.see(b"T\0\0\0\x04Z\0\0\0\x05I")
    assert border.quiet


async def test_what_runs_at_the_end_of_a_session_does_not_commit(lab: Lab) -> None:
    policy = POLICY.replace("duration: 1h", "duration: 2s")
    async with lab.gateway(policy) as site, Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels:
        way = await tunnels.listen("warehouse")
        async with await psycopg.AsyncConnection.connect(way.url, autocommit=True) as connection:
            await connection.execute("CREATE TABLE IF NOT EXISTS late (note text)")
            # Its first answer is complete; then the statement runs in silence.
            with pytest.raises(psycopg.errors.AdminShutdown, match="expired"):
                await connection.execute("INSERT INTO late SELECT 'too late' FROM pg_sleep(4)")
        await asyncio.sleep(3)
    database = lab.database
    with database.connect(database.superuser, database.superuser_password, "shop") as direct:
        assert direct.execute("SELECT count(*) FROM late").fetchone() == (0,)


async def test_an_idle_connection_ends_and_a_query_that_runs_is_not_idle(lab: Lab) -> None:
    policy = POLICY.replace("duration: 1h", "duration: 1h, idle: 1s")
    async with lab.gateway(policy) as site, Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels:
        way = await tunnels.listen("warehouse")
        async with await psycopg.AsyncConnection.connect(way.url, autocommit=True) as connection:
            await connection.execute("SELECT pg_sleep(4)")
            await asyncio.sleep(5)
            with pytest.raises(psycopg.errors.AdminShutdown, match="idle"):
                await connection.execute("SELECT 1")
        assert not tunnels.link.over.is_set()
        assert site.records("connection.closed")[-1]["close_reason"] == "idle"
