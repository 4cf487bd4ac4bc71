"""The life of a grant in use: its SSH links, its connections, what it has borrowed, and the moment when it must end.

enter     an SSH connection with the grant came up        (several may share a session)
opened    written to the audit at the first channel
come_up   on the roll, where the caps count it; so is what goes through it, and how much
end       expired, revoked, locked: every connection is told in its own protocol, then the links are cut
leave     the last link is gone: what was borrowed is given back, and the audit has the session's end
"""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol

from airtunnel.audit.record import Event, Record
from airtunnel.errors import AirtunnelError, Temporary
from airtunnel.gateway.follow import follow_store
from airtunnel.gateway.ids import new_id
from airtunnel.gateway.leases import Leases, instance
from airtunnel.gateway.roll import Full, Running
from airtunnel.gateway.service import Service
from airtunnel.model import EndReason, Grant, Lease, Request, Target
from airtunnel.policy.decide import decide
from airtunnel.wire.postgres import CancelRequest

logger = logging.getLogger(__name__)

TICK = timedelta(seconds=2)
"""How often sessions are looked at: no timer tells that the wall clock moved, or that a window closed."""


class Tenant(Protocol):
    """A connection of a session, as the session sees it."""

    async def end(self, reason: EndReason) -> None:
        """Tell the client why, then close."""

    def idle_too_long(self) -> bool:
        """Whether its rule's limit for doing nothing has passed."""

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes so far: from the client, and to it."""

    @property
    def allowance(self) -> int | None:
        """How many bytes its rule allows the session, both ways together."""


class Link(Protocol):
    """An SSH connection of a session, as the session sees it."""

    def cut(self, reason: EndReason) -> None:
        """Disconnect, saying why."""


class Session:
    """One grant in use at this gateway."""

    def __init__(self, grant: Grant, service: Service, leases: Leases, source: str | None) -> None:
        self.grant = grant
        self.source = source
        self.links: set[Link] = set()
        self.ended: EndReason | None = None
        self.because: tuple[str, ...] = ()
        """What else its clients are told of the end."""
        self._tenants: set[Tenant] = set()
        self._seated: set[Tenant] = set()
        self._vacant = asyncio.Event()
        self._vacant.set()
        self.client_version: str | None = None
        """What the client of the first link calls itself."""
        self._service = service
        self._leases = leases
        self._started: datetime | None = None
        self._opening = asyncio.Lock()
        self._borrowing = asyncio.Lock()
        self._gone = (0, 0)
        """Bytes of connections that are over."""
        self._reported: Running | None = None
        self._borrowed: dict[str, tuple[Target, Lease]] = {}
        self._cancels: dict[CancelRequest, Callable[[], None]] = {}

    async def open(self) -> None:
        """Write the session's beginning down, once. Raises AuditUnavailable, and Temporary if it has ended meanwhile."""
        async with self._opening:
            if self.ended is not None:
                raise Temporary(f"the session has ended: {self.ended}")
            if self._started is None:
                await self._service.store.put_session(self.grant, instance(self._service.config))
                await self._record(Event.SESSION_OPENED)
                self._started = self._service.clock()

    async def come_up(self, name: str) -> None:
        """Put the session on the roll of what runs, once. name: the target that it is wanted for, for the audit.

        Raises Temporary if as many run as may.
        """
        service = self._service
        async with self._opening:
            if self._reported is not None or self.ended is not None:
                return
            one = Running(self.grant.session, instance(service.config), service.clock(), self.source)
            principal = self.grant.principal
            try:
                await service.store.roll.enter(one, principal, service.caps(principal))
            except Full as full:
                request = Request(principal, name, self.grant.tags, self.source)
                raise await service.too_many(request, full, session=self.grant.session) from full
            self._reported = one

    def news(self) -> Running | None:
        """How the session stands on the roll from now on, if that is another way than was told last."""
        if self._reported is None:
            return None
        up, down = self.traffic
        one = replace(self._reported, connections=len(self._tenants), bytes_up=up, bytes_down=down)
        if one == self._reported:
            return None
        self._reported = one
        return one

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes of all its connections so far: from clients, and to them."""
        ways = [self._gone, *(tenant.traffic for tenant in self._tenants)]
        return sum(up for up, _ in ways), sum(down for _, down in ways)

    def used_up(self) -> bool:
        """Whether as many bytes went through as the rule of one of its connections allows."""
        allowances = [tenant.allowance for tenant in self._tenants]
        return any(one is not None and sum(self.traffic) >= one for one in allowances)

    async def borrow(self, target: Target) -> Lease:
        """The session's credential of `target`: one for all its connections. Raises what Leases.borrow raises."""
        async with self._borrowing:
            if target.name not in self._borrowed:
                self._borrowed[target.name] = target, await self._leases.borrow(self.grant, target)
            return self._borrowed[target.name][1]

    def sit(self, tenant: Tenant, limit: int | None) -> bool:
        """A place among the `limit` connections that may be used at a time, until it stands up. False if all are taken."""
        if limit is not None and len(self._seated) >= limit:
            return False
        self._seated.add(tenant)
        return True

    def stand_up(self, tenant: Tenant) -> None:
        """Its place is free again."""
        self._seated.discard(tenant)

    def move_in(self, tenant: Tenant) -> None:
        """A connection begins."""
        self._tenants.add(tenant)
        self._vacant.clear()

    def move_out(self, tenant: Tenant) -> None:
        """A connection is over, and written down."""
        if tenant in self._tenants:
            (up, down), (more_up, more_down) = self._gone, tenant.traffic
            self._gone = up + more_up, down + more_down
        self._tenants.discard(tenant)
        if not self._tenants:
            self._vacant.set()

    def take_key(self, cancel: Callable[[], None]) -> CancelRequest:
        """A key to hand to a client, under which `cancel` will be called. Its own, so that the target's never leaves."""
        key = CancelRequest(secrets.randbelow(2**31 - 1) + 1, secrets.token_bytes(4))
        while key in self._cancels:
            key = CancelRequest(secrets.randbelow(2**31 - 1) + 1, secrets.token_bytes(4))
        self._cancels[key] = cancel
        return key

    def drop_key(self, key: CancelRequest) -> None:
        """Forget it."""
        self._cancels.pop(key, None)

    def cancel(self, key: CancelRequest) -> bool:
        """Cancel what runs under `key`. False if there is no such key in this session: another's cannot be reached."""
        found = self._cancels.get(key)
        if found is not None:
            found()
        return found is not None

    def still_granted(self) -> bool:
        """Whether the policy of now would grant every target of the session, at this time, for as long as it has run."""
        grant, now = self.grant, self._service.clock()
        for name in grant.targets:
            decision = decide(self._service.policy, Request(grant.principal, name, grant.tags, self.source), now)
            if not decision.allowed or grant.issued_at + decision.limits.duration <= now:
                return False
        return True

    def idlers(self) -> list[Tenant]:
        """The connections that have done nothing for longer than they may."""
        return [tenant for tenant in self._tenants if tenant.idle_too_long()]

    async def end(self, reason: EndReason, *because: str) -> None:
        """End the session now: tell every connection, with what else is to be said, then cut the links."""
        if self.ended is not None:
            return
        self.ended, self.because = reason, because
        logger.info("session %s ends: %s", self.grant.session, reason)
        async with asyncio.TaskGroup() as group:
            for tenant in tuple(self._tenants):
                group.create_task(tenant.end(reason))
        for link in tuple(self.links):
            link.cut(reason)

    async def close(self) -> None:
        """The last link is gone: give back, write down."""
        self.ended = self.ended or EndReason.CLIENT_CLOSED
        await self._vacant.wait()  # they have lost their channel, and are writing their own end down
        async with self._borrowing:
            for target, lease in self._borrowed.values():
                await self._leases.give_back(target, lease.id, session=self.grant.session, user=lease.user)
            self._borrowed.clear()
        if self._started is not None:
            try:
                await self._service.store.session_ended(self.grant.session, self.ended, self._service.clock())
                await self._record(Event.SESSION_CLOSED, reason=self.ended, since=self._started)
            except AirtunnelError:
                logger.exception("the end of session %s could not be written down", self.grant.session)
        await self._go_down()

    async def _go_down(self) -> None:
        async with self._opening:
            if self._reported is None:
                return
            try:
                await self._service.store.roll.leave(self._reported)
            except AirtunnelError as error:
                logger.warning("session %s stays on the roll: %s", self.grant.session, error)

    async def _record(self, event: Event, *, reason: EndReason | None = None, since: datetime | None = None) -> None:
        now = self._service.clock()
        await self._service.audit.write(
            Record(
                event,
                request=new_id(now),
                session=self.grant.session,
                principal=self.grant.principal,
                tags=self.grant.tags,
                source=self.source,
                reason=reason,
                duration=now - since if since else None,
                session_until=self.grant.ends_at if event is Event.SESSION_OPENED else None,
                client_version=self.client_version if event is Event.SESSION_OPENED else None,
            )
        )


