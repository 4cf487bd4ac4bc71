"""From the providers of the configuration to what clients are told of them, and to whose tokens are accepted."""

from collections.abc import Iterable
from pathlib import Path

from airtunnel import __version__
from airtunnel.config.gateway import GatewayConfig, ProviderConfig
from airtunnel.errors import ConfigError
from airtunnel.identity.verify.claims import ClaimMap
from airtunnel.identity.verify.groups import GroupsFile
from airtunnel.identity.verify.verifier import TrustedIssuer
from airtunnel.model import PrincipalKind
from airtunnel.wire.control import Published, WorkloadIssuer


def publish(config: GatewayConfig, *, ssh_port: int, host_cas: tuple[str, ...]) -> Published:
    """What the gateway says of itself. ssh_port: where it listens, if the configuration leaves that to the system.

    Raises ConfigError if the authorities of the provider that people log in with cannot be read.
    """
    login = config.providers[0]
    return Published(
        name=config.name,
        issuer=login.issuer,
        client_id=login.client_id,
        client_secret=login.client_secret,
        scopes=login.scopes,
        flows=tuple(login.flows),
        token=login.token,
        ssh_host=config.public.ssh.host,
        ssh_port=config.public.ssh.port or ssh_port,
        host_cas=host_cas,
        version=__version__,
        provider=login.provider,
        binding=login.binding,
        browser=login.browser,
        request=login.request,
        endpoints=login.endpoints,
        pages=login.pages,
        ca=None if login.ca is None else _pem(login.ca),
        workloads=tuple(
            WorkloadIssuer(one.issuer, one.provider, one.audiences[0])
            for one in config.providers
            if one.kind is PrincipalKind.WORKLOAD
        ),
    )


def trusted(providers: Iterable[ProviderConfig]) -> list[TrustedIssuer]:
    """The issuers whose tokens are accepted. Raises ConfigError for a file of groups that cannot be read."""
    return [_trusted(one) for one in providers]


def _trusted(provider: ProviderConfig) -> TrustedIssuer:
    claims = provider.claims
    return TrustedIssuer(
        issuer=provider.issuer,
        audiences=provider.audiences,
        client_ids=provider.client_ids,
        token=provider.token,
        claims=ClaimMap(name=claims.name, groups=claims.groups, kept=claims.keep, subject=claims.subject),
        kind=provider.kind,
        ca=provider.ca,
        binding=provider.binding,
        required=provider.required,
        groups=None if provider.groups_file is None else GroupsFile(provider.groups_file).of,
        endpoints=provider.endpoints,
    )


def _pem(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read as PEM: {error}") from error
