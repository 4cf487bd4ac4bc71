"""What one line of the audit says, as data and as the JSON object it becomes.

Proven things (the issuer's claims) stand under `user` or `workload`, said things under `tags`: they never share a field.
There is no field for a secret. Field names follow what Teleport, Boundary and StrongDM call the same things.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from airtunnel.model import Decision, EndReason, Principal, PrincipalKind, Protocol, Tags

MAX_VERSION = 128
"""Characters of what a client calls itself: a stranger's text, and RFC 4253 (4.2) allows 255."""


class Event(StrEnum):
    """What happened, in the past tense."""

    GATEWAY_STARTED = "gateway.started"
    GATEWAY_STOPPED = "gateway.stopped"
    TOKEN_REJECTED = "token.rejected"  # noqa: S105 - the name of an event
    GRANT_ISSUED = "grant.issued"
    REFUSED = "refused"
    SESSION_OPENED = "session.opened"
    SESSION_CLOSED = "session.closed"
    SESSION_KILLED = "session.killed"
    LOCK_SET = "lock.set"
    LOCK_LIFTED = "lock.lifted"
    LEASE_LENT = "lease.lent"
    LEASE_RETURNED = "lease.returned"
    LEASE_STUCK = "lease.stuck"
    """A lease could not be taken back; it will be tried again."""
    CONNECTION_OPENED = "connection.opened"
    CONNECTION_CLOSED = "connection.closed"
    LOGOUT = "logout"
    POLICY_RELOADED = "policy.reloaded"
    AUTHORITY_CHANGED = "authority.changed"
    """Which keys sign, and which are trusted, is another from now on."""
    AUDIT_ROTATED = "audit.rotated"
    """The first record of a new file: it names the one before."""
    AUDIT_REPAIRED = "audit.repaired"
    """A line that was torn by a crash, and never acknowledged, was cut off at start."""


@dataclass(frozen=True, slots=True)
class Record:
    """One event. What does not apply to it stays None and is not written.

    request: the id under which a refusal or failure was told to its user
    source: the client's IP address; upstream: the target's address, as text
    lease: the user name of the temporary login
    bytes_up: from the client to the target; bytes_down: the other way
    client_version: what the client calls itself; said, not proven
    login_until: when what was shown expires; session_until: when the session that was granted is over
    duration: until the record's own time, so that there is no field for the beginning
    """

    event: Event
    request: str = ""
    session: str | None = None
    connection: str | None = None
    principal: Principal | None = None
    target: str | None = None
    protocol: Protocol | None = None
    tags: Tags | None = None
    decision: Decision | None = None
    source: str | None = None
    lease: str | None = None
    database: str | None = None
    upstream: str | None = None
    bytes_up: int | None = None
    bytes_down: int | None = None
    duration: timedelta | None = None
    reason: EndReason | str | None = None
    detail: str | None = None
    jti: str | None = None
    """The issuer's id of the token that was shown, or a hash of it: what a stolen one was used for. Never the token."""
    client_version: str | None = None
    login_until: datetime | None = None
    session_until: datetime | None = None


def as_fields(record: Record, now: datetime, gateway: str) -> dict[str, Any]:  # Any: JSON
    """The record as a JSON object, without the chain's own fields. Times are UTC with milliseconds, durations milliseconds."""
    return {
        "time": stamp(now),
        "event": str(record.event),
        "gateway": gateway,
        **_given(
            id=record.request or None,
            sid=record.session,
            conn_id=record.connection,
            client_ip=record.source,
            client_version=None if record.client_version is None else record.client_version[:MAX_VERSION],
            jti=record.jti,
            token_exp=None if record.login_until is None else stamp(record.login_until),
            session_exp=None if record.session_until is None else stamp(record.session_until),
            **_actor(record.principal),
            tags=None if record.tags is None else record.tags.said() or None,
            target=record.target,
            db_protocol=None if record.protocol is None else str(record.protocol),
            db_name=record.database,
            db_user_injected=record.lease,
            upstream=record.upstream,
            policy=None if record.decision is None else _policy(record.decision),
            bytes_up=record.bytes_up,
            bytes_down=record.bytes_down,
            duration_ms=None if record.duration is None else record.duration // timedelta(milliseconds=1),
            close_reason=None if record.reason is None else str(record.reason),
            detail=record.detail,
        ),
    }


def stamp(moment: datetime) -> str:
    """The time as records have it: UTC, with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _actor(principal: Principal | None) -> Mapping[str, Any]:  # Any: JSON
    if principal is None:
        return {}
    proven = _given(
        idp=principal.issuer,
        sub=principal.subject,
        name=principal.name,
        groups=list(principal.groups),
        claims=dict(principal.claims) or None,
    )
    if principal.kind is PrincipalKind.PERSON:
        return {"actor": "human", "user": proven}
    return {"actor": "workload", "workload": proven}


def _policy(decision: Decision) -> dict[str, Any]:  # Any: JSON
    return _given(
        file=decision.place.file,
        line=decision.place.line,
        rule=decision.rule,
        effect="allow" if decision.allowed else "deny",
        outcome=str(decision.outcome),
        reasons=list(decision.reasons),
        commit=decision.commit,
    )


def _given(**fields: Any) -> dict[str, Any]:  # Any: JSON
    return {name: value for name, value in fields.items() if value is not None}
