"""The control API's bodies: what client and gateway say to each other over HTTPS, as JSON.

GET  /.well-known/airtunnel                                   -> Published    (no token)
GET  /v1/targets         Authorization: Bearer                -> Catalog      who I am, what I may reach, why not the rest
POST /v1/grants          Authorization: Bearer, GrantRequest  -> GrantReply   201, or 403 problem+json with a refusal
POST /v1/logout          Authorization: Bearer                -> 204          ends every session of this principal
     /v1/sessions, /v1/locks                                  wire/sessions.py has their bodies

Unknown fields are ignored, so that either side may be the newer one; a missing or wrong one is a ProtocolError.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from airtunnel.errors import ProtocolError, Refused
from airtunnel.model import TAG_NAMES, BrowserClient, Tags
from airtunnel.wire.body import MAX_BODY as MAX_BODY
from airtunnel.wire.body import Json, decode, dump, mapping, number, optional, text, texts, time, word

WELL_KNOWN = "/.well-known/airtunnel"


@dataclass(frozen=True, slots=True)
class WorkloadIssuer:
    """An issuer of workloads' tokens that the gateway takes. provider: its kind, like `github`; audience: for whom to ask."""

    issuer: str
    provider: str
    audience: str


@dataclass(frozen=True, slots=True)
class Published:
    """Everything a client must know of a gateway, from one host name.

    flows: `device` and `browser`, the preferred one first
    token: which token is presented to the gateway, `access_token` or `id_token`
    ssh_host, ssh_port: where the data goes; host_cas: OpenSSH public keys of the CAs that sign its host key
    binding: a KeyBinding, as text: a newer gateway may know more of them
    request: parameters that go with a login besides the usual ones: `audience`, `resource`, `prompt`
    endpoints: by their names in the provider's metadata, where those are missing or wrong
    pages: hosts beside the issuer's on which the page for a login code may be; ca: PEM that vouches for the provider
    """

    name: str
    issuer: str
    client_id: str
    scopes: tuple[str, ...]
    flows: tuple[str, ...]
    token: str
    ssh_host: str
    ssh_port: int
    host_cas: tuple[str, ...]
    version: str
    client_secret: str | None = None
    """Google's and some others' "public" clients have one; it is no secret there."""
    provider: str = "oidc"
    """The kind of provider, one of the presets' names."""
    binding: str = "none"
    browser: BrowserClient = field(default_factory=BrowserClient)
    request: Mapping[str, str] = field(default_factory=dict)
    endpoints: Mapping[str, str] = field(default_factory=dict)
    pages: tuple[str, ...] = ()
    ca: str | None = None
    workloads: tuple[WorkloadIssuer, ...] = ()

    def encode(self) -> bytes:
        return dump(asdict(self))

    @classmethod
    def decode(cls, data: bytes) -> "Published":
        return decode(
            data,
            "the gateway's published configuration",
            lambda body: cls(
                name=text(body, "name"),
                issuer=text(body, "issuer"),
                client_id=text(body, "client_id"),
                scopes=texts(body, "scopes"),
                flows=texts(body, "flows"),
                token=text(body, "token"),
                ssh_host=text(body, "ssh_host"),
                ssh_port=number(body, "ssh_port"),
                host_cas=texts(body, "host_cas"),
                version=text(body, "version"),
                client_secret=optional(body, "client_secret"),
                provider=optional(body, "provider") or "oidc",
                binding=optional(body, "binding") or "none",
                browser=_browser(body.get("browser")),
                request=mapping(body, "request"),
                endpoints=mapping(body, "endpoints"),
                pages=texts(body, "pages") if body.get("pages") else (),
                ca=optional(body, "ca"),
                workloads=tuple(
                    WorkloadIssuer(text(one, "issuer"), text(one, "provider"), text(one, "audience"))
                    for one in body.get("workloads") or ()
                ),
            ),
        )


@dataclass(frozen=True, slots=True)
class GrantRequest:
    """`public_key`: one line in OpenSSH's format. `targets`: all or none of them are granted."""

    targets: tuple[str, ...]
    public_key: str
    tags: Tags = field(default_factory=Tags)

    def encode(self) -> bytes:
        return dump({"targets": self.targets, "public_key": self.public_key, "tags": self.tags.said()})

    @classmethod
    def decode(cls, data: bytes) -> "GrantRequest":
        return decode(
            data,
            "the grant request",
            lambda body: cls(
                targets=texts(body, "targets"), public_key=text(body, "public_key"), tags=tags_from(body.get("tags", {}))
            ),
        )


