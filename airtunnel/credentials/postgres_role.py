"""Temporary PostgreSQL roles: one for each session, in a group role that holds the rights, gone when the session is.

    CREATE ROLE "at_e_0123456789ab" LOGIN INHERIT ... IN ROLE "app_rw";  ALTER ROLE ... SET role = 'app_rw'

Who logs in with it is `session_user` at_e_0123456789ab (for PostgreSQL's own log) and `current_user` app_rw, so that what it
creates belongs to the group and outlives it. The password never reaches the server: it is sent a SCRAM verifier, because
`log_statement = ddl` writes the statement to a log.
"""

import asyncio
import logging
import re
import secrets
from datetime import UTC
from typing import TYPE_CHECKING

import asyncpg

from airtunnel.credentials.postgres_broker import Broker, named_errors
from airtunnel.credentials.source import Loan, spec_of
from airtunnel.errors import CredentialUnavailable
from airtunnel.model import Lease, Target
from airtunnel.wire.postgres.scram import format_verifier, make_verifier

if TYPE_CHECKING:
    from airtunnel.credentials.postgres_broker import Connection

logger = logging.getLogger(__name__)

PREFIX = "at_e_"
LEASE_ID = re.compile(r"[0-9a-f]{12}")
CONNECTION_LIMIT = 20
ATTEMPTS = 3
"""How often a role is dropped again when another gateway is doing the same at that moment."""

CREATE = """
    CREATE ROLE %1$I LOGIN INHERIT PASSWORD %2$L VALID UNTIL %3$L CONNECTION LIMIT {limit} IN ROLE %4$I;
    ALTER ROLE %1$I SET role = %4$L;
    COMMENT ON ROLE %1$I IS %5$L
"""
# The group is read from the memberships, not from the role's own settings: its holder may change those (ALTER ROLE
# CURRENT_USER SET role = ...), and would have us hand a SECURITY DEFINER function over to a group it is not in.
FIND = """
    SELECT oid, (
        SELECT rolname FROM pg_auth_members JOIN pg_roles home ON home.oid = roleid WHERE member = lent.oid
        ORDER BY home.rolname = $2 DESC, home.oid LIMIT 1
    ) AS home
    FROM pg_roles lent WHERE rolname = $1
"""
# All are told to go before the first is waited for. pg_terminate_backend(pid, ms) is of PostgreSQL 14.
SIGNAL = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usesysid = $1"
AWAIT = "SELECT bool_and(pg_terminate_backend(pid, 2000)) FROM pg_stat_activity WHERE usesysid = $1"
# The other databases in which something depends on the role.
DEPENDING = """
    SELECT datname FROM pg_database WHERE datname <> current_database() AND oid IN
        (SELECT dbid FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND refobjid = $1)
"""
EXPIRED = "SELECT rolname FROM pg_roles WHERE rolname ~ '^at_e_[0-9a-f]{12}$' AND rolvaliduntil < now()"


