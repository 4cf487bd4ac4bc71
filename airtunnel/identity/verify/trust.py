"""Whose tokens the gateway takes, and which: what the configuration says of an issuer, refused where it would take too much."""

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from airtunnel.errors import ConfigError, ProtocolError, TokenRejected
from airtunnel.identity.answer import Json
from airtunnel.identity.endpoint import secure_url
from airtunnel.identity.verify.claims import ClaimMap
from airtunnel.identity.verify.signature import ALGORITHMS
from airtunnel.model import KeyBinding, PrincipalKind

MAX_QUOTED = 120
"""Characters of a stranger's text in a reason."""
TOKENS = ("access_token", "id_token")
# Whom a token was given to: OpenID Connect, RFC 9068, Okta, Entra v1.
_CLIENTS = ("azp", "client_id", "cid", "appid")


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """An issuer whose tokens the gateway takes, or one kind of its tokens: several of these may share an issuer.

    audiences: of which a token must name one; client_ids: the clients that a token may have been given to (any, if empty)
    token: `access_token` or `id_token`; kind: what its tokens speak of; ca: the provider's authorities, as in `http_client`
    max_age: how long ago a token may have been issued, whatever its expiry
    binding: what ties its tokens to a key. One that names a key needs that key's proof with any binding
    required: claims, by their paths, that a token must have with one of these texts
    groups: further groups of a person, by name and subject; endpoints: `jwks_uri`, where its metadata is not to be asked
    Raises ConfigError for what would accept too much, or nothing at all.
    """

    issuer: str
    audiences: tuple[str, ...]
    client_ids: tuple[str, ...] = ()
    token: str = "access_token"  # noqa: S105 a kind, not a token
    claims: ClaimMap = field(default_factory=ClaimMap)
    kind: PrincipalKind = PrincipalKind.PERSON
    ca: Path | None = None
    algorithms: tuple[str, ...] = tuple(ALGORITHMS)
    max_age: timedelta = timedelta(hours=24)
    binding: KeyBinding = KeyBinding.NONE
    required: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    groups: Callable[[str, str], tuple[str, ...]] | None = None
    endpoints: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check_address(self.issuer, "the issuer")
        if "jwks_uri" in self.endpoints:
            _check_address(self.endpoints["jwks_uri"], f"issuer {self.issuer}: jwks_uri")
        # joserfc takes an empty list of audiences for "any".
        if not self.audiences or not all(self.audiences):
            raise ConfigError(f"issuer {self.issuer}: audiences is empty, so tokens made for anybody would be accepted")
        if self.token not in TOKENS:
            raise ConfigError(f"issuer {self.issuer}: token is neither access_token nor id_token")
        if not self.algorithms or not set(self.algorithms) <= set(ALGORITHMS):
            raise ConfigError(f"issuer {self.issuer}: algorithms must be among {', '.join(ALGORITHMS)}")
        fitting = {KeyBinding.DPOP: "access_token", KeyBinding.NONCE: "id_token"}.get(self.binding, self.token)
        if self.token != fitting:
            raise ConfigError(f"issuer {self.issuer}: binding {self.binding} is of an {fitting}, and token is {self.token}")
        for path, wanted in self.required.items():
            if isinstance(wanted, str) or not wanted:
                raise ConfigError(f"issuer {self.issuer}: required claim {path} has no list of values")

    @property
    def clients(self) -> tuple[str, ...]:
        """The clients that a token may have been given to; empty: any. An ID token is made for its client."""
        return self.client_ids or (self.audiences if self.token == "id_token" else ())  # noqa: S105 a kind, not a token


def by_issuer(trusted: Iterable[TrustedIssuer]) -> dict[str, tuple[TrustedIssuer, ...]]:
    """The entries of each issuer. Raises ConfigError if a token could be for two of them, or its keys in two places."""
    entries: defaultdict[str, list[TrustedIssuer]] = defaultdict(list)
    for one in trusted:
        entries[one.issuer].append(one)
    for issuer, several in entries.items():
        for one, other in itertools.combinations(several, 2):
            same_client = not one.clients or not other.clients or set(one.clients) & set(other.clients)
            if set(one.audiences) & set(other.audiences) and same_client:
                raise ConfigError(
                    f"issuer {issuer} stands there twice, and one token could be meant for both",
                    hint="give each audiences of its own, or client_ids of its own",
                )
        keys_at(several)
    return {issuer: tuple(several) for issuer, several in entries.items()}


def keys_at(several: Iterable[TrustedIssuer]) -> tuple[str | None, Path | None]:
    """Where the keys of one issuer are (None: its metadata says it), and who vouches for that.

    Raises ConfigError if two entries say two things.
    """
    places = {one.endpoints["jwks_uri"] for one in several if "jwks_uri" in one.endpoints}
    authorities = {one.ca for one in several if one.ca is not None}
    if len(places) > 1 or len(authorities) > 1:
        raise ConfigError("an issuer that stands there twice has two different jwks_uri or ca")
    return next(iter(places), None), next(iter(authorities), None)


def choose(several: tuple[TrustedIssuer, ...], claims: Json) -> TrustedIssuer:
    """The entry that a signed token is meant for; if its client fits none, the nearest, whose checks will say so.

    Raises TokenRejected if it is for none of several, or names the audiences of two.
    """
    if len(several) == 1:
        return several[0]
    near = [one for one in several if set(_audiences(claims)) & set(one.audiences)]
    if not near:
        raise TokenRejected(f"the token is for somebody else (aud): {cut_ascii(claims.get('aud'))}")
    fits = [one for one in near if is_ours(claims, one)]
    if len(fits) > 1:
        raise TokenRejected("the token names the audiences of two entries of its issuer")
    return (fits or near)[0]


def check_client(claims: Json, issuer: TrustedIssuer) -> None:
    """Raises TokenRejected unless `is_ours`."""
    if not is_ours(claims, issuer):
        named = [claims[name] for name in _CLIENTS if name in claims] or _audiences(claims)
        raise TokenRejected(f"the token was given to another client (azp): {cut_ascii(named)}")


def is_ours(claims: Json, issuer: TrustedIssuer) -> bool:
    """Whether the token was given to a client of ours (OpenID Connect Core 3.1.3.7 items 3-5; RFC 9068 section 2.2)."""
    named = [claims[name] for name in _CLIENTS if name in claims]
    if issuer.token == "id_token":  # noqa: S105 a kind, not a token
        named = named or _audiences(claims)  # it is made for its client, so its audience says who that is
    allowed = issuer.clients
    return not allowed or (bool(named) and all(isinstance(one, str) and one in allowed for one in named))


def cut_ascii(value: object) -> str:
    """What a stranger wrote, short and in ASCII: escaped first, so that the length is that of what is written down."""
    return ascii(value)[:MAX_QUOTED]


def _audiences(claims: Json) -> list[str]:
    audience = claims.get("aud")
    return [one for one in (audience if isinstance(audience, list) else [audience]) if isinstance(one, str)]


def _check_address(url: str, what: str) -> None:
    try:
        secure_url(url, what)
    except ProtocolError as error:
        raise ConfigError(error.message) from error
