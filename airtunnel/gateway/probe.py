"""`gateway check --provider`: asks each provider what it is, and says in plain lines what will work and what will fail."""

import functools
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from airtunnel.config.gateway import LoginFlow, ProviderConfig, TokenKind
from airtunnel.errors import AirtunnelError
from airtunnel.identity.answer import Json
from airtunnel.identity.endpoint import secure_url
from airtunnel.identity.http import get_json, http_client
from airtunnel.identity.verify.keys import read_keys
from airtunnel.model import KeyBinding, PrincipalKind

DISCOVERY = "/.well-known/openid-configuration"
ALGORITHM = "ES256"
"""Of our proofs (RFC 9449)."""
SHOWN = 12
"""Words of a list that are shown."""


class Mark(StrEnum):
    """What a finding means: it works; it may fail, or cannot be seen from here; nobody will get in this way."""

    GOOD = "good"
    DOUBT = "doubt"
    FAULT = "fault"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line about a provider. `text` names what to change, where something is to be changed."""

    mark: Mark
    text: str


@dataclass(frozen=True, slots=True)
class Probed:
    """What was found at a provider. `hint`: what to type to look at it oneself."""

    issuer: str
    provider: str
    findings: tuple[Finding, ...]
    hint: str | None = None

    @property
    def works(self) -> bool:
        """Whether nothing was found that must fail."""
        return all(one.mark is not Mark.FAULT for one in self.findings)


async def probe(provider: ProviderConfig) -> Probed:
    """What the provider's metadata and keys say, fetched as the gateway does. Raises ConfigError for a `ca` of no use."""
    async with http_client(ca=provider.ca) as client:
        fetch = functools.partial(get_json, client)
        findings: list[Finding] = []
        try:
            # A workload's issuer need publish nothing but its keys, and the configuration may say where those are.
            alone = provider.kind is PrincipalKind.WORKLOAD and "jwks_uri" in provider.endpoints
            body = {} if alone else await fetch(provider.issuer.removesuffix("/") + DISCOVERY)
            findings += () if alone else _about(body, provider)
            findings.append(await _keys({**body, **provider.endpoints}, fetch))
        except AirtunnelError as error:
            findings += [Finding(Mark.FAULT, error.message), *_advice(provider)]
            return Probed(provider.issuer, provider.provider, tuple(findings), error.hint)
    return Probed(provider.issuer, provider.provider, tuple(findings))


async def _keys(body: Json, fetch: Callable[[str], Awaitable[Json]]) -> Finding:
    """What the keys are good for. Raises ProtocolError, Unreachable, Temporary."""
    address = str(body.get("jwks_uri"))
    secure_url(address, "the provider's jwks_uri")
    usable = [key for key in read_keys(await fetch(address)) if key.get("use") in (None, "sig")]
    if not usable:
        return Finding(Mark.FAULT, f"keys: none of those at {address} can verify a token")
    kinds = ", ".join(sorted({str(key.get("alg") or key.key_type) for key in usable}))
    return Finding(Mark.GOOD, f"keys: {len(usable)} to verify tokens with ({kinds})")


def _about(body: Json, provider: ProviderConfig) -> Iterator[Finding]:
    """What the metadata says of the configuration."""
    if (named := body.get("issuer")) == provider.issuer:
        yield Finding(Mark.GOOD, f"issuer: {provider.issuer}")
    else:
        yield Finding(
            Mark.FAULT,
            f"it calls itself {str(named)[:200]!a}: `issuer` must be the same to the letter, also a slash at its end",
        )
    for name in provider.endpoints:
        yield Finding(Mark.GOOD, f"{name}: the one of the configuration")
    if provider.kind is PrincipalKind.PERSON:
        merged = {**body, **provider.endpoints}
        yield from _flows(merged, provider)
        yield from _scopes(merged, provider)
        yield from _binding(merged, provider)


