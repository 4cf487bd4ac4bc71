"""What must survive a gateway: sessions, leases to give back, revocations, uses. SQLite by default, PostgreSQL for a fleet.

    session     who was granted what, until when, on which gateway, and how it ended
    lease       a temporary login that was, or was about to be, made: written down before, struck out after
    revocation  a session, or everything that a principal was granted up to a moment
    use         how often a token was shown for a grant: known by its issuer's id of it

Nothing secret is stored: a lease is known by its id. This is the one door to SQLAlchemy.
"""

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from airtunnel.errors import AirtunnelError, ConfigError, Temporary, Unreachable
from airtunnel.model import EndReason, Grant, Principal, PrincipalKind, Tags

SCHEMA_VERSION = 1
PATIENCE = 5.0
"""Seconds for a connection, a lock, a statement: every new connection through the gateway waits for this."""
SPENT = 10**9
"""Uses of a token that has none left: more than anybody allows."""
KEPT = timedelta(days=7)
"""How long a session that is over can still be looked at. The audit keeps it for good."""
CLOCK_LEEWAY = timedelta(minutes=1)
"""A token is accepted for some seconds after it has expired."""
SETUP_LOCK = 0x61697274756E
"""Any number, the same for all gateways: two that start at once on a new database make its tables one after the other."""

Json = dict[str, Any]  # Any: what json.loads gives
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Moment(sa.types.TypeDecorator[datetime]):
    """An aware time as microseconds since 1970: SQLite keeps no time zones, and integers compare alike everywhere."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> int | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a time without a zone")
        return None if value is None else (value - EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: int | None, dialect: sa.Dialect) -> datetime | None:
        return None if value is None else EPOCH + timedelta(microseconds=value)


METADATA = sa.MetaData()
VERSION = sa.Table(
    "schema_version",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("version", sa.Integer, nullable=False),
)
SESSIONS = sa.Table(
    "sessions",
    METADATA,
    sa.Column("session", sa.Text, primary_key=True),
    sa.Column("gateway", sa.Text, nullable=False),
    sa.Column("issuer", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("principal", sa.JSON, nullable=False),
    sa.Column("targets", sa.JSON, nullable=False),
    sa.Column("tags", sa.JSON, nullable=False),
    sa.Column("issued_at", Moment, nullable=False),
    sa.Column("valid_before", Moment, nullable=False),
    sa.Column("ends_at", Moment, nullable=False),
    sa.Column("ended_at", Moment),
    sa.Column("end_reason", sa.Text),
)
LEASES = sa.Table(
    "leases",
    METADATA,
    sa.Column("lease_id", sa.Text, primary_key=True),
    sa.Column("session", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("gateway", sa.Text, nullable=False, index=True),
    sa.Column("expires", Moment, nullable=False),
)
REVOKED_SESSIONS = sa.Table(
    "revoked_sessions",
    METADATA,
    sa.Column("session", sa.Text, primary_key=True),
    sa.Column("until", Moment, nullable=False),
)
REVOKED_PRINCIPALS = sa.Table(
    "revoked_principals",
    METADATA,
    sa.Column("issuer", sa.Text, primary_key=True),
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("at", Moment, nullable=False),
)
USES = sa.Table(
    "uses",
    METADATA,
    sa.Column("issuer", sa.Text, primary_key=True),
    sa.Column("jti", sa.Text, primary_key=True),
    sa.Column("used", sa.Integer, nullable=False),
    sa.Column("expires", Moment, nullable=False),
)


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session as it was written down. `ended_at` is None while it runs, or where its gateway died."""

    grant: Grant
    gateway: str
    ended_at: datetime | None = None
    end_reason: str | None = None


@dataclass(frozen=True, slots=True)
class StoredLease:
    """A lease that has not been given back, and perhaps was never made."""

    lease_id: str
    session: str
    target: str
    gateway: str
    expires: datetime


