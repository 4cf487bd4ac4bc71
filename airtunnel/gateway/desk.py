"""What can be done about sessions that run: list, end, lock. The API does it for people, the operator's command at the store.

Ending and locking come first and are written down after, so that they work also where the audit's disk is full. Lifting a lock
gives access, so it is written down before.
"""

from collections import defaultdict
from datetime import datetime, timedelta

from airtunnel.audit.record import Event
from airtunnel.errors import NotFound, ProtocolError
from airtunnel.gateway.ids import new_id
from airtunnel.gateway.locks import Lock, check_lock, find_lock
from airtunnel.gateway.orders import Order
from airtunnel.gateway.roll import Running
from airtunnel.gateway.store import Store, StoredSession
from airtunnel.model import Principal
from airtunnel.wire.sessions import LockEntry, SessionEntry

LONGEST = timedelta(days=366)
"""That a lock may be set for. One that shall hold longer has no end."""


async def list_sessions(store: Store, now: datetime, of: Principal | None = None) -> list[SessionEntry]:
    """The sessions that run at any gateway, and the grants that may still begin one, oldest first; of one principal or all."""
    revoked, locks = await store.revocations(), await store.locks.held(now)
    where: dict[str, list[Running]] = defaultdict(list)
    for one in await store.roll.running(now):
        where[one.session].append(one)
    found = []
    for stored in await store.granted(now):
        grant = stored.grant
        gone = revoked.hold(grant) or find_lock(locks, grant.principal, grant.targets) is not None
        unused = stored.ended_at is None and grant.valid_before > now and not gone
        if (of is None or _same(of, grant.principal)) and (where[grant.session] or unused):
            found.append(_entry(stored, where[grant.session]))
    return found


async def kill(store: Store, session: str, now: datetime, of: Principal | None = None) -> SessionEntry:
    """End a session, wherever it runs. Raises NotFound, also for one of another principal than `of`."""
    entry = next((one for one in await list_sessions(store, now, of) if one.session == session), None)
    if entry is None:
        raise NotFound("there is no such session", hint="airtunnel sessions")
    await store.revoke_session(session, entry.ends_at)
    return entry


async def kill_all(store: Store, now: datetime, of: Principal) -> list[SessionEntry]:
    """End all sessions of a principal, wherever they run, and all grants that could begin one."""
    known = await list_sessions(store, now, of)
    # A grant of this very moment must not slip through.
    await store.revoke_principal(of.issuer, of.subject, now + timedelta(milliseconds=1))
    return known


async def set_lock(
    store: Store, kind: str, name: str, reason: str, *, by: str, now: datetime, hold: timedelta | None = None
) -> tuple[Lock, int]:
    """Lock, and how many running sessions that ends. Raises ProtocolError for what cannot be a lock."""
    if hold is not None and not timedelta() < hold <= LONGEST:
        raise ProtocolError(f"a lock holds for at most {LONGEST.days} days, or until it is lifted")
    until = None if hold is None else now + hold
    lock = Lock(check_lock(kind, name, reason), name, reason, by, now, until)
    await store.locks.put(lock)
    ids = {one.session for one in await store.roll.running(now)}
    grants = [one.grant for one in await store.granted(now) if one.grant.session in ids]
    return lock, sum(lock.holds(grant.principal, grant.targets) for grant in grants)


async def held(store: Store, kind: str, name: str, now: datetime) -> Lock:
    """The lock that holds on this. Raises NotFound, and ProtocolError for what cannot be a lock."""
    wanted = (check_lock(kind, name, "any"), name.casefold())
    for one in await store.locks.held(now):
        if (one.kind, one.name.casefold()) == wanted:
            return one
    raise NotFound(f"there is no lock on {kind} {name}", hint="airtunnel locks")


def lock_entry(lock: Lock) -> LockEntry:
    """The lock as it is shown."""
    return LockEntry(str(lock.kind), lock.name, lock.reason, lock.by, lock.since, lock.until)


def describe(lock: Lock) -> str:
    """The lock in the audit's words."""
    until = "" if lock.until is None else f" until {lock.until.isoformat(timespec='seconds')}"
    return f"{lock.kind} {lock.name}{until}: {lock.reason}"


class Operator:
    """The desk for whoever may write the store: without a gateway, and known by what the machine calls them (`by`)."""

    def __init__(self, store: Store, by: str) -> None:
        self._store = store
        self._by = by

    async def kill(self, session: str, now: datetime) -> SessionEntry:
        """End a session. Raises NotFound."""
        entry = await kill(self._store, session, now)
        await self._order(Event.SESSION_KILLED, f"of {entry.who}", now, session=session)
        return entry

    async def lock(self, kind: str, name: str, reason: str, now: datetime, hold: timedelta | None = None) -> tuple[Lock, int]:
        """Lock, and how many running sessions that ends."""
        lock, ends = await set_lock(self._store, kind, name, reason, by=self._by, now=now, hold=hold)
        await self._order(Event.LOCK_SET, describe(lock), now, target=_target(lock))
        return lock, ends

    async def unlock(self, kind: str, name: str, now: datetime) -> Lock:
        """Lift a lock. Raises NotFound."""
        lock = await held(self._store, kind, name, now)
        await self._order(Event.LOCK_LIFTED, describe(lock), now, target=_target(lock))
        await self._store.locks.lift(lock.kind, lock.name)
        return lock

    async def _order(
        self, event: Event, what: str, now: datetime, *, session: str | None = None, target: str | None = None
    ) -> None:
        await self._store.orders.put(Order(new_id(now), str(event), f"{what} (by {self._by})", session, target))


def _target(lock: Lock) -> str | None:
    return lock.name if lock.kind == "target" else None


def _same(one: Principal, other: Principal) -> bool:
    return (one.issuer, one.subject) == (other.issuer, other.subject)


def _entry(stored: StoredSession, running: list[Running]) -> SessionEntry:
    grant = stored.grant
    return SessionEntry(
        session=grant.session,
        who=grant.principal.name,
        kind=str(grant.principal.kind),
        targets=grant.targets,
        since=grant.issued_at,
        ends_at=grant.ends_at,
        running=bool(running),
        connections=sum(one.connections for one in running),
        bytes_up=sum(one.bytes_up for one in running),
        bytes_down=sum(one.bytes_down for one in running),
        source=running[0].source if running else None,
        gateway=running[0].gateway if running else None,
        tags=grant.tags,
    )