class PostgresRoles:
    """The source `postgres-role`. Keeps no state of its own: what it made is found again by its name."""

    def __init__(self) -> None:
        self._brokers: dict[tuple[object, ...], Broker] = {}

    async def lend(self, loan: Loan) -> Lease:
        target = loan.target
        with named_errors(f"postgres-role gave no login for {target.name}"):
            user, group = _role_name(loan.lease_id), spec_of(target).options["role"]
            password = secrets.token_urlsafe(24)
            verifier = await asyncio.to_thread(make_verifier, password, secrets.token_bytes(16))
            until = loan.until.astimezone(UTC).isoformat()
            async with self._broker(target).connect() as admin:
                create = CREATE.format(limit=CONNECTION_LIMIT)
                await _run(admin, create, user, format_verifier(verifier), until, group, _comment(loan))
        return Lease(loan.lease_id, "postgres-role", user, password, loan.until)

    async def take_back(self, target: Target, lease_id: str) -> None:
        """Locks the role, ends its sessions, gives what it owns to its group, drops it."""
        with named_errors(f"postgres-role cannot take back {PREFIX}{lease_id} of {target.name}"):
            await self._drop(target, _role_name(lease_id))

    async def sweep(self, target: Target) -> int:
        """Drops the roles of the target's whole server whose time is over; one that cannot be dropped is logged and left.

        Several gateways may do so at once. There is no advisory lock to keep them apart: any login could hold it for ever.
        """
        with named_errors(f"postgres-role cannot sweep {target.name}"):
            async with self._broker(target).connect() as admin:
                expired = [str(row["rolname"]) for row in await admin.fetch(EXPIRED)]
        dropped = 0
        for name in expired:
            try:
                with named_errors(f"postgres-role cannot drop {name} of {target.name}"):
                    dropped += await self._drop(target, name)
            except CredentialUnavailable as error:
                logger.warning("%s", error)
        return dropped

    async def aclose(self) -> None:
        brokers, self._brokers = self._brokers, {}
        for broker in brokers.values():
            await broker.aclose()

    def _broker(self, target: Target) -> Broker:
        options = tuple(sorted(spec_of(target).options.items()))
        key = (target.address, target.database, target.tls, target.tls_ca, target.tls_name, options)
        if key not in self._brokers:
            self._brokers[key] = Broker(target)
        return self._brokers[key]

    async def _drop(self, target: Target, name: str) -> bool:
        """Whether it was there, and we dropped it."""
        broker, group = self._broker(target), spec_of(target).options["role"]
        async with broker.connect() as admin:
            for attempt in range(1, ATTEMPTS + 1):
                if (found := await admin.fetchrow(FIND, name, group)) is None:
                    return False
                try:
                    await _end(admin, name, found)
                    await _drop_role(broker, admin, name, found)
                except asyncpg.UndefinedObjectError:
                    return False
                except asyncpg.InternalServerError:  # "tuple concurrently updated": another gateway drops it too
                    if attempt == ATTEMPTS:
                        raise
                else:
                    return True
        return False


async def _end(admin: "Connection", name: str, found: asyncpg.Record) -> None:
    """No more logins, then no more sessions. In this order, and each committed: else a new one slips in between."""
    await _run(admin, "ALTER ROLE %1$I NOLOGIN", name)
    await admin.execute(SIGNAL, found["oid"])
    if await admin.fetchval(AWAIT, found["oid"]) is False:
        raise CredentialUnavailable(f"sessions of {name} do not end")


async def _drop_role(broker: Broker, admin: "Connection", name: str, found: asyncpg.Record) -> None:
    try:
        await _run(admin, "DROP ROLE %1$I", name)
    except asyncpg.DependentObjectsStillExistError:
        # Only `SET ROLE NONE` and then creating something leads here.
        await _disown(admin, name, found["home"])  # and what belongs to no database
        for row in await admin.fetch(DEPENDING, found["oid"]):
            async with broker.connect(row["datname"]) as there:
                await _disown(there, name, found["home"])
        await _run(admin, "DROP ROLE %1$I", name)


async def _disown(there: "Connection", name: str, home: str) -> None:
    """Gives what the role owns in one database to its group. The broker's extra memberships end with the transaction."""
    granular = there.get_server_version().major >= 16
    options = " WITH INHERIT TRUE, SET TRUE" if granular else ""
    async with there.transaction():
        # Up to 15 a REVOKE would take away a membership that somebody else granted, so there it is granted only to strangers.
        has = await there.fetchval("SELECT pg_has_role($1, $2)", home, "USAGE" if granular else "MEMBER")
        await _run(there, f"GRANT %1$I TO CURRENT_USER{options}", name)
        if not has:
            await _run(there, f"GRANT %1$I TO CURRENT_USER{options}", home)
        await _run(there, "REASSIGN OWNED BY %1$I TO %2$I; DROP OWNED BY %1$I", name, home)
        if not has:
            await _run(there, "REVOKE %1$I FROM CURRENT_USER", home)


async def _run(connection: "Connection", template: str, *values: str) -> None:
    """Executes statements that take no parameters, with identifiers (%I) and literals (%L) quoted by the server itself."""
    await connection.execute(await connection.fetchval("SELECT format($1, VARIADIC $2::text[])", template, list(values)))


def _role_name(lease_id: str) -> str:
    if not LEASE_ID.fullmatch(lease_id):
        raise CredentialUnavailable("a lease's id is not 12 hex digits")
    return PREFIX + lease_id


def _comment(loan: Loan) -> str:
    """Who and what for, for the eyes of a database administrator: printable ASCII whatever was said."""
    tags = loan.tags
    text = f"{loan.principal.name} session={loan.session} dag={tags.dag_id} task={tags.task_id} run={tags.run_id}"
    return "".join(one if one.isprintable() else " " for one in text).encode("ascii", "backslashreplace").decode()