def _flows(body: Json, provider: ProviderConfig) -> Iterator[Finding]:
    if not body.get("token_endpoint"):
        yield Finding(Mark.FAULT, "it has no token endpoint, so nobody can log in")
    if LoginFlow.DEVICE in provider.flows:
        yield (
            Finding(Mark.GOOD, "device flow: it has an endpoint for it; whether the client may use it shows at a login")
            if body.get("device_authorization_endpoint")
            else Finding(Mark.FAULT, "it offers no device flow: take `device` out of `flows`, or switch it on there")
        )
    if LoginFlow.BROWSER not in provider.flows:
        return
    if not body.get("authorization_endpoint"):
        yield Finding(Mark.FAULT, "it offers no login in the browser: take `browser` out of `flows`")
        return
    client = provider.browser
    shown = f"[{client.host}]" if ":" in client.host else client.host
    addresses = [f"http://{shown}{f':{port}' if port else ':ANY-PORT'}{client.path}" for port in client.ports]
    yield Finding(Mark.GOOD, f"browser flow: it comes back to {' or '.join(addresses)}, which must be allowed there")
    methods = _words(body, "code_challenge_methods_supported")
    if methods is None:
        yield Finding(Mark.DOUBT, "browser flow: it does not say that it knows PKCE with S256 (Entra ID and Cognito do)")
    elif "S256" not in methods:
        yield Finding(Mark.FAULT, "browser flow: it does not know PKCE with S256, without which no login begins")


def _scopes(body: Json, provider: ProviderConfig) -> Iterator[Finding]:
    known = _words(body, "scopes_supported")
    missing = [] if known is None else [one for one in provider.scopes if one not in known]
    if missing:
        # OpenID Connect Discovery 1.0 section 3: a provider need not list all of them. Okta and Entra list few.
        yield Finding(
            Mark.DOUBT,
            f"scopes: it does not list {', '.join(missing)}; it lists {', '.join((known or [])[:SHOWN])}",
        )
    elif known is not None:
        yield Finding(Mark.GOOD, f"scopes: {' '.join(provider.scopes)}")


def _binding(body: Json, provider: ProviderConfig) -> Iterator[Finding]:
    algorithms = _words(body, "dpop_signing_alg_values_supported") or []
    if provider.binding is KeyBinding.DPOP and ALGORITHM not in algorithms:
        yield Finding(Mark.FAULT, f"binding: it does not list DPoP with {ALGORITHM}: `binding: none`, or switch it on there")
    elif provider.binding in (KeyBinding.DPOP, KeyBinding.AUTO) and ALGORITHM in algorithms:
        yield Finding(Mark.GOOD, "binding: tokens are tied to the machine that logged in (DPoP)")
    elif provider.binding is KeyBinding.AUTO:
        yield Finding(Mark.DOUBT, "binding is `auto`, and it offers no DPoP: tokens are not tied to a machine")
    elif provider.binding is KeyBinding.NONCE:
        yield Finding(Mark.GOOD, "binding: ID tokens are tied to the machine that logged in (nonce)")
    elif provider.token is TokenKind.ACCESS and ALGORITHM in algorithms:
        yield Finding(Mark.DOUBT, "binding: it offers DPoP; with `binding: dpop` a stolen token would be worth nothing")


def _advice(provider: ProviderConfig) -> Iterator[Finding]:
    """What it is most often, where something cannot be fetched."""
    if provider.provider == "kubernetes":
        yield Finding(
            Mark.DOUBT,
            "a cluster's issuer often has an authority of its own (`ca:`, /var/run/secrets/kubernetes.io/serviceaccount/ca.crt "
            "in a pod), and tells its keys only to who may read them: kubectl create clusterrolebinding oidc-discovery "
            "--clusterrole=system:service-account-issuer-discovery --group=system:unauthenticated",
        )
    if provider.ca is None and provider.issuer.startswith("https:"):
        yield Finding(Mark.DOUBT, "does your company sign its certificate itself? Then `ca: company-ca.pem` in this entry")
    if provider.provider in ("auth0", "keycloak", "okta", "oidc"):
        yield Finding(
            Mark.DOUBT,
            f"is `issuer` right, to the letter? Its metadata should be at {provider.issuer.removesuffix('/')}{DISCOVERY}",
        )


def _words(body: Json, name: str) -> list[str] | None:
    """The list of words under a name; None if there is none."""
    value = body.get(name)
    return [str(one) for one in value] if isinstance(value, list) else None
