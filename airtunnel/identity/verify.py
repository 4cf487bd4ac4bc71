"""Who is this? A bearer token, verified at the gateway (RFC 7519, RFC 9068, RFC 8725, OpenID Connect Core 3.1.3.7)."""

import functools
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from airtunnel.errors import ConfigError, ProtocolError, TokenRejected
from airtunnel.identity.answer import Json
from airtunnel.identity.claims import MAX_TEXT, ClaimMap, principal_from
from airtunnel.identity.compact import MAX_TOKEN, read_parts
from airtunnel.identity.endpoint import secure_url
from airtunnel.identity.http import get_json, http_client
from airtunnel.identity.keys import KeyCache
from airtunnel.identity.provider import fetch_metadata
from airtunnel.model import Principal, PrincipalKind

if TYPE_CHECKING:
    import httpx2
    from joserfc.jwk import Key
    from joserfc.jws import JWSAlgModel, JWSRegistry  # type: ignore[attr-defined]  # the first is missing from its __all__

# Which type of key an algorithm takes (RFC 7518 section 3.1, RFC 8037, RFC 9864). Symmetric ones and `none` are not here:
# with them, whoever can read the public key could sign.
ALGORITHMS = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA",)),
    **dict.fromkeys(("ES256", "ES384"), ("EC",)),
    **dict.fromkeys(("EdDSA", "Ed25519"), ("OKP",)),
}
MAX_QUOTED = 120
"""Characters of a stranger's text in a reason."""
LEEWAY = 30
"""Seconds by which two clocks may differ."""

# Header `typ`, without "application/" and in lower case. Most providers' access tokens say JWT, RFC 9068's say at+jwt.
_TYPES = {"access_token": (None, "jwt", "at+jwt"), "id_token": (None, "jwt")}
# Keycloak's claim `typ` tells its tokens apart, all of which have the same header.
_FOREIGN = {"access_token": ("ID", "Refresh", "Offline", "Logout"), "id_token": ("Bearer", "Refresh", "Offline", "Logout")}
# Whom the token was given to: OpenID Connect, RFC 9068, Okta, Entra v1.
_CLIENTS = ("azp", "client_id", "cid", "appid")


@dataclass(frozen=True, slots=True)
class TrustedIssuer:
    """An issuer whose tokens the gateway takes.

    audiences: of which a token must name one; client_ids: the clients that a token may have been given to (any, if empty)
    token: `access_token` or `id_token`; kind: what its tokens speak of; ca: the provider's authorities, as in `http_client`
    max_age: how long ago a token may have been issued, whatever its expiry
    Raises ConfigError for what would accept too much.
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

    def __post_init__(self) -> None:
        try:
            secure_url(self.issuer, "the issuer")
        except ProtocolError as error:
            raise ConfigError(error.message) from error
        # joserfc takes an empty list of audiences for "any".
        if not self.audiences or not all(self.audiences):
            raise ConfigError(f"issuer {self.issuer}: audiences is empty, so tokens made for anybody would be accepted")
        if self.token not in _TYPES:
            raise ConfigError(f"issuer {self.issuer}: token is neither access_token nor id_token")
        if not self.algorithms or not set(self.algorithms) <= set(ALGORITHMS):
            raise ConfigError(f"issuer {self.issuer}: algorithms must be among {', '.join(ALGORITHMS)}")


@dataclass(frozen=True, slots=True)
class Verified:
    """What a token proved. `token_id`: the issuer's own id of the token, or a hash of it; never the token."""

    principal: Principal
    expires_at: datetime
    token_id: str


def wall_clock() -> datetime:
    return datetime.now(UTC)


class Verifier:
    """Verifies tokens of the trusted issuers.

    client: fetches the keys of issuers that have no `ca` of their own; made per fetch if None
    clock: now, aware
    """

    def __init__(
        self,
        issuers: Iterable[TrustedIssuer],
        *,
        client: "httpx2.AsyncClient | None" = None,
        clock: Callable[[], datetime] = wall_clock,
    ) -> None:
        self._issuers = {one.issuer: one for one in issuers}
        self._client = client
        self._clock = clock
        self._keys = {name: KeyCache(name, functools.partial(self._fetch, one), clock) for name, one in self._issuers.items()}

    async def verify(self, token: str) -> Verified:
        """The principal that the token speaks of.

        Raises TokenRejected with a reason for the audit, which is not for the bearer; Temporary if the issuer's keys cannot
        be had.
        """
        header, claims = read_parts(token)  # not proven until the signature is checked: only `iss` and `kid` are used before
        issuer = self._issuers.get(name) if isinstance(name := claims.get("iss"), str) else None
        if issuer is None:
            raise TokenRejected(f"the token's issuer is not trusted: {cut_ascii(claims.get('iss'))}")
        algorithm, kid = _check_header(header, issuer)
        key = await self._keys[issuer.issuer].find(kid, algorithm, ALGORITHMS[algorithm])
        _check_signature(token, key, issuer)
        expires_at = _check_claims(claims, issuer, self._clock())
        principal = principal_from(claims, issuer.claims, issuer.kind)
        return Verified(principal, expires_at, _token_id(claims, token))

    async def _fetch(self, issuer: TrustedIssuer) -> Json:
        if self._client is not None and issuer.ca is None:
            return await _fetch_keys(issuer.issuer, self._client)
        async with http_client(ca=issuer.ca) as client:
            return await _fetch_keys(issuer.issuer, client)


