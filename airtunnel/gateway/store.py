"""What must survive a gateway: sessions, leases to give back, revocations, uses. SQLite by default, PostgreSQL for a fleet.

Locks, orders and the roll of what runs stand in the same database; each has a file of its own.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from airtunnel.gateway.database import Json, begin, open_engine, upsert
from airtunnel.gateway.locks import Locks
from airtunnel.gateway.orders import Orders
from airtunnel.gateway.roll import Roll
from airtunnel.gateway.tables import LEASES, REVOKED_PRINCIPALS, REVOKED_SESSIONS, SESSIONS, USES
from airtunnel.gateway.tables import METADATA as METADATA
from airtunnel.model import EndReason, Grant, Principal, PrincipalKind, Tags

SPENT = 10**9
"""Uses of a token that has none left: more than anybody allows."""
KEPT = timedelta(days=7)
"""How long a session that is over can still be looked at. The audit keeps it for good."""
CLOCK_LEEWAY = timedelta(minutes=1)
"""A token is accepted for some seconds after it has expired."""


@dataclass(frozen=True, slots=True)
class StoredSession:
    """A session as it was written down. `ended_at` is None while it runs, or where its gateway died."""

    grant: Grant
    gateway: str
    ended_at: datetime | None = None
    end_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Revocations:
    """All that was revoked: sessions by their ids, principals by issuer and subject, with the moment up to which it holds."""

    sessions: frozenset[str]
    principals: Mapping[tuple[str, str], datetime]

    def hold(self, grant: Grant) -> bool:
        """Whether the grant may no longer be used."""
        at = self.principals.get((grant.principal.issuer, grant.principal.subject))
        return grant.session in self.sessions or (at is not None and at >= grant.issued_at)


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
        self.locks = Locks(engine)
        self.orders = Orders(engine)
        self.roll = Roll(engine)

    @classmethod
    @asynccontextmanager
    async def open(cls, where: str | Path) -> AsyncIterator["Store"]:
        """The store at a path (SQLite, mode 0600, made if not there) or a `postgresql://` URL.

        Raises ConfigError for a URL that is none, or a store that a newer airtunnel has written.
        """
        async with open_engine(where) as engine:
            yield cls(engine)

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
        async with begin(self._engine) as connection:
            await connection.execute(upsert(connection, SESSIONS, row, {"gateway": gateway}))

    async def session_ended(self, session: str, reason: EndReason | str, at: datetime) -> None:
        """Marks a session as over. The first reason stands; a session that is not known is fine."""
        over = sa.update(SESSIONS).where(SESSIONS.c.session == session, SESSIONS.c.ended_at.is_(None))
        async with begin(self._engine) as connection:
            await connection.execute(over.values(ended_at=at, end_reason=str(reason)))

    async def running(self, gateway: str | None = None) -> list[StoredSession]:
        """The sessions not marked as over, of one gateway or all, oldest first. After a crash some may have ended unmarked."""
        query = sa.select(SESSIONS).where(SESSIONS.c.ended_at.is_(None)).order_by(SESSIONS.c.issued_at, SESSIONS.c.session)
        if gateway is not None:
            query = query.where(SESSIONS.c.gateway == gateway)
        async with begin(self._engine) as connection:
            return [_stored_session(row) for row in (await connection.execute(query)).mappings()]

    async def put_lease(self, lease_id: str, session: str, target: str, gateway: str, expires: datetime) -> None:
        """Writes a lease down, BEFORE it is made: then a crash in between leaves nothing that nobody knows of."""
        row = {"lease_id": lease_id, "session": session, "target": target, "gateway": gateway, "expires": expires}
        async with begin(self._engine) as connection:
            await connection.execute(sa.insert(LEASES).values(row))

    async def lease_returned(self, lease_id: str) -> None:
        """Strikes a lease out. One that is not known is fine."""
        async with begin(self._engine) as connection:
            await connection.execute(sa.delete(LEASES).where(LEASES.c.lease_id == lease_id))

    async def outstanding(self, gateway: str, *, expired_before: datetime | None = None) -> list[StoredLease]:
        """The gateway's leases not yet given back, also those of an earlier process of it that died; first to expire first.

        expired_before: with those of all other gateways that had expired by then
        """
        mine = LEASES.c.gateway == gateway
        wanted = mine if expired_before is None else sa.or_(mine, LEASES.c.expires < expired_before)
        query = sa.select(LEASES).where(wanted).order_by(LEASES.c.expires, LEASES.c.lease_id)
        async with begin(self._engine) as connection:
            return [StoredLease(**row) for row in (await connection.execute(query)).mappings()]

    async def revoke_session(self, session: str, until: datetime) -> None:
        """Ends one session. until: when it would have ended anyway."""
        row = {"session": session, "until": until}
        async with begin(self._engine) as connection:
            await connection.execute(upsert(connection, REVOKED_SESSIONS, row, {"until": until}))

    async def revoke_principal(self, issuer: str, subject: str, at: datetime) -> None:
        """Ends all that the principal was granted up to `at`. What is granted later stands."""
        row = {"issuer": issuer, "subject": subject, "at": at}
        async with begin(self._engine) as connection:
            # Of two revocations the later one holds, in whatever order replicas write them.
            later = REVOKED_PRINCIPALS.c.at < at
            await connection.execute(upsert(connection, REVOKED_PRINCIPALS, row, {"at": at}, only=later))

    async def is_revoked(self, grant: Grant) -> bool:
        """Whether the grant may no longer be used."""
        principal = grant.principal
        session = sa.exists().where(REVOKED_SESSIONS.c.session == grant.session)
        person = sa.exists().where(
            REVOKED_PRINCIPALS.c.issuer == principal.issuer,
            REVOKED_PRINCIPALS.c.subject == principal.subject,
            REVOKED_PRINCIPALS.c.at >= grant.issued_at,
        )
        async with begin(self._engine) as connection:
            return bool(await connection.scalar(sa.select(sa.or_(session, person))))

    async def revocations(self) -> Revocations:
        """Everything that was revoked and still matters: at once for all the sessions of a gateway, instead of each by each."""
        async with begin(self._engine) as connection:
            sessions = (await connection.execute(sa.select(REVOKED_SESSIONS.c.session))).scalars()
            people = await connection.execute(sa.select(REVOKED_PRINCIPALS))
            return Revocations(frozenset(sessions), {(row.issuer, row.subject): row.at for row in people})

    async def granted(self, now: datetime) -> list[StoredSession]:
        """The grants whose session is not over by the clock, oldest first: in use, or not yet, or no more."""
        query = sa.select(SESSIONS).where(SESSIONS.c.ends_at > now).order_by(SESSIONS.c.issued_at, SESSIONS.c.session)
        async with begin(self._engine) as connection:
            return [_stored_session(row) for row in (await connection.execute(query)).mappings()]

    async def use_count(self, issuer: str, jti: str, expires: datetime) -> int:
        """How often the token with this id was used, this time counted. expires: until when it could be."""
        row = {"issuer": issuer, "jti": jti, "used": 1, "expires": expires}
        async with begin(self._engine) as connection:
            counted = upsert(connection, USES, row, {"used": USES.c.used + 1}).returning(USES.c.used)
            return int((await connection.execute(counted)).scalar_one())

    async def spend(self, issuer: str, jti: str, expires: datetime) -> None:
        """The token with this id counts as used up. expires: until when it could be used."""
        row = {"issuer": issuer, "jti": jti, "used": SPENT, "expires": expires}
        async with begin(self._engine) as connection:
            await connection.execute(upsert(connection, USES, row, {"used": SPENT}))

    async def prune(self, now: datetime) -> None:
        """Forgets what no longer matters: sessions over for KEPT, revocations of what has ended, uses of expired tokens."""
        outlived = sa.exists().where(
            SESSIONS.c.issuer == REVOKED_PRINCIPALS.c.issuer,
            SESSIONS.c.subject == REVOKED_PRINCIPALS.c.subject,
            SESSIONS.c.ends_at > now,
        )
        async with begin(self._engine) as connection:
            await connection.execute(sa.delete(SESSIONS).where(SESSIONS.c.ends_at < now - KEPT))
            await connection.execute(sa.delete(REVOKED_SESSIONS).where(REVOKED_SESSIONS.c.until < now))
            await connection.execute(sa.delete(REVOKED_PRINCIPALS).where(REVOKED_PRINCIPALS.c.at < now - KEPT, ~outlived))
            await connection.execute(sa.delete(USES).where(USES.c.expires < now - CLOCK_LEEWAY))
        await self.locks.prune(now)
        await self.roll.prune(now)


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
