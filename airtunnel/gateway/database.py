"""The store's database: opened, prepared, and asked in transactions whose errors are ours. SQLite or PostgreSQL."""

import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from airtunnel.errors import AirtunnelError, ConfigError, Temporary, Unreachable
from airtunnel.gateway.tables import METADATA, VERSION

SCHEMA_VERSION = 1
"""Of the columns. A table more is no other schema: an older gateway of the fleet goes on without it."""
PATIENCE = 5.0
"""Seconds for a connection, a lock, a statement: every new connection through the gateway waits for this."""
SETUP_LOCK = 0x61697274756E
"""Any number, the same for all gateways: two that start at once on a new database make its tables one after the other."""

Json = dict[str, Any]  # Any: what json.loads gives


@asynccontextmanager
async def open_engine(where: str | Path) -> AsyncIterator[AsyncEngine]:
    """The database at a path (SQLite, mode 0600, made if not there) or a `postgresql://` URL, with its tables.

    Raises ConfigError for a URL that is none, or a store that a newer airtunnel has written; Unreachable, Temporary.
    """
    engine = _postgres(where) if isinstance(where, str) and "://" in where else _sqlite(Path(where))
    try:
        await _prepare(engine)
        yield engine
    finally:
        await engine.dispose()


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
    async with begin(engine) as connection:
        if connection.dialect.name == "postgresql":
            await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(SETUP_LOCK)))
        await connection.run_sync(VERSION.create, checkfirst=True)
        first = {"id": 1, "version": SCHEMA_VERSION}
        await connection.execute(upsert(connection, VERSION, first, {"id": 1}))
        found = await connection.scalar(sa.select(VERSION.c.version))
        if found != SCHEMA_VERSION:
            known = f"this airtunnel knows {SCHEMA_VERSION}"
            raise ConfigError(f"the store has schema {found}, {known}", hint="install the airtunnel that wrote it")
        await connection.run_sync(METADATA.create_all)


@asynccontextmanager
async def begin(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
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


def upsert(
    connection: AsyncConnection, table: sa.Table, row: Json, change: Json, only: sa.ColumnElement[bool] | None = None
) -> sqlite.Insert | postgresql.Insert:
    """Inserts a row, or applies `change` to the one that is there (if `only` holds of it). Both databases say it alike."""
    keys = list(table.primary_key.columns)
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table).values(row).on_conflict_do_update(index_elements=keys, set_=change, where=only)
    return sqlite.insert(table).values(row).on_conflict_do_update(index_elements=keys, set_=change, where=only)
