"""What survives a gateway, in SQLite and in PostgreSQL alike."""

import asyncio
import sqlite3
import stat
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType

import pytest
import sqlalchemy as sa

from airtunnel.errors import ConfigError, Temporary, Unreachable
from airtunnel.gateway.store import KEPT, METADATA, Store, StoredLease, StoredSession
from airtunnel.model import EndReason, Grant, Principal, PrincipalKind, Tags
from tests.postgres_server import PostgresServer, running_postgres

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
HOUR = timedelta(hours=1)
ANA = Principal(
    PrincipalKind.PERSON, "https://id.example.com", "u-1", "añá@example.com", ("data-eng",), {"a": [1, {"b": None}]}
)
GRANT = Grant("s-1", ANA, ("orders", "prod"), Tags(dag_id="billing", try_number=2), NOW, NOW + timedelta(minutes=5), NOW + HOUR)

Opener = Callable[[], AbstractAsyncContextManager[Store]]


class StoreContract:
    """What every database must do. A test class gives the fixture `reopen`: opens the same store, as a new process would."""

    @pytest.fixture
    async def store(self, reopen: Opener) -> AsyncIterator[Store]:
        async with reopen() as store:
            yield store

    async def test_a_session_is_read_as_it_was_written(self, store: Store) -> None:
        await store.put_session(GRANT, "gw-1")
        assert await store.running() == [StoredSession(GRANT, "gw-1")]

    async def test_claims_may_be_any_mapping(self, store: Store) -> None:
        await store.put_session(replace(GRANT, principal=replace(ANA, claims=MappingProxyType({"a": 1}))), "gw-1")
        [stored] = await store.running()
        assert stored.grant.principal.claims == {"a": 1}

    async def test_times_in_any_zone_are_the_same_moment(self, store: Store) -> None:
        await store.put_session(replace(GRANT, ends_at=GRANT.ends_at.astimezone()), "gw-1")
        assert (await store.running())[0].grant == GRANT

    async def test_a_time_without_a_zone_is_refused(self, store: Store) -> None:
        with pytest.raises(sa.exc.StatementError, match="a time without a zone"):
            await store.session_ended("s-1", EndReason.IDLE, NOW.replace(tzinfo=None))

    async def test_running_sessions_are_those_of_one_gateway_or_all(self, store: Store) -> None:
        await store.put_session(GRANT, "gw-1")
        await store.put_session(replace(GRANT, session="s-2"), "gw-2")
        assert [one.grant.session for one in await store.running("gw-2")] == ["s-2"]
        assert [one.grant.session for one in await store.running()] == ["s-1", "s-2"]

    async def test_a_session_moves_to_the_gateway_that_serves_it(self, store: Store) -> None:
        await store.put_session(GRANT, "gw-1")
        await store.put_session(GRANT, "gw-2")
        assert [one.gateway for one in await store.running()] == ["gw-2"]

    async def test_an_ended_session_does_not_run_and_is_not_revived(self, store: Store) -> None:
        await store.put_session(GRANT, "gw-1")
        await store.session_ended("s-1", EndReason.IDLE, NOW)
        await store.put_session(GRANT, "gw-2")
        assert await store.running() == []

    async def test_the_end_of_an_unknown_session_is_fine(self, store: Store) -> None:
        await store.session_ended("s-0", EndReason.IDLE, NOW)

    async def test_a_lease_is_out_until_it_is_returned(self, store: Store) -> None:
        await store.put_lease("0123456789ab", "s-1", "orders", "gw-1", NOW + HOUR)
        assert await store.outstanding("gw-1") == [StoredLease("0123456789ab", "s-1", "orders", "gw-1", NOW + HOUR)]
        assert await store.outstanding("gw-2") == []
        await store.lease_returned("0123456789ab")
        await store.lease_returned("0123456789ab")
        assert await store.outstanding("gw-1") == []

    async def test_the_leases_of_a_gateway_that_died_are_known_to_its_next_process(self, reopen: Opener) -> None:
        async with reopen() as store:
            await store.put_lease("0123456789ab", "s-1", "orders", "gw-1", NOW + HOUR)
        async with reopen() as store:
            assert [lease.lease_id for lease in await store.outstanding("gw-1")] == ["0123456789ab"]

    async def test_the_same_lease_is_not_written_down_twice(self, store: Store) -> None:
        await store.put_lease("0123456789ab", "s-1", "orders", "gw-1", NOW + HOUR)
        with pytest.raises(Temporary, match="the store cannot serve"):
            await store.put_lease("0123456789ab", "s-2", "orders", "gw-1", NOW + HOUR)

    async def test_a_revoked_session_is_revoked_and_no_other(self, store: Store) -> None:
        assert not await store.is_revoked(GRANT)
        await store.revoke_session("s-1", GRANT.ends_at)
        await store.revoke_session("s-1", GRANT.ends_at)
        assert await store.is_revoked(GRANT)
        assert not await store.is_revoked(replace(GRANT, session="s-2"))

    @pytest.mark.parametrize(
        ("offset", "revoked"), [(timedelta(seconds=-1), True), (timedelta(0), True), (timedelta(microseconds=1), False)]
    )
    async def test_a_revoked_principal_loses_what_was_granted_up_to_then(
        self, store: Store, offset: timedelta, revoked: bool
    ) -> None:
        await store.revoke_principal(ANA.issuer, ANA.subject, NOW)
        assert await store.is_revoked(replace(GRANT, issued_at=NOW + offset)) is revoked

    @pytest.mark.parametrize("other", [replace(ANA, issuer="https://other.example.com"), replace(ANA, subject="u-2")])
    async def test_a_revoked_principal_is_known_by_issuer_and_subject(self, store: Store, other: Principal) -> None:
        await store.revoke_principal(ANA.issuer, ANA.subject, NOW)
        assert not await store.is_revoked(replace(GRANT, principal=other))

    async def test_an_earlier_revocation_does_not_undo_a_later_one(self, store: Store) -> None:
        await store.revoke_principal(ANA.issuer, ANA.subject, NOW)
        await store.revoke_principal(ANA.issuer, ANA.subject, NOW - HOUR)
        assert await store.is_revoked(GRANT)

    async def test_a_later_revocation_replaces_an_earlier_one(self, store: Store) -> None:
        await store.revoke_principal(ANA.issuer, ANA.subject, NOW - HOUR)
        assert not await store.is_revoked(GRANT)
        await store.revoke_principal(ANA.issuer, ANA.subject, NOW)
        assert await store.is_revoked(GRANT)

    async def test_pruning_forgets_no_revocation_of_what_could_still_be_used(self, store: Store) -> None:
        long = replace(GRANT, ends_at=NOW + 3 * KEPT)
        await store.put_session(long, "gw-1")
        await store.revoke_session("s-1", long.ends_at)
        await store.revoke_principal(ANA.issuer, ANA.subject, NOW)
        await store.prune(NOW + 2 * KEPT)
        assert await store.is_revoked(long)
        assert await store.is_revoked(replace(long, session="s-2"))

    async def test_pruning_forgets_what_is_long_over(self, store: Store) -> None:
        await store.put_session(GRANT, "gw-1")
        await store.revoke_session("s-1", GRANT.ends_at)
        await store.revoke_principal(ANA.issuer, ANA.subject, NOW)
        await store.prune(NOW + HOUR + KEPT + HOUR)
        assert await store.running() == []
        assert not await store.is_revoked(GRANT)

    async def test_pruning_keeps_a_lease_that_is_still_out(self, store: Store) -> None:
        await store.put_lease("0123456789ab", "s-1", "orders", "gw-1", NOW)
        await store.prune(NOW + 2 * KEPT)
        assert len(await store.outstanding("gw-1")) == 1

    async def test_uses_are_counted_for_each_issuers_id(self, store: Store) -> None:
        assert [await store.use_count("https://a", "1", NOW + HOUR) for _ in range(3)] == [1, 2, 3]
        assert await store.use_count("https://a", "2", NOW + HOUR) == 1
        assert await store.use_count("https://b", "1", NOW + HOUR) == 1

    async def test_uses_at_once_are_each_counted_and_by_every_gateway(self, reopen: Opener) -> None:
        async with reopen() as one, reopen() as other:
            counts = await asyncio.gather(*(each.use_count("https://a", "1", NOW + HOUR) for each in [one, other] * 10))
        assert sorted(counts) == list(range(1, 21))
        async with reopen() as store:
            assert await store.use_count("https://a", "1", NOW + HOUR) == 21

    async def test_pruning_forgets_uses_of_what_has_expired_only(self, store: Store) -> None:
        await store.use_count("https://a", "1", NOW)
        await store.prune(NOW + timedelta(seconds=59))
        assert await store.use_count("https://a", "1", NOW) == 2
        await store.prune(NOW + timedelta(seconds=61))
        assert await store.use_count("https://a", "1", NOW) == 1

    async def test_hostile_names_are_only_names(self, store: Store) -> None:
        odd = replace(GRANT, session="x'; DROP TABLE sessions; --", principal=replace(ANA, subject="' OR 1=1 --"))
        await store.put_session(odd, "gw' --")
        assert [one.grant for one in await store.running("gw' --")] == [odd]
        assert not await store.is_revoked(odd)

    async def test_many_may_write_at_once(self, store: Store) -> None:
        writes = (store.put_session(replace(GRANT, session=f"s-{number}"), "gw-1") for number in range(50))
        await asyncio.gather(*writes)
        assert len(await store.running()) == 50

    async def test_a_store_may_be_opened_by_several_at_once(self, reopen: Opener) -> None:
        async with reopen() as one, reopen() as other:
            await one.revoke_session("s-1", GRANT.ends_at)
            assert await other.is_revoked(GRANT)

    def test_no_column_is_for_a_secret(self) -> None:
        columns = [column.name for table in METADATA.tables.values() for column in table.columns]
        assert not [name for name in columns if "password" in name or "token" in name or "secret" in name]