class Store:
    """The open store. Made by `Store.open`.

    Every call raises Unreachable if the database does not answer, Temporary if it answers and cannot serve.
    """

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @classmethod
    @asynccontextmanager
    async def open(cls, where: str | Path) -> AsyncIterator["Store"]:
        """The store at a path (SQLite, mode 0600, made if not there) or a `postgresql://` URL.

        Raises ConfigError for a URL that is none, or a store that a newer airtunnel has written.
        """
        engine = _postgres(where) if isinstance(where, str) and "://" in where else _sqlite(Path(where))
        try:
            await _prepare(engine)
            yield cls(engine)
        finally:
            await engine.dispose()

    async def put_session(self, grant: Grant, gateway: str) -> None:
        """Writes a grant down, before it is handed out. Again: the session is on `gateway` now. One that ended stays so."""
        row = {
            "session": grant.session,
            "gateway": gateway,
            "issuer": grant.principal.issuer,
            "subject": grant.principal.subject,
            "principal": _principal(grant.principal),
            "targets": list(grant.targets),
            "tags": grant.tags.said(),
            "issued_at": grant.issued_at,
            "valid_before": grant.valid_before,
            "ends_at": grant.ends_at,
        }
        async with _begin(self._engine) as connection:
            await connection.execute(_upsert(connection, SESSIONS, row, {"gateway": gateway}))

    async def session_ended(self, session: str, reason: EndReason | str, at: datetime) -> None:
        """Marks a session as over. The first reason stands; a session that is not known is fine."""
        over = sa.update(SESSIONS).where(SESSIONS.c.session == session, SESSIONS.c.ended_at.is_(None))
        async with _begin(self._engine) as connection:
            await connection.execute(over.values(ended_at=at, end_reason=str(reason)))

    async def running(self, gateway: str | None = None) -> list[StoredSession]:
        """The sessions not marked as over, of one gateway or all, oldest first. After a crash some may have ended unmarked."""
        query = sa.select(SESSIONS).where(SESSIONS.c.ended_at.is_(None)).order_by(SESSIONS.c.issued_at, SESSIONS.c.session)
        if gateway is not None:
            query = query.where(SESSIONS.c.gateway == gateway)
        async with _begin(self._engine) as connection:
            return [_stored_session(row) for row in (await connection.execute(query)).mappings()]

    async def put_lease(self, lease_id: str, session: str, target: str, gateway: str, expires: datetime) -> None:
        """Writes a lease down, BEFORE it is made: then a crash in between leaves nothing that nobody knows of."""
        row = {"lease_id": lease_id, "session": session, "target": target, "gateway": gateway, "expires": expires}
        async with _begin(self._engine) as connection:
            await connection.execute(sa.insert(LEASES).values(row))

    async def lease_returned(self, lease_id: str) -> None:
        """Strikes a lease out. One that is not known is fine."""
        async with _begin(self._engine) as connection:
            await connection.execute(sa.delete(LEASES).where(LEASES.c.lease_id == lease_id))

    async def outstanding(self, gateway: str, *, expired_before: datetime | None = None) -> list[StoredLease]:
        """The gateway's leases not yet given back, also those of an earlier process of it that died; first to expire first.

        expired_before: with those of all other gateways that had expired by then
        """
        mine = LEASES.c.gateway == gateway
        wanted = mine if expired_before is None else sa.or_(mine, LEASES.c.expires < expired_before)
        query = sa.select(LEASES).where(wanted).order_by(LEASES.c.expires, LEASES.c.lease_id)
        async with _begin(self._engine) as connection:
            return [StoredLease(**row) for row in (await connection.execute(query)).mappings()]

    async def revoke_session(self, session: str, until: datetime) -> None:
        """Ends one session. until: when it would have ended anyway."""
        row = {"session": session, "until": until}
        async with _begin(self._engine) as connection:
            await connection.execute(_upsert(connection, REVOKED_SESSIONS, row, {"until": until}))

    async def revoke_principal(self, issuer: str, subject: str, at: datetime) -> None:
        """Ends all that the principal was granted up to `at`. What is granted later stands."""
        row = {"issuer": issuer, "subject": subject, "at": at}
        async with _begin(self._engine) as connection:
            # Of two revocations the later one holds, in whatever order replicas write them.
            later = REVOKED_PRINCIPALS.c.at < at
            await connection.execute(_upsert(connection, REVOKED_PRINCIPALS, row, {"at": at}, only=later))

    async def is_revoked(self, grant: Grant) -> bool:
        """Whether the grant may no longer be used."""
        principal = grant.principal
        session = sa.exists().where(REVOKED_SESSIONS.c.session == grant.session)
        person = sa.exists().where(
            REVOKED_PRINCIPALS.c.issuer == principal.issuer,
            REVOKED_PRINCIPALS.c.subject == principal.subject,
            REVOKED_PRINCIPALS.c.at >= grant.issued_at,
        )
        async with _begin(self._engine) as connection:
            return bool(await connection.scalar(sa.select(sa.or_(session, person))))

    async def use_count(self, issuer: str, jti: str, expires: datetime) -> int:
        """How often the token with this id was used, this time counted. expires: until when it could be."""
        row = {"issuer": issuer, "jti": jti, "used": 1, "expires": expires}
        async with _begin(self._engine) as connection:
            counted = _upsert(connection, USES, row, {"used": USES.c.used + 1}).returning(USES.c.used)
            return int((await connection.execute(counted)).scalar_one())

    async def spend(self, issuer: str, jti: str, expires: datetime) -> None:
        """The token with this id counts as used up. expires: until when it could be used."""
        row = {"issuer": issuer, "jti": jti, "used": SPENT, "expires": expires}
        async with _begin(self._engine) as connection:
            await connection.execute(_upsert(connection, USES, row, {"used": SPENT}))

    async def prune(self, now: datetime) -> None:
        """Forgets what no longer matters: sessions over for KEPT, revocations of what has ended, uses of expired tokens."""
        outlived = sa.exists().where(
            SESSIONS.c.issuer == REVOKED_PRINCIPALS.c.issuer,
            SESSIONS.c.subject == REVOKED_PRINCIPALS.c.subject,
            SESSIONS.c.ends_at > now,
        )
        async with _begin(self._engine) as connection:
            await connection.execute(sa.delete(SESSIONS).where(SESSIONS.c.ends_at < now - KEPT))
            await connection.execute(sa.delete(REVOKED_SESSIONS).where(REVOKED_SESSIONS.c.until < now))
            await connection.execute(sa.delete(REVOKED_PRINCIPALS).where(REVOKED_PRINCIPALS.c.at < now - KEPT, ~outlived))
            await connection.execute(sa.delete(USES).where(USES.c.expires < now - CLOCK_LEEWAY))


