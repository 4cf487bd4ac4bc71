"""The nouns: what airtunnel speaks about. Frozen, compared by value, without I/O.

principal --asks for--> target, with tags, at a time      = a request
rules     --answer----> allow or refuse, and why          = a decision
decision  --becomes---> a signed, short permission        = a grant
grant     --in use----> the life of it                    = a session, made of connections
session   --borrows---> a temporary credential            = a lease
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any


@dataclass(frozen=True, slots=True)
class Place:
    """Where something stands in a file. Lines and columns count from 1; column 0 means the whole line."""

    file: str
    line: int
    column: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


class PrincipalKind(StrEnum):
    """A human being, or a program that proves what it is."""

    PERSON = "person"
    WORKLOAD = "workload"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `issuer` and `subject` identify; `name` (e-mail or the like) is what people read and may change.

    `claims` holds the token's other claims that a rule may look at. All of it is proven by the issuer; what is only said
    stands in Tags.
    """

    kind: PrincipalKind
    issuer: str
    subject: str
    name: str
    groups: tuple[str, ...] = ()
    claims: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON from the provider
    groups_known: bool = True
    """Whether anybody said which groups there are. A person's client chooses its scopes, and could leave them out."""


class KeyBinding(StrEnum):
    """How a person's token is tied to a key that only their machine has, so that the token alone is worth nothing."""

    NONE = "none"
    AUTO = "auto"
    """DPoP where the provider says that it offers it, nothing elsewhere."""
    DPOP = "dpop"
    """RFC 9449: the access token names the key."""
    NONCE = "nonce"
    """The ID token's nonce is a commitment to the key. The browser flow only: no device flow brings a nonce back."""


RESERVED = frozenset(
    {
        "client_assertion",
        "client_assertion_type",
        "client_id",
        "client_secret",
        "code",
        "code_challenge",
        "code_challenge_method",
        "code_verifier",
        "device_code",
        "dpop_jkt",
        "grant_type",
        "nonce",
        "redirect_uri",
        "refresh_token",
        "request",
        "request_uri",
        "response_mode",
        "response_type",
        "scope",
        "state",
        "uri",
    }
)
"""Parameters of a login that are airtunnel's own: what a login itself says, and what would replace all of that (RFC 9101's
request objects) or send its answer elsewhere. With another `redirect_uri` or `nonce`, what protects a login is gone."""


@dataclass(frozen=True, slots=True)
class BrowserClient:
    """How the browser flow comes back: to `http://{host}:{port}{path}` on the machine of the person who logs in.

    ports: tried in order, 0 is any free one; a provider that compares redirect addresses exactly needs fixed ones
    client_id, client_secret: where the provider wants another client for this flow than for device codes (Google)
    """

    ports: tuple[int, ...] = (0,)
    host: str = "127.0.0.1"
    path: str = "/callback"
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Tags:
    """What a request says about its purpose. Said, not proven: rules may demand them, audit keeps them apart from claims."""

    dag_id: str | None = None
    task_id: str | None = None
    run_id: str | None = None
    try_number: int | None = None
    map_index: int | None = None
    reason: str | None = None
    ticket: str | None = None

    def said(self) -> dict[str, str | int]:
        """The tags that were given, by name."""
        return {name: value for name in TAG_NAMES if (value := getattr(self, name)) is not None}


TAG_NAMES = ("dag_id", "task_id", "run_id", "try_number", "map_index", "reason", "ticket")


class Protocol(StrEnum):
    """What is spoken behind a target. TCP is the one that the gateway does not understand and only carries."""

    POSTGRES = "postgres"
    TCP = "tcp"


@dataclass(frozen=True, slots=True)
class Address:
    """Where the gateway dials: a host and port, or a Unix socket."""

    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"unix:{self.path}" if self.path else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class CredentialSpec:
    """Where a target's credential comes from: the name of a source, and that source's own options."""

    source: str
    options: Mapping[str, str]
    place: Place


@dataclass(frozen=True, slots=True)
class Target:
    """A named private endpoint. Only the gateway knows its address."""

    name: str
    protocol: Protocol
    address: Address
    place: Place
    database: str | None = None
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    credential: CredentialSpec | None = None
    airflow_connection: str | None = None
    tls: bool = True
    """TLS to the target, verified in full. Always off on a Unix socket."""
    tls_ca: str | None = None
    tls_name: str | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a session may have. None means no limit of its own."""

    duration: timedelta = timedelta(hours=1)
    idle: timedelta | None = None
    connections: int | None = None
    bytes: int | None = None
    """What a session may carry, both ways together."""


@dataclass(frozen=True, slots=True)
class Request:
    """Principal + target + tags + where from. `target` is the name that was asked for; it may not exist."""

    principal: Principal
    target: str
    tags: Tags = field(default_factory=Tags)
    source: str | None = None
    """The client's IP address as the gateway sees it."""


class Outcome(StrEnum):
    """How a decision came about."""

    ALLOWED = "allowed"
    DENIED = "denied"
    """A deny rule matched."""
    UNMET = "unmet"
    """No rule matched; the one named came nearest."""
    DEFAULT = "default"
    """No rule speaks of this target at all, or there is no such target."""


@dataclass(frozen=True, slots=True)
class Decision:
    """Allow or refuse, always with the rule and the reasons.

    rule, place: the rule that decided, or came nearest; `default` and the target's place (or the policy's) otherwise
    reasons: phrases, for a refusal at least one
    for_now: only the time is wrong
    commit: the version of the policy (git commit), where known
    """

    outcome: Outcome
    rule: str
    place: Place
    reasons: tuple[str, ...] = ()
    limits: Limits = field(default_factory=Limits)
    for_now: bool = False
    hint: str | None = None
    commit: str | None = None

    @property
    def allowed(self) -> bool:
        return self.outcome is Outcome.ALLOWED


@dataclass(frozen=True, slots=True)
class Grant:
    """The signed, short permission, as it stands in the SSH certificate.

    session: the session's id, also the certificate's only principal and the SSH user name
    valid_before: until when a connection may be opened with it; ends_at: when the session it opens is over
    """

    session: str
    principal: Principal
    targets: tuple[str, ...]
    tags: Tags
    issued_at: datetime
    valid_before: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Lease:
    """A temporary credential of a target. `id` is what its source needs to take it back."""

    id: str
    source: str
    user: str
    password: str = field(repr=False)
    expires_at: datetime


class EndReason(StrEnum):
    """Why a connection or session was closed: told to the peer and to the audit."""

    CLIENT_CLOSED = "client_closed"
    TARGET_CLOSED = "target_closed"
    EXPIRED = "expired"
    IDLE = "idle"
    REVOKED = "revoked"
    LOCKED = "locked"
    LIMIT = "limit"
    """As many bytes went through as the rule allows."""
    DRAINING = "draining"
    POLICY_CHANGED = "policy_changed"
    FAILED = "failed"
    GATEWAY_CRASH = "gateway_crash"
    """The gateway died; its next start says so."""