class TestSqlite(StoreContract):
    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / "state" / "state.db"

    @pytest.fixture
    def reopen(self, path: Path) -> Opener:
        return lambda: Store.open(path)

    @pytest.fixture
    def damaged(self, tmp_path: Path) -> Path:
        path = tmp_path / "damaged.db"
        path.write_text("hello " * 1000)
        return path

    async def test_its_files_are_private(self, store: Store, path: Path) -> None:
        await store.put_session(GRANT, "gw-1")
        modes = await asyncio.to_thread(lambda: {one.name: stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()})
        assert modes == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}

    async def test_what_was_written_survives_a_power_cut(self, store: Store) -> None:
        async with store._engine.connect() as connection:
            settings = [await connection.scalar(sa.text(f"PRAGMA {name}")) for name in ("journal_mode", "synchronous")]
        assert settings == ["wal", 2]

    async def test_a_store_of_a_newer_airtunnel_is_refused_and_left_alone(self, path: Path) -> None:
        path.parent.mkdir()
        change(path, "CREATE TABLE schema_version (id INTEGER PRIMARY KEY, version INTEGER)")
        change(path, "INSERT INTO schema_version VALUES (1, 99)")
        with pytest.raises(ConfigError, match="schema 99, this airtunnel knows 1"):
            async with Store.open(path):
                pass
        assert change(path, "SELECT name FROM sqlite_master") == [("schema_version",)]

    async def test_what_is_no_database_is_refused(self, damaged: Path) -> None:
        with pytest.raises(Temporary, match="not a database"):
            async with Store.open(damaged):
                pass

    async def test_a_place_that_cannot_be_written_is_named(self) -> None:
        with pytest.raises(Unreachable, match=r"/proc/no/state.db cannot be opened"):
            async with Store.open("/proc/no/state.db"):
                pass


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with running_postgres(16) as server:
        server.run("CREATE ROLE gateway LOGIN PASSWORD 'canary-of-the-store'")
        yield server