async def close_lost(service: Service) -> None:
    """Write down the end of the sessions that an earlier process of this gateway did not live to end."""
    await service.store.roll.clear(instance(service.config))
    for stored in await service.store.running(instance(service.config)):
        grant, now = stored.grant, service.clock()
        await service.audit.write(
            Record(
                Event.SESSION_CLOSED,
                request=new_id(now),
                session=grant.session,
                principal=grant.principal,
                tags=grant.tags,
                reason=EndReason.GATEWAY_CRASH,
            )
        )
        await service.store.session_ended(grant.session, EndReason.GATEWAY_CRASH, now)


class Sessions:
    """All sessions of this gateway, and their common end."""

    def __init__(self, service: Service, leases: Leases) -> None:
        self._service = service
        self._leases = leases
        self._running: dict[str, Session] = {}
        self._closing: set[Session] = set()
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._running)

    def enter(self, grant: Grant, link: Link, source: str | None) -> Session:
        """The session of `grant`, with `link` as one more way into it."""
        session = self._running.get(grant.session)
        if session is None:
            session = self._running[grant.session] = Session(grant, self._service, self._leases, source)
            self._changed.set()
        session.links.add(link)
        return session

    async def leave(self, session: Session, link: Link) -> None:
        """`link` is gone. With the last one, the session is over."""
        session.links.discard(link)
        if session.links or self._running.get(session.grant.session) is not session:
            return
        del self._running[session.grant.session]
        self._closing.add(session)
        try:
            await session.close()
        finally:
            self._closing.discard(session)
            self._changed.set()

    def __iter__(self) -> Iterator[Session]:
        """Those that have not been told to end."""
        return iter([one for one in self._running.values() if one.ended is None])

    async def run(self) -> None:
        """End what has expired, was revoked or locked, idles or is used up, for ever."""
        async with asyncio.TaskGroup() as group:
            group.create_task(follow_store(self._service, self, group))
            while True:
                now = self._service.clock()
                for session in self:
                    if session.grant.ends_at <= now or not session.still_granted():
                        group.create_task(session.end(EndReason.EXPIRED))
                    elif session.used_up():
                        group.create_task(session.end(EndReason.LIMIT))
                    for idler in session.idlers():
                        group.create_task(idler.end(EndReason.IDLE))
                now = self._service.clock()
                due = min((one.grant.ends_at - now for one in self), default=TICK)
                await self._change(min(due, TICK))

    async def end_where(self, choose: Callable[[Session], bool], reason: EndReason) -> int:
        """End every session that `choose` picks. Returns how many."""
        chosen = [session for session in self._running.values() if choose(session)]
        async with asyncio.TaskGroup() as group:
            for session in chosen:
                group.create_task(session.end(reason))
        return len(chosen)

    async def drain(self) -> None:
        """End all, and wait until each has given back what it borrowed."""
        await self.end_where(lambda _: True, EndReason.DRAINING)
        await self.vacant()

    async def vacant(self) -> None:
        """Wait until no session runs, and each has given back what it borrowed."""
        while self._running or self._closing:
            await self._change(TICK)

    async def _change(self, limit: timedelta) -> None:
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, limit.total_seconds())):
                await self._changed.wait()
