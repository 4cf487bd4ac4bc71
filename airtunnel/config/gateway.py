"""The gateway's configuration: one YAML file, read strictly. Paths in it are taken from its own directory."""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from airtunnel.config.document import Node, fault, read_document
from airtunnel.config.table import (
    Table,
    boolean,
    choice,
    count,
    duration,
    each,
    existing,
    file,
    host_port,
    path,
    text,
    texts,
    whole,
)
from airtunnel.model import Address, BrowserClient, KeyBinding, PrincipalKind

T = TypeVar("T")


class TokenKind(StrEnum):
    """Which of a provider's tokens is presented to the gateway."""

    ACCESS = "access_token"
    ID = "id_token"


class LoginFlow(StrEnum):
    """How a person logs in: RFC 8628, or RFC 8252 with PKCE."""

    DEVICE = "device"
    BROWSER = "browser"


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The two ports. Port 0: any free one."""

    https: Address
    ssh: Address


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The certificate chain and key of the HTTPS port, as PEM."""

    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class ClaimNames:
    """Which claims hold what identifies, the name that people read and the groups, and which others rules may look at."""

    name: str = "email"
    groups: str = "groups"
    keep: tuple[str, ...] = ()
    subject: str = "sub"


@dataclass(frozen=True, slots=True)
class ProviderConfig:
    """An issuer whose tokens the gateway accepts. `audiences` is never empty: an empty list would accept any.

    client_id is empty where nobody logs in with a client of ours (workloads); ca: PEM file, or the system's trust store
    provider: the preset that the rest was filled up from; request, endpoints, pages: as in wire.control.Published
    clients: further clients whose tokens are accepted; required: claims that a token must have, with one of these values
    groups_file: YAML, group by group who is in it, for a provider that sends none
    """

    issuer: str
    audiences: tuple[str, ...]
    client_id: str = ""
    client_secret: str | None = field(default=None, repr=False)
    scopes: tuple[str, ...] = ("openid", "email", "offline_access")
    token: TokenKind = TokenKind.ACCESS
    flows: tuple[LoginFlow, ...] = (LoginFlow.DEVICE,)
    claims: ClaimNames = field(default_factory=ClaimNames)
    kind: PrincipalKind = PrincipalKind.PERSON
    ca: Path | None = None
    provider: str = "oidc"
    clients: tuple[str, ...] = ()
    browser: BrowserClient = field(default_factory=BrowserClient)
    request: Mapping[str, str] = field(default_factory=dict)
    endpoints: Mapping[str, str] = field(default_factory=dict)
    pages: tuple[str, ...] = ()
    binding: KeyBinding = KeyBinding.NONE
    required: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    groups_file: Path | None = None


@dataclass(frozen=True, slots=True)
class AuthorityFiles:
    """Where the gateway's own keys are: the CAs that sign users' and hosts' certificates, and the SSH host key."""

    directory: Path

    @property
    def user_ca(self) -> Path:
        return self.directory / "user_ca"

    @property
    def host_ca(self) -> Path:
        return self.directory / "host_ca"

    @property
    def host_key(self) -> Path:
        return self.directory / "host_key"


@dataclass(frozen=True, slots=True)
class AuditConfig:
    """required: what cannot be recorded does not start; fsync: a record is on the disk before access is given."""

    file: Path
    required: bool = True
    fsync: bool = True


@dataclass(frozen=True, slots=True)
class SshConfig:
    """compat_openssh: key exchanges that OpenSSH before 9.9 knows, too; max_unauthenticated: connections before login."""

    compat_openssh: bool = False
    login_timeout: timedelta = timedelta(seconds=20)
    max_unauthenticated: int = 100
    keepalive: timedelta = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """All of it. `state`: the path of an SQLite file, or a postgresql:// URL (which may hold a password).

    public: what clients dial; the listening addresses if the file does not say, so a port may be 0 until it is bound
    grant_ttl: how long a grant may open connections; drain: how long running ones may go on after SIGTERM
    """

    name: str
    listen: Endpoints
    public: Endpoints
    tls: TlsFiles
    providers: tuple[ProviderConfig, ...]
    authority: AuthorityFiles
    policy: Path
    state: str = field(repr=False)
    audit: AuditConfig
    ssh: SshConfig = field(default_factory=SshConfig)
    grant_ttl: timedelta = timedelta(minutes=5)
    drain: timedelta = timedelta(seconds=30)


def load_gateway(path: Path) -> GatewayConfig:
    """The configuration in the file at `path`. Raises ConfigError: `gateway.yaml:12:5: ...`."""
    return whole(_gateway)(read_document(path))


