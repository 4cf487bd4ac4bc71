"""Locks: for whom, or for which target, nothing opens and nothing goes on.

    user      a person's name, or the issuer's id of them (`sub`)
    workload  the same of a program
    group     everybody in it
    target    everybody

They are set in an emergency, so all are compared without regard to case: a lock that holds for one too many is noticed, and one
that holds for nobody is not.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from airtunnel.errors import ProtocolError
from airtunnel.gateway.database import begin, upsert
from airtunnel.gateway.tables import LOCKS
from airtunnel.model import Principal, PrincipalKind

MAX_WORDS = 256
"""Characters of a lock's name, and of its reason: both stand in errors of one line."""


class LockKind(StrEnum):
    """What can be locked."""

    USER = "user"
    GROUP = "group"
    WORKLOAD = "workload"
    TARGET = "target"


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock. by: who set it; until: None until somebody lifts it."""

    kind: LockKind
    name: str
    reason: str
    by: str
    since: datetime
    until: datetime | None = None

    def holds(self, principal: Principal, targets: Iterable[str]) -> bool:
        """Whether it is about this principal, or one of these targets."""
        name = self.name.casefold()
        match self.kind:
            case LockKind.TARGET:
                return any(name == one.casefold() for one in targets)
            case LockKind.GROUP:
                return any(name == one.casefold() for one in principal.groups)
        kind = PrincipalKind.PERSON if self.kind is LockKind.USER else PrincipalKind.WORKLOAD
        return principal.kind is kind and name in (principal.name.casefold(), principal.subject.casefold())

    @property
    def because(self) -> str:
        """What those are told who are locked: not by whom."""
        until = "" if self.until is None else f" until {self.until:%Y-%m-%d %H:%M} UTC"
        return f"{self.kind} {self.name} is locked{until}: {self.reason}"


def check_lock(kind: str, name: str, reason: str) -> LockKind:
    """The kind of a lock that somebody wants to set. Raises ProtocolError for what cannot be one."""
    if kind not in set(LockKind):
        raise ProtocolError(f"a lock is for a {', '.join(LockKind)}")
    for what, words in (("name", name), ("reason", reason)):
        if not words.strip() or not words.isprintable() or len(words) > MAX_WORDS:
            raise ProtocolError(f"a lock's {what} is a printable text of at most {MAX_WORDS} characters")
    return LockKind(kind)


def find_lock(locks: Iterable[Lock], principal: Principal, targets: Iterable[str]) -> Lock | None:
    """The first of these locks that is about the principal or one of the targets."""
    names = tuple(targets)
    return next((one for one in locks if one.holds(principal, names)), None)


class Locks:
    """The locks in the store. Calls raise what the store's do."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def held(self, now: datetime) -> tuple[Lock, ...]:
        """Those that hold now, the oldest first."""
        query = sa.select(LOCKS).where(sa.or_(LOCKS.c.until.is_(None), LOCKS.c.until > now)).order_by(LOCKS.c.since)
        async with begin(self._engine) as connection:
            rows = (await connection.execute(query)).mappings()
            return tuple(
                Lock(LockKind(row["kind"]), row["name"], row["reason"], row["by"], row["since"], row["until"]) for row in rows
            )

    async def put(self, lock: Lock) -> None:
        """Sets a lock. One on the same thing, in whatever case it is written, is replaced by it."""
        row = {one: getattr(lock, one) for one in Lock.__slots__} | {"kind": str(lock.kind), "key": lock.name.casefold()}
        async with begin(self._engine) as connection:
            await connection.execute(upsert(connection, LOCKS, row, row))

    async def lift(self, kind: LockKind, name: str) -> bool:
        """Lifts a lock. False if there was none."""
        async with begin(self._engine) as connection:
            mine = sa.and_(LOCKS.c.kind == str(kind), LOCKS.c.key == name.casefold())
            return (await connection.execute(sa.delete(LOCKS).where(mine))).rowcount > 0

    async def prune(self, now: datetime) -> None:
        """Forgets those whose time is over."""
        async with begin(self._engine) as connection:
            await connection.execute(sa.delete(LOCKS).where(LOCKS.c.until <= now))