class TestPostgres(StoreContract):
    @pytest.fixture
    def url(self, server: PostgresServer) -> str:
        server.run("DROP DATABASE IF EXISTS state WITH (FORCE)", "CREATE DATABASE state OWNER gateway")
        return f"postgresql://gateway:canary-of-the-store@/state?host={server.directory}"

    @pytest.fixture
    def reopen(self, url: str) -> Opener:
        return lambda: Store.open(url)

    async def test_a_fleet_may_start_at_once_on_a_new_database(self, url: str) -> None:
        async def start() -> list[StoredSession]:
            async with Store.open(url) as store:
                return await store.running()

        assert await asyncio.gather(*(start() for _ in range(5))) == [[]] * 5

    async def test_a_cut_connection_is_made_anew(self, store: Store, server: PostgresServer) -> None:
        await store.put_session(GRANT, "gw-1")
        server.run("SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE usename = 'gateway'")
        assert len(await store.running()) == 1

    async def test_a_failed_login_does_not_quote_the_password(self, url: str) -> None:
        with pytest.raises(Temporary) as caught:
            async with Store.open(url.replace("canary", "wrong-canary")):
                pass
        assert "canary" not in f"{caught.value} {caught.value.hint} {caught.value.__cause__}"

    @pytest.mark.parametrize("url", ["postgresql://x:canary@[::1", "postgresql://x:canary@h:port/d", "mysql://x:canary@h/d"])
    async def test_a_wrong_url_is_not_quoted(self, url: str) -> None:
        with pytest.raises(ConfigError) as caught:
            async with Store.open(url):
                pass
        assert "canary" not in f"{caught.value} {caught.value.hint}"
        assert caught.value.__cause__ is None

    async def test_a_database_that_is_down_is_unreachable(self, tmp_path: Path) -> None:
        with pytest.raises(Unreachable, match="the store does not answer"):
            async with Store.open(f"postgresql://gateway@/state?host={tmp_path}"):
                pass


def change(path: Path, statement: str) -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    try:
        with connection:
            return connection.execute(statement).fetchall()
    finally:
        connection.close()
