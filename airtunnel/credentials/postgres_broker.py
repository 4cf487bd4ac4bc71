"""The broker's own connections to a PostgreSQL server: kept, renewed, limited in time, verified. The one door to asyncpg.

The broker is the role that makes and removes temporary roles. It needs CREATEROLE and `pg_signal_backend`, and for each group
that it lends: from PostgreSQL 16 on ADMIN OPTION; up to 15 nothing more (there CREATEROLE may grant any group).
"""

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import asyncpg

from airtunnel.credentials.secret_file import SecretFile
from airtunnel.credentials.source import spec_of
from airtunnel.errors import CredentialUnavailable
from airtunnel.model import Target

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Connection: TypeAlias = PoolConnectionProxy[asyncpg.Record]
    Pool: TypeAlias = asyncpg.Pool[asyncpg.Record]

logger = logging.getLogger(__name__)

MAX_CONNECTIONS = 4
"""Per server and admin. Ending a live session takes up to seconds; a login must not queue behind it."""
DIAL_LIMIT = 3.0
"""Seconds to connect: a target that is down is to be named before the driver gives up."""
PROBE_LIMIT = 1.0
"""Seconds for a kept connection to show that it lives; with a new dial after it still under the 5 s of a login."""
STATEMENT_LIMIT = 8.0
"""Seconds for one statement; above the 2 s that PostgreSQL is given to end a session."""

BROKEN = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError)
SETTINGS = {
    "application_name": "airtunnel",
    # Whoever may create a function in `public` could otherwise be called by the broker (CVE-2018-1058).
    "search_path": "pg_catalog, pg_temp",
    "statement_timeout": f"{STATEMENT_LIMIT:.0f}s",
}


class Broker:
    """The connections to one server as one admin. Opens nothing before it is asked."""

    def __init__(self, target: Target) -> None:
        options = spec_of(target).options
        self._target = target
        self._admin = options["admin"]
        self._password = SecretFile(Path(options["admin_password_file"]))
        self._database = options.get("database") or target.database or "postgres"
        self._pools: dict[str, Pool] = {}

    @asynccontextmanager
    async def connect(self, database: str | None = None) -> AsyncIterator["Connection"]:
        """A connection to the admin's database, or another one of the same server.

        Raises asyncpg's and the system's own errors; callers stand in `named_errors`.
        """
        name = database or self._database
        if name not in self._pools:
            self._pools[name] = self._pool(name)
        pool = await self._pools[name]
        connection = await _acquire(pool)
        try:
            yield connection
        finally:
            await pool.release(connection)

    async def aclose(self) -> None:
        """Closes all connections, by force if one is busy."""
        pools, self._pools = self._pools, {}
        for pool in pools.values():
            try:
                async with asyncio.timeout(DIAL_LIMIT):
                    await pool.close()
            except TimeoutError:
                pool.terminate()

    def _pool(self, database: str) -> "Pool":
        address = self._target.address
        return asyncpg.create_pool(
            host=address.path or address.host,
            port=address.port or 5432,
            user=self._admin,
            password=self._password.read,  # called for each new connection: a changed file is seen
            database=database,
            ssl=_tls(self._target),
            timeout=DIAL_LIMIT,
            command_timeout=STATEMENT_LIMIT,
            statement_cache_size=0,  # nothing repeats, and a PgBouncer may stand between
            server_settings=SETTINGS,
            min_size=0,
            max_size=MAX_CONNECTIONS,
        )


async def _acquire(pool: "Pool") -> "Connection":
    """A connection that answers. Idle ones may have been cut by a restart, without asyncpg having noticed yet."""
    connection: Connection = await pool.acquire(timeout=DIAL_LIMIT)
    try:
        await connection.execute("SELECT 1", timeout=PROBE_LIMIT)
    except BROKEN as error:
        logger.info("a kept connection no longer answers (%s): connecting anew", type(error).__name__)
        connection.terminate()
        await pool.release(connection)
        await pool.expire_connections()
        return await pool.acquire(timeout=DIAL_LIMIT)
    except BaseException:
        await pool.release(connection)
        raise
    return connection


@contextmanager
def named_errors(doing: str) -> Iterator[None]:
    """Maps what goes wrong inside to CredentialUnavailable that begins with `doing`. It names no address: users may read it."""
    try:
        yield
    except CredentialUnavailable as error:
        raise CredentialUnavailable(f"{doing}: {error.message}", hint=error.hint) from error
    except asyncpg.PostgresError as error:
        raise CredentialUnavailable(f"{doing}: {error.args[0]} ({error.sqlstate})", hint=_missing_right(error)) from error
    except (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError) as error:
        raise CredentialUnavailable(f"{doing}: {_reason(error)}") from error


def _missing_right(error: asyncpg.PostgresError) -> str | None:
    if not isinstance(error, asyncpg.InsufficientPrivilegeError):
        return None
    return "give the admin CREATEROLE, pg_signal_backend, and the group WITH ADMIN OPTION"


def _reason(error: Exception) -> str:
    """Why, without the address that asyncio puts into its messages."""
    match error:
        case TimeoutError():
            return "it does not answer in time"
        case ssl.SSLError(reason=str(reason)):
            return reason.replace("_", " ").lower()
        case socket.gaierror():
            return "its host name is not known"
        case OSError(errno=int(number)):
            return os.strerror(number).lower()
        case _:
            return f"the connection failed ({type(error).__name__})"


def _tls(target: Target) -> ssl.SSLContext | bool:
    """Full verification, or none at all on a Unix socket or where the target says `tls: off`."""
    if target.address.path or not target.tls:
        return False
    context = _NamedContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.name = target.tls_name
    if target.tls_ca is None:
        context.load_default_certs()
    else:
        context.load_verify_locations(cafile=target.tls_ca)
    return context


class _NamedContext(ssl.SSLContext):
    """Verifies a name that is not the dialled host's: asyncpg always asks for the host it dials."""

    name: str | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return super().wrap_bio(incoming, outgoing, server_side, self.name or server_hostname, session)