@dataclass(frozen=True, slots=True)
class GrantedTarget:
    """One target of a grant, with what a driver's connection line needs."""

    name: str
    protocol: str
    rule: str
    place: str
    database: str | None = None
    airflow_connection: str | None = None


@dataclass(frozen=True, slots=True)
class GrantReply:
    """`certificate`: one line in OpenSSH's format; `session` is also the SSH user name."""

    session: str
    certificate: str
    who: str
    valid_before: datetime
    ends_at: datetime
    targets: tuple[GrantedTarget, ...]

    def encode(self) -> bytes:
        times = {"valid_before": self.valid_before.isoformat(), "ends_at": self.ends_at.isoformat()}
        return dump(asdict(self) | times)

    @classmethod
    def decode(cls, data: bytes) -> "GrantReply":
        return decode(
            data,
            "the gateway's grant",
            lambda body: cls(
                session=word(body, "session"),
                certificate=text(body, "certificate"),
                who=text(body, "who"),
                valid_before=time(body, "valid_before"),
                ends_at=time(body, "ends_at"),
                targets=tuple(_granted(one) for one in body["targets"]),
            ),
        )


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A target as its seeker sees it: never its address. `refusal` is None where it may be reached now."""

    name: str
    protocol: str
    description: str
    labels: Mapping[str, str]
    database: str | None = None
    airflow_connection: str | None = None
    rule: str = ""
    place: str = ""
    refusal: Refused | None = None


@dataclass(frozen=True, slots=True)
class Catalog:
    """Who the gateway takes the caller for, and every target with the decision on it."""

    who: str
    issuer: str
    groups: tuple[str, ...]
    targets: tuple[CatalogEntry, ...]

    def encode(self) -> bytes:
        targets = [
            {name: getattr(one, name) for name in CatalogEntry.__slots__}
            | {"labels": dict(one.labels), "refusal": one.refusal.as_json() if one.refusal else None}
            for one in self.targets
        ]
        return dump({"who": self.who, "issuer": self.issuer, "groups": self.groups, "targets": targets})

    @classmethod
    def decode(cls, data: bytes) -> "Catalog":
        return decode(
            data,
            "the gateway's list of targets",
            lambda body: cls(
                who=text(body, "who"),
                issuer=text(body, "issuer"),
                groups=texts(body, "groups"),
                targets=tuple(_entry(one) for one in body["targets"]),
            ),
        )


def tags_from(said: Json) -> Tags:
    """Tags out of a JSON object.

    Raises ProtocolError for a value that is no string or number, is longer than 256 characters, or holds control characters.
    """
    known: dict[str, Any] = {}  # Any: str or int by field, checked below
    for name in TAG_NAMES:
        value = said.get(name)
        if value is None:
            continue
        if name in ("try_number", "map_index"):
            if not isinstance(value, int) or isinstance(value, bool):
                raise ProtocolError(f"tag {name} is not a whole number")
        elif not isinstance(value, str) or len(value) > 256 or not value.isprintable():
            raise ProtocolError(f"tag {name} is not a printable text of at most 256 characters")
        known[name] = value
    return Tags(**known)


def _browser(body: Json | None) -> BrowserClient:
    plain = BrowserClient()
    if body is None:
        return plain
    ports = tuple(_port(one) for one in body.get("ports") or plain.ports)
    return BrowserClient(
        ports=ports,
        host=optional(body, "host") or plain.host,
        path=optional(body, "path") or plain.path,
        client_id=optional(body, "client_id"),
        client_secret=optional(body, "client_secret"),
    )


def _port(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 65_536:
        raise TypeError("ports is not a list of port numbers")
    return value


def _granted(body: Json) -> GrantedTarget:
    return GrantedTarget(
        name=text(body, "name"),
        protocol=text(body, "protocol"),
        rule=text(body, "rule"),
        place=text(body, "place"),
        database=optional(body, "database"),
        airflow_connection=optional(body, "airflow_connection"),
    )


def _entry(body: Json) -> CatalogEntry:
    refusal = body.get("refusal")
    return CatalogEntry(
        name=text(body, "name"),
        protocol=text(body, "protocol"),
        description=text(body, "description"),
        labels=dict(body["labels"]),
        database=optional(body, "database"),
        airflow_connection=optional(body, "airflow_connection"),
        rule=text(body, "rule"),
        place=text(body, "place"),
        refusal=None if refusal is None else Refused.from_json(refusal),
    )
