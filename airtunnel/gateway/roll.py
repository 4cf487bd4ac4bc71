"""The roll: which sessions run now, on which gateway, and what went through them. What is on it counts against the caps.

A gateway says every few seconds that it lives. What one that fell silent had on the roll counts no more: a crash in Kubernetes
brings a pod with another name back, which could not strike out what the former one left.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from airtunnel.errors import Temporary
from airtunnel.gateway.database import begin, upsert
from airtunnel.gateway.tables import REPLICAS, ROLL
from airtunnel.model import Principal

HEARTBEAT = timedelta(seconds=10)
SILENCE = timedelta(seconds=45)
"""After which a gateway counts as dead: four heartbeats, and some difference between two machines' clocks."""
ROLL_LOCK = 0x726F6C6C
"""Any number, the same for all gateways: two that count at once would both find the last place free."""


@dataclass(frozen=True, slots=True)
class Caps:
    """How many sessions may run at all gateways together: of one principal, and in all."""

    principal: int
    total: int


@dataclass(frozen=True, slots=True)
class Running:
    """A session on the roll of one gateway. since: when its first link came up; source: from where."""

    session: str
    gateway: str
    since: datetime
    source: str | None = None
    connections: int = 0
    bytes_up: int = 0
    bytes_down: int = 0


class Full(Temporary):
    """As many sessions run as may."""


class Roll:
    """The roll in the store. Calls raise what the store's do."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def enter(self, one: Running, principal: Principal, caps: Caps) -> None:
        """Puts a session on the roll. Raises Full if as many run as may, of this principal or in all."""
        row = {name: getattr(one, name) for name in Running.__slots__}
        row |= {"issuer": principal.issuer, "subject": principal.subject}
        async with begin(self._engine) as connection:
            if connection.dialect.name == "postgresql":
                await connection.execute(sa.select(sa.func.pg_advisory_xact_lock(ROLL_LOCK)))
            # Written first: SQLite then holds the lock that makes others wait until we have counted.
            await connection.execute(upsert(connection, ROLL, row, {"since": one.since, "source": one.source}))
            live = _live(one.gateway, one.since)
            mine = await _count(connection, live, principal)
            full(mine, await _count(connection, live), principal, caps, already=1)

    async def check(self, principal: Principal, caps: Caps, gateway: str, now: datetime) -> None:
        """Raises Full if no session more of this principal may run."""
        async with begin(self._engine) as connection:
            live = _live(gateway, now)
            full(await _count(connection, live, principal), await _count(connection, live), principal, caps)

    async def leave(self, one: Running) -> None:
        """Strikes a session out; not one that came up anew with the same grant, while this one gave back what it had."""
        mine = sa.and_(ROLL.c.session == one.session, ROLL.c.gateway == one.gateway, ROLL.c.since == one.since)
        async with begin(self._engine) as connection:
            await connection.execute(sa.delete(ROLL).where(mine))

    async def clear(self, gateway: str) -> None:
        """Strikes out all that an earlier process of this gateway left."""
        async with begin(self._engine) as connection:
            await connection.execute(sa.delete(ROLL).where(ROLL.c.gateway == gateway))

    async def beat(self, gateway: str, now: datetime) -> None:
        """Says that this gateway lives."""
        async with begin(self._engine) as connection:
            await connection.execute(upsert(connection, REPLICAS, {"gateway": gateway, "seen": now}, {"seen": now}))

    async def report(self, changed: Iterable[Running]) -> None:
        """Writes down what went through sessions, and how many connections they have. Those not on the roll are left out."""
        rows = [
            {"s": one.session, "g": one.gateway, "c": one.connections, "u": one.bytes_up, "d": one.bytes_down}
            for one in changed
        ]
        if not rows:
            return
        update = (
            sa.update(ROLL)
            .where(ROLL.c.session == sa.bindparam("s"), ROLL.c.gateway == sa.bindparam("g"))
            .values(connections=sa.bindparam("c"), bytes_up=sa.bindparam("u"), bytes_down=sa.bindparam("d"))
        )
        async with begin(self._engine) as connection:
            await connection.execute(update, rows)

    async def running(self, now: datetime) -> tuple[Running, ...]:
        """All that runs at gateways that live, the oldest first. A session with links to two gateways is there twice."""
        columns = [ROLL.c[name] for name in Running.__slots__]
        query = sa.select(*columns).where(_live("", now)).order_by(ROLL.c.since, ROLL.c.session)
        async with begin(self._engine) as connection:
            return tuple(Running(**row) for row in (await connection.execute(query)).mappings())

    async def prune(self, now: datetime) -> None:
        """Forgets gateways that are dead, and what they left."""
        dead = sa.select(REPLICAS.c.gateway).where(REPLICAS.c.seen < now - timedelta(days=1))
        async with begin(self._engine) as connection:
            await connection.execute(sa.delete(ROLL).where(ROLL.c.gateway.in_(dead)))
            await connection.execute(sa.delete(REPLICAS).where(REPLICAS.c.seen < now - timedelta(days=1)))


def full(mine: int, total: int, principal: Principal, caps: Caps, *, already: int = 0) -> None:
    """Raises Full if there is no room. already: whether the one that wants to run is counted."""
    if mine >= caps.principal + already:
        raise Full(
            f"{caps.principal} sessions of {principal.name} run already, and no more may",
            hint="airtunnel sessions",
        )
    if total >= caps.total + already:
        raise Full(f"the gateway has all the {caps.total} sessions that it may have", hint="try again in some minutes")


def _live(gateway: str, now: datetime) -> sa.ColumnElement[bool]:
    alive = sa.select(REPLICAS.c.gateway).where(REPLICAS.c.seen > now - SILENCE)
    return sa.or_(ROLL.c.gateway == gateway, ROLL.c.gateway.in_(alive))


async def _count(connection: AsyncConnection, live: sa.ColumnElement[bool], principal: Principal | None = None) -> int:
    query = sa.select(sa.func.count(sa.distinct(ROLL.c.session))).where(live)
    if principal is not None:
        query = query.where(ROLL.c.issuer == principal.issuer, ROLL.c.subject == principal.subject)
    return int((await connection.execute(query)).scalar_one())