def _gateway(table: Table) -> GatewayConfig:
    here = table.node.source.directory
    listen = table.take("listen", whole(_listen), Endpoints(Address("127.0.0.1", 8443), Address("127.0.0.1", 2222)))
    public = table.take("public", whole(lambda inner: _public(inner, listen)), None)
    if public is None:
        _dialled(table, listen, "listen")
    public = public or listen
    return GatewayConfig(
        name=table.take("name", text, public.https.host),
        listen=listen,
        public=public,
        tls=table.need("tls", whole(lambda inner: TlsFiles(inner.need("certificate", file), inner.need("key", file)))),
        providers=table.need("providers", _providers),
        authority=AuthorityFiles(_inner(table, "authority", "directory", path, here / "authority")),
        policy=table.need("policy", existing),
        state=table.take("state", _state, str(here / "state.db")),
        audit=table.take("audit", whole(_audit), AuditConfig(here / "audit" / "audit.jsonl")),
        ssh=table.take("ssh", whole(_ssh), SshConfig()),
        grant_ttl=_inner(table, "grants", "ttl", duration, timedelta(minutes=5)),
        drain=_inner(table, "sessions", "drain", duration, timedelta(seconds=30)),
    )


def _inner(table: Table, outer: str, key: str, read: Callable[[Node], T], default: T) -> T:
    """The value of the only key of a table that may be missing."""
    return table.take(outer, whole(lambda inner: inner.take(key, read, default)), default)


def _listen(table: Table) -> Endpoints:
    https = table.take("https", host_port, Address("127.0.0.1", 8443))
    return Endpoints(https, table.take("ssh", host_port, Address("127.0.0.1", 2222)))


def _public(table: Table, listen: Endpoints) -> Endpoints:
    ends = Endpoints(table.take("https", host_port, listen.https), table.take("ssh", host_port, listen.ssh))
    _dialled(table, ends)
    return ends


def _dialled(table: Table, ends: Endpoints, at: str = "") -> None:
    for name, end in (("https", ends.https), ("ssh", ends.ssh)):
        if end.host in ("0.0.0.0", "::"):  # noqa: S104  refused here, not bound
            raise table.fault(at or name, f"nobody can dial {end.host}; say what clients dial: `public: {{{name}: HOST:PORT}}`")


def _providers(node: Node) -> tuple[ProviderConfig, ...]:
    providers = each(whole(_provider))(node)
    if not providers:
        raise fault(node, "`providers` is an empty list: nobody could log in")
    if providers[0].kind is not PrincipalKind.PERSON:
        raise fault(node, "the first of `providers` is the one people log in with: put one of kind person there")
    issuers = [one.issuer for one in providers]
    for issuer in issuers:
        if issuers.count(issuer) > 1:
            raise fault(node, f"the issuer {issuer} stands in `providers` twice")
    return providers


def _provider(table: Table) -> ProviderConfig:
    kind = table.take("kind", choice(PrincipalKind), PrincipalKind.PERSON)
    plain = ProviderConfig("", ())
    return ProviderConfig(
        issuer=table.need("issuer", _issuer),
        audiences=table.need("audiences", texts),
        client_id=table.need("client_id", text) if kind is PrincipalKind.PERSON else table.take("client_id", text, ""),
        client_secret=table.take("client_secret", text, None),
        scopes=table.take("scopes", texts, plain.scopes),
        token=table.take("token", choice(TokenKind), plain.token),
        flows=table.take("flows", _flows, plain.flows),
        claims=table.take("claims", whole(_claims), plain.claims),
        kind=kind,
        ca=table.take("ca", file, None),
    )


def _flows(node: Node) -> tuple[LoginFlow, ...]:
    if not (flows := each(choice(LoginFlow))(node)):
        raise fault(node, "`flows` is an empty list: nobody could log in")
    return flows


def _claims(table: Table) -> ClaimNames:
    plain = ClaimNames()
    return ClaimNames(
        table.take("name", text, plain.name), table.take("groups", text, plain.groups), table.take("keep", texts, plain.keep)
    )


def _issuer(node: Node) -> str:
    """An issuer to the letter (OpenID Connect Discovery 1.0, section 3: https, no query, no fragment); http on loopback."""
    issuer = text(node)
    try:
        parts = urlsplit(issuer)
        host, _ = parts.hostname or "", parts.port
    except ValueError as error:
        raise fault(node, "`issuer` is not a URL") from error
    if not host or parts.username is not None or "?" in issuer or "#" in issuer or " " in issuer:
        raise fault(node, "`issuer` is not a URL like https://login.example.com")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise fault(node, "`issuer` must be https: whoever can change an answer of it could be anybody")
    return issuer


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _state(node: Node) -> str:
    # Not in the message: the URL may hold a password.
    if (where := text(node)).startswith("postgresql://"):
        return where
    if "://" in where:
        raise fault(node, "`state` is the path of an SQLite file or a postgresql:// URL")
    return str(path(node))


def _audit(table: Table) -> AuditConfig:
    where = table.take("file", path, table.node.source.directory / "audit" / "audit.jsonl")
    return AuditConfig(where, table.take("required", boolean, True), table.take("fsync", boolean, True))


def _ssh(table: Table) -> SshConfig:
    plain = SshConfig()
    return SshConfig(
        compat_openssh=table.take("compat_openssh", boolean, plain.compat_openssh),
        login_timeout=table.take("login_timeout", duration, plain.login_timeout),
        max_unauthenticated=table.take("max_unauthenticated", count, plain.max_unauthenticated),
        keepalive=table.take("keepalive", duration, plain.keepalive),
    )