def cut_ascii(value: object) -> str:
    """What a stranger wrote, short and in ASCII: escaped first, so that the length is that of what is written down."""
    return ascii(value)[:MAX_QUOTED]


async def _fetch_keys(issuer: str, client: "httpx2.AsyncClient") -> Json:
    metadata = await fetch_metadata(issuer, client)
    return await get_json(client, metadata.jwks_uri)


def _check_header(header: Json, issuer: TrustedIssuer) -> tuple[str, str | None]:
    """Algorithm and key id, both still only said. Raises TokenRejected for what this issuer's tokens must not be."""
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ")
    if not isinstance(algorithm, str) or algorithm not in issuer.algorithms:
        raise TokenRejected(f"the token's algorithm is not accepted: {str(algorithm)[:50]!a}")
    if "crit" in header or "b64" in header:
        # RFC 7515 section 4.1.11: what is critical must be understood, and nothing of it is needed here.
        raise TokenRejected("the token has critical header extensions (crit)")
    if isinstance(kind, str):
        kind = kind.lower().removeprefix("application/")
    if kind not in _TYPES[issuer.token]:
        raise TokenRejected(f"the token's typ is not that of an {issuer.token}: {str(kind)[:50]!a}")
    if kid is not None and not isinstance(kid, str):
        raise TokenRejected("the token's key id is not a text")
    return algorithm, kid


def _check_signature(token: str, key: "Key", issuer: TrustedIssuer) -> None:
    from joserfc.errors import JoseError
    from joserfc.jws import deserialize_compact

    try:
        # One key, chosen by us: a key inside the token (jwk, jku, x5c) is never looked at.
        deserialize_compact(token, key, registry=_registry(issuer.algorithms))
    except (JoseError, ValueError, TypeError) as error:
        raise TokenRejected(f"the token's signature is not valid: {type(error).__name__}") from error


@functools.cache
def _registry(algorithms: tuple[str, ...]) -> "JWSRegistry":
    from joserfc.errors import UnsupportedAlgorithmError
    from joserfc.jws import JWSRegistry
    from joserfc.registry import Header

    class Registry(JWSRegistry):
        max_header_length = MAX_TOKEN  # certificates in the header (x5c) are usual, and read_parts has limited the whole

        def check_header(self, header: Header) -> None:
            """Done by `_check_header`. joserfc's would refuse a certificate's fields that are of no interest here."""

        def get_alg(self, name: str) -> "JWSAlgModel":
            # joserfc warns at each EdDSA token that RFC 9864 renames it; providers will go on using the name for years.
            if name not in algorithms:
                raise UnsupportedAlgorithmError(name)
            return self.algorithms[name]

    return Registry(algorithms=algorithms)


def _check_claims(claims: Json, issuer: TrustedIssuer, now: datetime) -> datetime:
    """Until when the token holds. Raises TokenRejected if it does not hold now, or was made for somebody else."""
    from joserfc.errors import JoseError
    from joserfc.jwt import JWTClaimsRegistry

    registry = JWTClaimsRegistry(
        now=int(now.timestamp()),
        leeway=LEEWAY,
        iss={"essential": True, "value": issuer.issuer},
        aud={"essential": True, "values": list(issuer.audiences)},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
    )
    try:
        registry.validate(dict(claims))
        expires_at = datetime.fromtimestamp(claims["exp"], UTC)
        issued_at = datetime.fromtimestamp(claims["iat"], UTC)
    except JoseError as error:
        raise TokenRejected(f"the token's claims do not hold: {error}") from error
    except (ValueError, OverflowError, OSError) as error:
        raise TokenRejected("the token's claims do not hold: a time that no calendar has") from error
    if now - issued_at > issuer.max_age + timedelta(seconds=LEEWAY):
        raise TokenRejected(f"the token was issued too long ago: {issued_at.isoformat()}")
    if claims.get("typ") in _FOREIGN[issuer.token]:
        raise TokenRejected(f"the token is not an {issuer.token}: its claim typ is {claims['typ']}")
    _check_client(claims, issuer)
    return expires_at


def _check_client(claims: Json, issuer: TrustedIssuer) -> None:
    """That the token was given to a client of ours (OpenID Connect Core 3.1.3.7 items 3-5; RFC 9068 section 2.2)."""
    named = [claims[name] for name in _CLIENTS if name in claims]
    audiences = claims["aud"] if isinstance(claims["aud"], list) else [claims["aud"]]
    allowed = issuer.client_ids
    if issuer.token == "id_token":  # noqa: S105 a kind, not a token
        allowed = allowed or issuer.audiences
        named = named or audiences  # an ID token is made for its client, so its audience says who that is
    if not allowed:
        return
    if not named or not all(isinstance(one, str) and one in allowed for one in named):
        raise TokenRejected(f"the token was given to another client (azp): {str(named)[:MAX_TEXT]!a}")


def _token_id(claims: Json, token: str) -> str:
    """`jti` (Entra: `uti`) or a hash of what is signed: the signature itself may be spelled in several ways."""
    for name in ("jti", "uti"):
        value = claims.get(name)
        if isinstance(value, str) and 0 < len(value) <= MAX_TEXT and value.isprintable():
            return value
    return hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest()[:32]
