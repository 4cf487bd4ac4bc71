"""The gateway's borrowed credentials: written down before they exist, given back at the end, or until it works.

borrow     store.put, audit, source.lend          a crash in between leaves a row, never an unknown role
give_back  source.take_back, store, audit         failing: LEASE_STUCK, and `tend` tries again until it is back
recover    at start: what an earlier process of this gateway left behind
"""

import asyncio
import hashlib
import logging
import secrets
import socket
from datetime import timedelta

from airtunnel.audit.record import Event, Record
from airtunnel.config.gateway import GatewayConfig
from airtunnel.credentials.source import Loan, Source, find_source, spec_of
from airtunnel.errors import AirtunnelError, CredentialUnavailable
from airtunnel.gateway.ids import new_id
from airtunnel.gateway.service import Service
from airtunnel.model import Grant, Lease, Tags, Target

logger = logging.getLogger(__name__)

LEND_LIMIT = timedelta(seconds=5)
"""A driver's own patience with a login is often ten seconds."""
RETURN_LIMIT = timedelta(seconds=10)
ROUND = timedelta(seconds=60)
"""Between two rounds of the janitor."""


GRACE = timedelta(seconds=60)
"""After a lease has expired, until any gateway may give it back for the one that has not."""


def instance(config: GatewayConfig) -> str:
    """What tells this gateway from its replicas, but not from its next start: machine, and the audit that it alone writes."""
    where = f"{socket.gethostname()}:{config.audit.file}"
    return f"{config.name}@{hashlib.sha256(where.encode()).hexdigest()[:12]}"


class Leases:
    """The desk where sessions borrow and give back."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._sources: dict[str, Source] = {}
        self._gateway = instance(service.config)
        self._lent: set[str] = set()
        """Leases in use by sessions of this process: `tend` leaves them alone."""

    async def borrow(self, grant: Grant, target: Target) -> Lease:
        """A credential of `target` for this session. Raises CredentialUnavailable, AuditUnavailable or Temporary."""
        source = self._source(target)
        service = self._service
        lease_id = secrets.token_hex(6)
        # Before its row is there: a round of `tend` that sees the row must leave it alone.
        self._lent.add(lease_id)
        try:
            await service.store.put_lease(lease_id, grant.session, target.name, self._gateway, grant.ends_at)
        except BaseException:
            self._lent.discard(lease_id)
            raise
        loan = Loan(lease_id, target, grant.principal, grant.session, grant.tags, grant.ends_at)
        try:
            async with asyncio.timeout(LEND_LIMIT.total_seconds()):
                lease = await source.lend(loan)
            await self._record(Event.LEASE_LENT, target, lease_id, grant=grant, user=lease.user)
        except BaseException as error:
            # It may have been made all the same: give it back, or let `tend` do so.
            await asyncio.shield(self.give_back(target, lease_id, session=grant.session))
            if isinstance(error, TimeoutError):
                name, limit = spec_of(target).source, LEND_LIMIT.total_seconds()
                raise CredentialUnavailable(f"{name} gave no login for {target.name} within {limit:g} s") from error
            raise
        return lease

    async def give_back(self, target: Target, lease_id: str, *, session: str, user: str | None = None) -> None:
        """Take the credential back at its source. Never raises: what fails is recorded and tried again by `tend`."""
        self._lent.discard(lease_id)
        try:
            async with asyncio.timeout(RETURN_LIMIT.total_seconds()):
                await self._source(target).take_back(target, lease_id)
            await self._service.store.lease_returned(lease_id)
            await self._record(Event.LEASE_RETURNED, target, lease_id, session=session, user=user)
        except Exception as error:  # whatever it was: it is tried again, and those behind it must have their turn
            logger.warning("lease %s of %s is not back yet: %s", lease_id, target.name, error or type(error).__name__)
            await self._try_record(target, lease_id, session, str(error) or type(error).__name__)

    async def tend(self) -> None:
        """One round: give back what is still out, let the sources remove what has expired, forget what is over."""
        service = self._service
        await self._return_rest()
        for target in service.policy.targets.values():
            if target.credential is not None:
                await self._sweep(target)
        await service.store.prune(service.clock())

    async def run(self) -> None:
        """`tend` for ever, one round a minute, the first at once."""
        while True:
            try:
                await self.tend()
            except AirtunnelError as error:
                logger.warning("the janitor's round failed: %s", error)
            await asyncio.sleep(ROUND.total_seconds())

    async def aclose(self) -> None:
        """Try once more to give back what is still out, and close the sources' own connections."""
        self._lent.clear()  # the sessions are over, even those that did not end in time
        try:
            async with asyncio.timeout(RETURN_LIMIT.total_seconds()):
                await self._return_rest()
        except (AirtunnelError, TimeoutError) as error:
            logger.warning("some leases are still out, and go back at the next start: %s", error or "no answer in time")
        for source in self._sources.values():
            await source.aclose()

    async def _return_rest(self) -> None:
        """Give back what is out and in nobody's use: what failed before, and what another process left behind."""
        service = self._service
        for row in await service.store.outstanding(self._gateway, expired_before=service.clock() - GRACE):
            target = service.policy.targets.get(row.target)
            if target is None or target.credential is None:
                logger.error("lease %s is out, and its target %s is no longer in the policy", row.lease_id, row.target)
            elif row.lease_id not in self._lent:
                await self.give_back(target, row.lease_id, session=row.session)

    async def _sweep(self, target: Target) -> None:
        try:
            async with asyncio.timeout(RETURN_LIMIT.total_seconds()):
                count = await self._source(target).sweep(target)
        except Exception as error:  # one target's fault must not keep the janitor from the others
            logger.warning("the janitor could not look at %s: %s", target.name, error or type(error).__name__)
        else:
            if count:
                logger.info("the janitor removed %d expired credentials of %s", count, target.name)

    def _source(self, target: Target) -> Source:
        spec = spec_of(target)
        name = spec.source
        if name not in self._sources:
            self._sources[name] = find_source(name, spec.place)
        return self._sources[name]

    async def _try_record(self, target: Target, lease_id: str, session: str, detail: str) -> None:
        try:
            await self._record(Event.LEASE_STUCK, target, lease_id, session=session, detail=detail)
        except AirtunnelError as error:
            logger.error("lease %s: not even the audit could be told: %s", lease_id, error)

    async def _record(
        self,
        event: Event,
        target: Target,
        lease_id: str,
        *,
        grant: Grant | None = None,
        session: str | None = None,
        user: str | None = None,
        detail: str | None = None,
    ) -> None:
        await self._service.audit.write(
            Record(
                event,
                request=new_id(self._service.clock()),
                session=grant.session if grant else session,
                principal=grant.principal if grant else None,
                tags=grant.tags if grant else Tags(),
                target=target.name,
                lease=user,
                detail=f"lease {lease_id}" + (f": {detail}" if detail else ""),
            )
        )
