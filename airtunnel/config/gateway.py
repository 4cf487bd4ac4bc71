"""The gateway's configuration: one YAML file, read strictly. Paths in it are taken from its own directory."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from airtunnel.config.audit import AuditConfig as AuditConfig
from airtunnel.config.audit import read_audit
from airtunnel.config.authority import AuthorityFiles as AuthorityFiles
from airtunnel.config.authority import read_authority
from airtunnel.config.document import Node, fault, read_document
from airtunnel.config.provider import ClaimNames as ClaimNames
from airtunnel.config.provider import LoginFlow as LoginFlow
from airtunnel.config.provider import ProviderConfig as ProviderConfig
from airtunnel.config.provider import TokenKind as TokenKind
from airtunnel.config.provider import read_providers
from airtunnel.config.sessions import Admins as Admins
from airtunnel.config.sessions import SessionsConfig as SessionsConfig
from airtunnel.config.sessions import read_admins, read_sessions
from airtunnel.config.table import Table, boolean, count, duration, existing, file, host_port, path, text, whole
from airtunnel.model import Address

T = TypeVar("T")


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
class SshConfig:
    """compat_openssh: key exchanges that OpenSSH before 9.9 knows, too; max_unauthenticated: connections before login."""

    compat_openssh: bool = False
    login_timeout: timedelta = timedelta(seconds=20)
    max_unauthenticated: int = 100
    keepalive: timedelta = timedelta(seconds=15)


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    """All of it. `state`: the path of an SQLite file, or a postgresql:// URL (which may hold a password).

    environment: of the policy's targets, those with this label `env` are this gateway's; all of them, if None
    public: what clients dial; the listening addresses if the file does not say, so a port may be 0 until it is bound
    grant_ttl: how long a grant may open connections
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
    sessions: SessionsConfig = field(default_factory=SessionsConfig)
    admins: Admins = field(default_factory=Admins)
    environment: str | None = None


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
        providers=table.need("providers", read_providers),
        authority=table.take("authority", whole(read_authority), AuthorityFiles(here / "authority")),
        policy=table.need("policy", existing),
        environment=table.take("environment", text, None),
        state=table.take("state", _state, str(here / "state.db")),
        audit=table.take("audit", whole(read_audit), AuditConfig(here / "audit" / "audit.jsonl")),
        ssh=table.take("ssh", whole(_ssh), SshConfig()),
        grant_ttl=_inner(table, "grants", "ttl", duration, timedelta(minutes=5)),
        sessions=table.take("sessions", whole(read_sessions), SessionsConfig()),
        admins=table.take("admins", whole(read_admins), Admins()),
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


def _state(node: Node) -> str:
    # Not in the message: the URL may hold a password.
    if (where := text(node)).startswith("postgresql://"):
        return where
    if "://" in where:
        raise fault(node, "`state` is the path of an SQLite file or a postgresql:// URL")
    return str(path(node))


def _ssh(table: Table) -> SshConfig:
    plain = SshConfig()
    return SshConfig(
        compat_openssh=table.take("compat_openssh", boolean, plain.compat_openssh),
        login_timeout=table.take("login_timeout", duration, plain.login_timeout),
        max_unauthenticated=table.take("max_unauthenticated", count, plain.max_unauthenticated),
        keepalive=table.take("keepalive", duration, plain.keepalive),
    )
