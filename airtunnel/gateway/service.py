"""What the parts of a running gateway share, and the one way in which any of them asks the policy."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from airtunnel.audit.log import AuditLog
from airtunnel.audit.record import Event, Record
from airtunnel.config.gateway import GatewayConfig
from airtunnel.errors import Refused
from airtunnel.gateway.authority import Authority
from airtunnel.gateway.ids import new_id
from airtunnel.gateway.store import Store
from airtunnel.model import Decision, Grant, Outcome, Place, Request, Target
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
        """The target and the decision that allows it.

        Raises Refused, after the refusal stands in the audit; AuditUnavailable if it could not be written there.
        """
        decision = decide(self.policy, request, self.clock())
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
            decision = Decision(Outcome.DENIED, "revoked", self._elsewhere(name), ("this session was revoked",))
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

    def _elsewhere(self, name: str) -> Place:
        target = self.policy.targets.get(name)
        return target.place if target else self.policy.place
