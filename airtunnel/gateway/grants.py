"""From a principal's request to a grant: decide, sign, write down."""

from datetime import datetime

from airtunnel.audit.record import Event, Record
from airtunnel.errors import ProtocolError, Temporary
from airtunnel.gateway.ids import new_id
from airtunnel.gateway.locks import find_lock
from airtunnel.gateway.service import Service
from airtunnel.model import Decision, Grant, Principal, Request, Tags, Target
from airtunnel.policy.decide import survey
from airtunnel.policy.refusal import refused
from airtunnel.wire.control import Catalog, CatalogEntry, GrantedTarget, GrantReply, GrantRequest

MAX_TARGETS = 32
"""Targets per grant: more than any person opens at once, and few enough for one certificate."""


async def issue_grant(
    service: Service,
    principal: Principal,
    asked: GrantRequest,
    *,
    until: datetime,
    source: str | None,
    jti: str | None = None,
) -> GrantReply:
    """The grant for all that was asked. `until` is when the bearer's token expires: no certificate outlives it.

    jti: the token's id, for the audit

    Raises Refused for the first target that is not allowed, ProtocolError for a request that makes no sense, Temporary while
    the gateway drains or as many sessions run as may, AuditUnavailable.
    """
    if service.draining:
        raise Temporary("the gateway is shutting down", hint="try again in a moment")
    names = tuple(dict.fromkeys(asked.targets))
    if not 0 < len(names) <= MAX_TARGETS:
        raise ProtocolError(f"a grant is for 1 to {MAX_TARGETS} targets, not for {len(names)}")
    for name in names:
        if not name.isprintable() or len(name) > 63:
            raise ProtocolError("a target's name has at most 63 printable characters")
    admitted = [await service.admit(Request(principal, name, asked.tags, source)) for name in names]
    now = service.clock()
    try:
        await service.store.roll.check(principal, service.caps(principal), "", now)
    except Temporary as full:
        raise await service.too_many(Request(principal, names[0], asked.tags, source), full) from full
    ends_at = now + min(decision.limits.duration for _, decision in admitted)
    valid_before = min(now + service.config.grant_ttl, until, ends_at)
    grant = Grant(new_id(now), principal, names, asked.tags, now, valid_before, ends_at)
    certificate = await service.authority.sign_grant(grant, asked.public_key)
    await service.store.put_session(grant, "")  # of no gateway yet: any of them may serve it
    await service.audit.write(
        Record(
            Event.GRANT_ISSUED,
            request=new_id(now),
            session=grant.session,
            principal=principal,
            target=" ".join(names),
            tags=asked.tags,
            decision=admitted[0][1],
            source=source,
            jti=jti,
            login_until=until,
            session_until=ends_at,
        )
    )
    granted = tuple(_granted(target, decision) for target, decision in admitted)
    return GrantReply(grant.session, certificate, principal.name, valid_before, ends_at, granted)


async def list_targets(service: Service, principal: Principal, source: str | None) -> Catalog:
    """Every target with the decision on it for this principal, now, without any tags. Not a request: it is not in the audit."""
    entries, now = [], service.clock()
    locks = await service.store.locks.held(now)
    for name, allowed in survey(service.policy, Request(principal, "", Tags(), source), now).items():
        lock = find_lock(locks, principal, (name,))
        decision = allowed if lock is None else service.locked(lock, name)
        target = service.policy.targets[name]
        request = Request(principal, name, Tags(), source)
        entries.append(
            CatalogEntry(
                name=name,
                protocol=target.protocol,
                description=target.description,
                labels=target.labels,
                database=target.database,
                airflow_connection=target.airflow_connection,
                rule=decision.rule,
                place=str(decision.place),
                refusal=None if decision.allowed else refused(decision, request),
            )
        )
    return Catalog(principal.name, principal.issuer, principal.groups, tuple(entries))


def _granted(target: Target, decision: Decision) -> GrantedTarget:
    return GrantedTarget(
        name=target.name,
        protocol=target.protocol,
        rule=decision.rule,
        place=str(decision.place),
        database=target.database,
        airflow_connection=target.airflow_connection,
    )
