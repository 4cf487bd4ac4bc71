"""The entries of `providers:` in the gateway's configuration: whose tokens are accepted, and how people log in."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from urllib.parse import urlsplit

from airtunnel.config.document import Node, fault
from airtunnel.config.login import Login, check_usable, no_login, own_keys, read_login
from airtunnel.config.presets import OIDC, PRESETS, Preset
from airtunnel.config.presets import ClaimNames as ClaimNames
from airtunnel.config.presets import LoginFlow as LoginFlow
from airtunnel.config.presets import TokenKind as TokenKind
from airtunnel.config.table import Table, choice, each, file, likely, text, texts, whole
from airtunnel.config.url import HOST, url_text
from airtunnel.config.values import cut
from airtunnel.model import BrowserClient, KeyBinding, PrincipalKind

ENDPOINTS = (
    "authorization_endpoint",
    "device_authorization_endpoint",
    "jwks_uri",
    "revocation_endpoint",
    "token_endpoint",
)
"""What of a provider's metadata may be written by hand (OpenID Connect Discovery 1.0 section 3, RFC 8414, RFC 8628)."""

_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


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
    scopes: tuple[str, ...] = OIDC.scopes
    token: TokenKind = OIDC.token
    flows: tuple[LoginFlow, ...] = OIDC.flows
    claims: ClaimNames = field(default_factory=ClaimNames)
    kind: PrincipalKind = PrincipalKind.PERSON
    ca: Path | None = None
    provider: str = OIDC.name
    clients: tuple[str, ...] = ()
    browser: BrowserClient = field(default_factory=BrowserClient)
    request: Mapping[str, str] = field(default_factory=dict)
    endpoints: Mapping[str, str] = field(default_factory=dict)
    pages: tuple[str, ...] = ()
    binding: KeyBinding = KeyBinding.NONE
    required: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    groups_file: Path | None = None

    @property
    def client_ids(self) -> tuple[str, ...]:
        """Every client whose tokens are accepted; any client's, if empty."""
        named = (self.client_id, self.browser.client_id, *self.clients)
        return tuple(dict.fromkeys(one for one in named if one))


def read_providers(node: Node) -> tuple[ProviderConfig, ...]:
    """The entries of `providers`, of which the first is the one that people log in with. Raises ConfigError."""
    providers = each(whole(_provider))(node)
    if not providers:
        raise fault(node, "`providers` is an empty list: nobody could log in")
    if providers[0].kind is not PrincipalKind.PERSON:
        raise fault(node, "the first of `providers` is the one people log in with: put one of kind person there")
    for one, other in combinations(providers, 2):
        if one.issuer == other.issuer and one.kind is not other.kind:
            _check_apart(node, *((one, other) if one.kind is PrincipalKind.PERSON else (other, one)))
        if one.issuer == other.issuer and not _distinct(one, other):
            raise fault(
                node,
                f"the issuer {one.issuer} stands in `providers` twice, and its tokens could be of either: "
                "give the two other `audiences`, or other clients (`client_id`, `clients`)",
            )
    return providers


def _check_apart(node: Node, people: ProviderConfig, workload: ProviderConfig) -> None:
    """Whom its provider lets choose an audience could choose the workloads', and be one of them, without any key binding."""
    clients = set(workload.client_ids)
    if not workload.required and (not clients or clients & set(people.client_ids)):
        raise fault(
            node,
            f"people and workloads are both known by {people.issuer}: say which clients are workloads "
            "(`clients: [...]`, others than the people's), or what their tokens have (`required: {...}`)",
        )


def _distinct(one: ProviderConfig, other: ProviderConfig) -> bool:
    """Whether a token of their common issuer fits at most one of them."""
    apart = set(one.client_ids).isdisjoint(other.client_ids) and one.client_ids and other.client_ids
    return bool(apart) or set(one.audiences).isdisjoint(other.audiences)


def _provider(table: Table) -> ProviderConfig:
    preset = table.take("provider", _preset, OIDC)
    kind = table.take("kind", choice(PrincipalKind), preset.kind)
    if kind is PrincipalKind.PERSON and preset.kind is not kind:
        raise table.fault("kind", f"{preset.name} speaks for workloads, not for people: leave `kind` out")
    issuer = _issuer_of(table, preset)
    token = table.take("token", choice(TokenKind), preset.token if kind is PrincipalKind.PERSON else TokenKind.ACCESS)
    check_usable(table, preset, "token", token)
    login = read_login(table, preset, token) if kind is PrincipalKind.PERSON else no_login(table)
    common = ProviderConfig(
        issuer=issuer,
        audiences=_audiences(table, preset, login, issuer, token),
        client_id=login.client_id,
        client_secret=login.client_secret,
        scopes=login.scopes,
        token=token,
        flows=login.flows,
        claims=table.take("claims", whole(lambda inner: _claims(inner, preset.claims_of(token))), preset.claims_of(token)),
        kind=kind,
        ca=table.take("ca", file, None),
        provider=preset.name,
        clients=table.take("clients", texts, ()),
        browser=login.browser,
        request=login.request,
        endpoints=table.take("endpoints", _endpoints, {}),
        pages=login.pages,
        binding=login.binding,
        required=_required(table, kind, issuer),
        groups_file=table.take("groups_file", file, None),
    )
    return _with_audience(common, preset)


