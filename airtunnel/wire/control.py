"""The control API's bodies: what client and gateway say to each other over HTTPS, as JSON.

GET  /.well-known/airtunnel                                   -> Published    (no token)
GET  /v1/targets         Authorization: Bearer                -> Catalog      who I am, what I may reach, why not the rest
POST /v1/grants          Authorization: Bearer, GrantRequest  -> GrantReply   201, or 403 problem+json with a refusal
POST /v1/logout          Authorization: Bearer                -> 204          ends every session of this principal

Unknown fields are ignored, so that either side may be the newer one; a missing or wrong one is a ProtocolError.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from airtunnel.errors import ProtocolError, Refused
from airtunnel.model import TAG_NAMES, BrowserClient, Tags

WELL_KNOWN = "/.well-known/airtunnel"
MAX_BODY = 64 * 1024
"""Bytes. A grant request holds a public key and tags; nothing honest is larger."""

Json = Mapping[str, Any]  # Any: what json.loads gives
T = TypeVar("T")


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
        return _dump(asdict(self))

    @classmethod
    def decode(cls, data: bytes) -> "Published":
        return _decode(
            data,
            "the gateway's published configuration",
            lambda body: cls(
                name=_text(body, "name"),
                issuer=_text(body, "issuer"),
                client_id=_text(body, "client_id"),
                scopes=_texts(body, "scopes"),
                flows=_texts(body, "flows"),
                token=_text(body, "token"),
                ssh_host=_text(body, "ssh_host"),
                ssh_port=_number(body, "ssh_port"),
                host_cas=_texts(body, "host_cas"),
                version=_text(body, "version"),
                client_secret=_optional(body, "client_secret"),
                provider=_optional(body, "provider") or "oidc",
                binding=_optional(body, "binding") or "none",
                browser=_browser(body.get("browser")),
                request=_mapping(body, "request"),
                endpoints=_mapping(body, "endpoints"),
                pages=_texts(body, "pages") if body.get("pages") else (),
                ca=_optional(body, "ca"),
                workloads=tuple(
                    WorkloadIssuer(_text(one, "issuer"), _text(one, "provider"), _text(one, "audience"))
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
        return _dump({"targets": self.targets, "public_key": self.public_key, "tags": self.tags.said()})

    @classmethod
    def decode(cls, data: bytes) -> "GrantRequest":
        return _decode(
            data,
            "the grant request",
            lambda body: cls(
                targets=_texts(body, "targets"), public_key=_text(body, "public_key"), tags=tags_from(body.get("tags", {}))
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
        return _dump(asdict(self) | times)

    @classmethod
    def decode(cls, data: bytes) -> "GrantReply":
        return _decode(
            data,
            "the gateway's grant",
            lambda body: cls(
                session=_word(body, "session"),
                certificate=_text(body, "certificate"),
                who=_text(body, "who"),
                valid_before=_time(body, "valid_before"),
                ends_at=_time(body, "ends_at"),
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
        return _dump({"who": self.who, "issuer": self.issuer, "groups": self.groups, "targets": targets})

    @classmethod
    def decode(cls, data: bytes) -> "Catalog":
        return _decode(
            data,
            "the gateway's list of targets",
            lambda body: cls(
                who=_text(body, "who"),
                issuer=_text(body, "issuer"),
                groups=_texts(body, "groups"),
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


def _decode(data: bytes, what: str, build: Callable[[Json], T]) -> T:
    """What `build` makes of the JSON object in `data`; any mismatch becomes a ProtocolError that names `what`."""
    if len(data) > MAX_BODY * 16:
        raise ProtocolError(f"{what} is too large: {len(data)} bytes")
    try:
        body = json.loads(data)
        if not isinstance(body, dict):
            raise ProtocolError(f"{what} is not a JSON object")
        return build(body)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ProtocolError(f"{what} does not have the expected form: {type(error).__name__}: {error}") from error


def _dump(body: Json) -> bytes:
    return json.dumps(body, separators=(",", ":"), default=dict).encode()


def _text(body: Json, name: str) -> str:
    if not isinstance(value := body[name], str):
        raise TypeError(f"{name} is not a text")
    return value


def _word(body: Json, name: str) -> str:
    """A text that may stand in other programs' files and command lines: at most 64 letters and digits."""
    if not (value := _text(body, name)).isascii() or not value.isalnum() or len(value) > 64:
        raise ValueError(f"{name} is not a word")
    return value


def _optional(body: Json, name: str) -> str | None:
    return None if body.get(name) is None else _text(body, name)


def _texts(body: Json, name: str) -> tuple[str, ...]:
    if not isinstance(value := body[name], list) or not all(isinstance(one, str) for one in value):
        raise TypeError(f"{name} is not a list of texts")
    return tuple(value)


def _mapping(body: Json, name: str) -> dict[str, str]:
    value = body.get(name) or {}
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise TypeError(f"{name} is not an object of texts")
    return value


def _browser(body: Json | None) -> BrowserClient:
    plain = BrowserClient()
    if body is None:
        return plain
    ports = tuple(_port(one) for one in body.get("ports") or plain.ports)
    return BrowserClient(
        ports=ports,
        host=_optional(body, "host") or plain.host,
        path=_optional(body, "path") or plain.path,
        client_id=_optional(body, "client_id"),
        client_secret=_optional(body, "client_secret"),
    )


def _port(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 65_536:
        raise TypeError("ports is not a list of port numbers")
    return value


def _number(body: Json, name: str) -> int:
    if not isinstance(value := body[name], int):
        raise TypeError(f"{name} is not a whole number")
    return value


def _time(body: Json, name: str) -> datetime:
    moment = datetime.fromisoformat(_text(body, name))
    if moment.tzinfo is None:
        raise ValueError(f"{name} has no time zone")
    return moment


def _granted(body: Json) -> GrantedTarget:
    return GrantedTarget(
        name=_text(body, "name"),
        protocol=_text(body, "protocol"),
        rule=_text(body, "rule"),
        place=_text(body, "place"),
        database=_optional(body, "database"),
        airflow_connection=_optional(body, "airflow_connection"),
    )


def _entry(body: Json) -> CatalogEntry:
    refusal = body.get("refusal")
    return CatalogEntry(
        name=_text(body, "name"),
        protocol=_text(body, "protocol"),
        description=_text(body, "description"),
        labels=dict(body["labels"]),
        database=_optional(body, "database"),
        airflow_connection=_optional(body, "airflow_connection"),
        rule=_text(body, "rule"),
        place=_text(body, "place"),
        refusal=None if refusal is None else Refused.from_json(refusal),
    )