def _postgres(where: str) -> AsyncEngine:
    try:
        url = sa.make_url(where)
    except (sa.exc.ArgumentError, ValueError):
        # Not `from` the cause: it quotes the URL, which may hold a password.
        raise ConfigError("the store's URL is not one", hint="write: postgresql://user@host/database") from None
    if url.drivername not in ("postgresql", "postgres", "postgresql+asyncpg"):
        raise ConfigError(f"the store cannot be in {url.drivername}", hint="a path, or postgresql://user@host/database")
    return create_async_engine(
        url.set(drivername="postgresql+asyncpg"),
        hide_parameters=True,
        pool_pre_ping=True,
        pool_timeout=PATIENCE,
        connect_args={"timeout": PATIENCE, "command_timeout": PATIENCE},
    )


def _sqlite(path: Path) -> AsyncEngine:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # SQLite would make it with the umask; its -wal and -shm files copy this one's mode.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise Unreachable(f"the store {path} cannot be opened: {error.strerror}") from error
    url = sa.URL.create("sqlite+aiosqlite", database=str(path))
    engine = create_async_engine(url, hide_parameters=True, pool_timeout=PATIENCE, connect_args={"timeout": PATIENCE})
    sa.event.listen(engine.sync_engine, "connect", _configure)
    return engine


def _configure(connection: sqlite3.Connection, _record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    # With NORMAL a power cut may forget a lease that was made, or a revocation (sqlite.org/pragma.html#pragma_synchronous).
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.close()


async def _prepare(engine: AsyncEngine) -> None:
    """Makes the tables, and refuses a store of a newer schema before anything is written to it."""
    async with _begin(engine) as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(SETUP_LOCK)))
        await connection.run_sync(VERSION.create, checkfirst=True)
        first = {"id": 1, "version": SCHEMA_VERSION}
        await connection.execute(_upsert(connection, VERSION, first, {"id": 1}))
        found = await connection.scalar(sa.select(VERSION.c.version))
        if found != SCHEMA_VERSION:
            known = f"this airtunnel knows {SCHEMA_VERSION}"
            raise ConfigError(f"the store has schema {found}, {known}", hint="install the airtunnel that wrote it")
        await connection.run_sync(METADATA.create_all)


@asynccontextmanager
async def _begin(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A transaction. What SQLAlchemy and its drivers raise is mapped; statements and parameters stay out of the message."""
    try:
        async with engine.begin() as connection:
            yield connection
    except AirtunnelError:
        raise
    except (OSError, TimeoutError, sa.exc.TimeoutError) as error:
        raise Unreachable(f"the store does not answer: {type(error).__name__}") from error
    except sa.exc.DBAPIError as error:
        if error.connection_invalidated:
            raise Unreachable("the store does not answer: the connection broke") from error
        raise Temporary(f"the store cannot serve: {str(error.orig).splitlines()[0]}") from error


def _upsert(
    connection: AsyncConnection, table: sa.Table, row: Json, change: Json, only: sa.ColumnElement[bool] | None = None
) -> sqlite.Insert | postgresql.Insert:
    """Inserts a row, or applies `change` to the one that is there (if `only` holds of it). Both databases say it alike."""
    keys = list(table.primary_key.columns)
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table).values(row).on_conflict_do_update(index_elements=keys, set_=change, where=only)
    return sqlite.insert(table).values(row).on_conflict_do_update(index_elements=keys, set_=change, where=only)


def _principal(principal: Principal) -> Json:
    return {
        "kind": str(principal.kind),
        "issuer": principal.issuer,
        "subject": principal.subject,
        "name": principal.name,
        "groups": list(principal.groups),
        "claims": dict(principal.claims),
    }


def _stored_session(row: sa.RowMapping) -> StoredSession:
    said = row["principal"]
    principal = Principal(**said | {"kind": PrincipalKind(said["kind"]), "groups": tuple(said["groups"])})
    grant = Grant(
        session=row["session"],
        principal=principal,
        targets=tuple(row["targets"]),
        tags=Tags(**row["tags"]),
        issued_at=row["issued_at"],
        valid_before=row["valid_before"],
        ends_at=row["ends_at"],
    )
    return StoredSession(grant, row["gateway"], row["ended_at"], row["end_reason"])