def _preset(node: Node) -> Preset:
    name = text(node)
    if name not in PRESETS:
        raise fault(node, f"`provider` is one of {', '.join(PRESETS)}, not `{cut(name)}`{likely(name, PRESETS)}")
    return PRESETS[name]


def _issuer_of(table: Table, preset: Preset) -> str:
    """As it is written, made of the preset's short form, or the one that all the provider's customers share."""
    short = table.take(preset.short, text, None) if preset.short else None
    issuer = table.take("issuer", _issuer, None)
    if short is not None and issuer is not None:
        raise table.fault(preset.short, f"`{preset.short}` and `issuer` say the same thing: leave one of them out")
    if short is not None:
        form, example = (
            (_GUID, "11111111-2222-3333-4444-555555555555") if preset.short == "tenant" else (HOST, "acme.example.com")
        )
        if not form.fullmatch(short.lower()):
            raise table.fault(preset.short, f"`{preset.short}` is like {example}, not `{cut(short)}`")
        return preset.pattern.format(short.lower())
    if issuer is None and preset.issuer:
        return preset.issuer
    if issuer is None:
        return table.need(preset.short or "issuer", _issuer)
    if preset.name == "entra" and not any(map(_GUID.fullmatch, urlsplit(issuer).path.split("/"))):
        # Its metadata names `{tenantid}`, so that no token's issuer is the same to the letter; and anybody is in there.
        raise table.fault("issuer", "an issuer of Entra ID's that holds no tenant's id is everybody's: `tenant: ID` instead")
    return issuer


def _audiences(table: Table, preset: Preset, login: Login, issuer: str, token: TokenKind) -> tuple[str, ...]:
    logins = tuple(dict.fromkeys(one for one in (login.client_id, login.browser.client_id) if one))
    made = issuer.endswith(preset.pattern.partition("{}")[2])
    if preset.name == "okta" and token is TokenKind.ACCESS and "/oauth2/" not in issuer:
        raise table.fault("issuer", "Okta's own authorization server makes access tokens for Okta alone: `token: id_token`")
    if "audiences" not in table and token is TokenKind.ID and logins:
        return logins
    if "audiences" not in table and token is TokenKind.ACCESS and preset.audiences and made:
        return preset.audiences
    audiences = table.need("audiences", texts)
    if not logins and issuer in audiences:
        # Kubernetes: the token that every pod has for the API server says so, and lies in every container.
        raise table.fault("audiences", "an audience that is the issuer itself is in tokens made for it, not for this gateway")
    for client in logins if token is TokenKind.ID else ():
        if client not in audiences:
            raise table.fault("audiences", f"an ID token is made for its client: `audiences` lacks {cut(client)}")
    return audiences


def _with_audience(provider: ProviderConfig, preset: Preset) -> ProviderConfig:
    """With the parameter that asks for the audience, where the preset's provider needs one."""
    people = provider.kind is PrincipalKind.PERSON
    if not (preset.asks_audience and people and provider.token is TokenKind.ACCESS) or "audience" in provider.request:
        return provider
    return replace(provider, request={"audience": provider.audiences[0], **provider.request})


def _required(table: Table, kind: PrincipalKind, issuer: str) -> Mapping[str, tuple[str, ...]]:
    public = next((one for one in PRESETS.values() if one.anybody and one.issuer == issuer and one.kind is kind), None)
    if public is not None and "required" not in table:
        raise table.fault(
            "required",
            f"{public.anybody} can have a token for this gateway; say whose you take: "
            f"`required: {{{public.demand}}}`, or `required: {{}}` for everybody's",
        )
    return table.take("required", lambda node: own_keys(node, texts), {})


def _claims(table: Table, plain: ClaimNames) -> ClaimNames:
    return ClaimNames(
        name=table.take("name", text, plain.name),
        groups=table.take("groups", text, plain.groups),
        keep=table.take("keep", texts, plain.keep),
        subject=table.take("subject", text, plain.subject),
    )


def _endpoints(node: Node) -> Mapping[str, str]:
    table = Table(node)
    found = {name: table.take(name, url_text, None) for name in ENDPOINTS}
    table.done()
    return {name: url for name, url in found.items() if url is not None}


def _issuer(node: Node) -> str:
    """An issuer to the letter (OpenID Connect Discovery 1.0, section 3): `_url` without a query."""
    issuer = url_text(node)
    if "?" in issuer:
        raise fault(node, "`issuer` is not a URL like https://login.example.com")
    return issuer
