"""What the parts of a running gateway share, and the one way in which any of them asks the policy."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from airtunnel.audit.log import AuditLog
from airtunnel.audit.record import Event, Record
from airtunnel.config.gateway import GatewayConfig
from airtunnel.errors import Refused, Temporary
from airtunnel.gateway.authority import Authority
from airtunnel.gateway.ids import new_id
from airtunnel.gateway.locks import Lock, find_lock
from airtunnel.gateway.orders import Order
from airtunnel.gateway.roll import Caps
from airtunnel.gateway.store import Store
from airtunnel.model import Decision, Grant, Outcome, Place, Principal, Request, Target
from airtunnel.policy.decide import decide
from airtunnel.policy.refusal import refused
from airtunnel.policy.rules import Policy

logger = logging.getLogger(__name__)


def wall_clock() -> datetime:
    """Now, aware, by the clock on the wall: sessions end by it, also after a suspend."""
    return datetime.now(UTC)


@dataclass(slots=True)
class Service:
    """The gateway's parts. `policy` is the one that holds now: read it at each decision, never keep it."""

    config: GatewayConfig
    policy: Policy
    authority: Authority
    audit: AuditLog
    store: Store
    clock: Callable[[], datetime] = wall_clock
    draining: bool = False

    async def admit(
        self, request: Request, *, session: str | None = None, connection: str | None = None
    ) -> tuple[Target, Decision]:
        """The target and the decision that allows it, where no lock holds.

        Raises Refused, after the refusal stands in the audit; AuditUnavailable if it could not be written there.
        """
        now = self.clock()
        # Read anew each time: nothing may open by what this gateway remembers of the locks.
        lock = find_lock(await self.store.locks.held(now), request.principal, (request.target,))
        if lock is not None:
            decision = self.locked(lock, request.target)
            raise await self.refuse(request, decision, session=session, connection=connection)
        decision = decide(self.policy, request, now)
        target = self.policy.targets.get(request.target)
        if decision.allowed and target is not None:
            return target, decision
        raise await self.refuse(request, decision, session=session, connection=connection)

    async def check_grant(self, grant: Grant, name: str, source: str | None, connection: str) -> tuple[Target, Decision]:
        """The same for a channel of a session: also not revoked, and one of the targets that the grant names.

        Raises as `admit` does.
        """
        request = Request(grant.principal, name, grant.tags, source)
        if await self.store.is_revoked(grant):
            decision = self.no("revoked", name, "this session was revoked")
            raise await self.refuse(request, decision, session=grant.session, connection=connection)
        target, decision = await self.admit(request, session=grant.session, connection=connection)
        if name not in grant.targets:
            covered = ", ".join(grant.targets)
            decision = Decision(
                Outcome.DENIED,
                decision.rule,
                decision.place,
                (f"allows it, but this session was granted for {covered} only",),
                hint=f"airtunnel connect {name}",
            )
            raise await self.refuse(request, decision, session=grant.session, connection=connection)
        return target, decision

    async def refuse(
        self, request: Request, decision: Decision, *, session: str | None = None, connection: str | None = None
    ) -> Refused:
        """The refusal to raise, once it stands in the audit."""
        number = new_id(self.clock())
        refusal = refused(decision, request, number)
        await self.audit.write(
            Record(
                Event.REFUSED,
                request=number,
                session=session,
                connection=connection,
                principal=request.principal,
                target=request.target,
                tags=request.tags,
                decision=decision,
                source=request.source,
            )
        )
        logger.info("request %s: %s; %s", number, refusal.message, refusal.because)
        return refusal

    async def too_many(self, request: Request, error: Temporary, *, session: str | None = None) -> Temporary:
        """The error to raise where a cap is reached, once it stands in the audit as a refusal."""
        decision = replace(self.no("sessions", request.target, error.message, hint=error.hint), for_now=True)
        refusal = await self.refuse(request, decision, session=session)
        return Temporary(error.message, hint=error.hint, details=(f"request: {refusal.request}",))

    async def write_order(self, order: Order) -> None:
        """Write down what an operator did at the store. Raises AuditUnavailable."""
        await self.audit.write(
            Record(Event(order.event), request=order.id, session=order.session, target=order.target, detail=order.detail)
        )

    def caps(self, principal: Principal) -> Caps:
        """How many sessions may run: of this principal, and in all."""
        return Caps(self.config.sessions.cap(principal), self.config.sessions.total)

    def locked(self, lock: Lock, name: str) -> Decision:
        """The no of a lock to the target called `name`."""
        return self.no("lock", name, lock.because, hint="ask an admin of the gateway, who sees it in: airtunnel locks")

    def no(self, rule: str, name: str, reason: str, *, hint: str | None = None) -> Decision:
        """A no to the target called `name` that comes from no rule of the policy, but from `rule` of the gateway's own."""
        target = self.policy.targets.get(name)
        place: Place = target.place if target else self.policy.place
        return Decision(Outcome.DENIED, rule, place, (reason,), hint=hint, commit=self.policy.commit)
