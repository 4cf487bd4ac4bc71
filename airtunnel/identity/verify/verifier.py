"""Who is this? A token, verified at the gateway (RFC 7519, RFC 9068, RFC 9449, RFC 8725, OpenID Connect Core 3.1.3.7)."""

import functools
import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airtunnel.errors import TokenRejected
from airtunnel.identity.answer import Json
from airtunnel.identity.compact import read_parts
from airtunnel.identity.http import get_json, http_client
from airtunnel.identity.proof import commitment
from airtunnel.identity.provider import fetch_metadata
from airtunnel.identity.verify.claims import MAX_TEXT, check_required, principal_from
from airtunnel.identity.verify.keys import KeyCache
from airtunnel.identity.verify.proven import Proof, SeenProofs, Shown, check_proof
from airtunnel.identity.verify.signature import ALGORITHMS, check_algorithm, check_signature
from airtunnel.identity.verify.trust import TrustedIssuer, by_issuer, check_client, choose, cut_ascii, keys_at
from airtunnel.model import KeyBinding, Principal

if TYPE_CHECKING:
    import httpx2

__all__ = ["ALGORITHMS", "LEEWAY", "ORIGIN_AGE", "Shown", "TrustedIssuer", "Verified", "Verifier", "cut_ascii", "wall_clock"]

LEEWAY = 30
"""Seconds by which two clocks may differ."""
ORIGIN_AGE = timedelta(days=30)
"""How long ago the login of an ID token may be that is bound by its nonce. Then, or when the provider no longer publishes the
key of that day, there is a new login."""

# Header `typ`, without "application/" and in lower case. Most providers' access tokens say JWT, RFC 9068's say at+jwt.
_TYPES = {"access_token": (None, "jwt", "at+jwt"), "id_token": (None, "jwt")}
# Keycloak's claim `typ` tells its tokens apart, all of which have the same header.
_FOREIGN = {"access_token": ("ID", "Refresh", "Offline", "Logout"), "id_token": ("Bearer", "Refresh", "Offline", "Logout")}


@dataclass(frozen=True, slots=True)
class Verified:
    """What a token proved.

    token_id: the issuer's own id of the token, or a hash of it; never the token
    proof: what the token's key proved, where it is bound to one
    """

    principal: Principal
    expires_at: datetime
    token_id: str
    proof: Proof | None = None

    def check_key(self, fingerprint: str) -> None:
        """That a grant for this SSH key (`SHA256:...`) was asked for by whom the token is bound to.

        Raises TokenRejected if the proof, where there must be one, is for another SSH key.
        """
        if self.proof is not None and self.proof.ssh_key != fingerprint:
            raise TokenRejected("the proof is for a grant to another ssh key (ssh_key)")


def wall_clock() -> datetime:
    return datetime.now(UTC)


class Verifier:
    """Verifies tokens of the trusted issuers, several of which may have one name.

    client: fetches the keys of issuers that have no `ca` of their own; made per fetch if None
    clock: now, aware
    Raises ConfigError if a token could be meant for two of them.
    """

    def __init__(
        self,
        issuers: Iterable[TrustedIssuer],
        *,
        client: "httpx2.AsyncClient | None" = None,
        clock: Callable[[], datetime] = wall_clock,
    ) -> None:
        self._issuers = by_issuer(issuers)
        self._client = client
        self._clock = clock
        self._keys = {name: KeyCache(name, functools.partial(self._fetch, name), clock) for name in self._issuers}
        self._seen = SeenProofs()

    async def verify(self, token: str, shown: Shown | None = None) -> Verified:
        """The principal that the token speaks of. shown: how the token came; None: as a bearer token, with nothing else.

        Raises TokenRejected with a reason for the audit, which is not for the bearer; Temporary if the issuer's keys cannot
        be had.
        """
        now = self._clock()
        header, claims = await self._signed(token, "token")
        issuer = choose(self._issuers[claims["iss"]], claims)
        _check_header(header, issuer)
        expires_at = _check_claims(claims, issuer, now)
        check_required(claims, issuer.required)
        proof = _check_binding(claims, issuer, token, shown, now)
        if proof is not None and issuer.binding is KeyBinding.NONCE:
            await self._check_nonce(claims, issuer, proof, now)
        principal = principal_from(claims, issuer.claims, issuer.kind)
        if issuer.groups is not None:
            more = issuer.groups(principal.name, principal.subject)
            principal = replace(principal, groups=tuple(dict.fromkeys((*principal.groups, *more))), groups_known=True)
        if proof is not None:
            self._seen.take(proof, now)
        return Verified(principal, expires_at, _token_id(claims, token), proof)

    async def _signed(self, token: str, what: str) -> tuple[Json, Json]:
        """Header and claims of a token that one of the trusted issuers signed, of whatever kind and however old."""
        header, claims = read_parts(token, what)  # not proven until the signature is checked: only `iss` and `kid` are used
        several = self._issuers.get(name) if isinstance(name := claims.get("iss"), str) else None
        if several is None:
            raise TokenRejected(f"the {what}'s issuer is not trusted: {cut_ascii(claims.get('iss'))}")
        algorithm = check_algorithm(header, {one for entry in several for one in entry.algorithms}, what)
        if len(several) == 1:
            _check_header(header, several[0], what)  # what could never be one needs no request for its key
        kid = header.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise TokenRejected(f"the {what}'s key id is not a text")
        key = await self._keys[claims["iss"]].find(kid, algorithm, ALGORITHMS[algorithm])
        check_signature(token, key, algorithm, what)
        return header, claims

    async def _check_nonce(self, claims: Json, issuer: TrustedIssuer, proof: Proof, now: datetime) -> None:
        """That the ID token, or the first one of its login, was asked for by whoever has the proof's key.

        A renewed ID token need not repeat the nonce (OpenID Connect Core section 12.2), so the first one comes along.
        """
        nonce = claims.get("nonce")
        if nonce is None:
            if proof.origin is None:
                raise TokenRejected("the token has no nonce, and the proof brings no earlier one of its login (origin)")
            nonce = (await self._origin(proof.origin, claims, issuer, now)).get("nonce")
        if not isinstance(nonce, str) or proof.salt is None or nonce != commitment(proof.thumbprint, proof.salt):
            raise TokenRejected("the token's login was made with another key than the proof's (nonce)")

    async def _origin(self, origin: str, claims: Json, issuer: TrustedIssuer, now: datetime) -> Json:
        """The claims of the first ID token of a login, which has usually expired."""
        header, first = await self._signed(origin, "origin")
        _check_header(header, issuer, "origin")
        if any(first.get(name) != claims[name] for name in ("iss", "sub")):
            raise TokenRejected("the origin is of another login: issuer or subject differ")
        _check_claims({**first, "exp": now.timestamp()}, replace(issuer, max_age=ORIGIN_AGE), now, "origin")
        return first

    async def _fetch(self, name: str) -> Json:
        address, ca = keys_at(self._issuers[name])
        if self._client is not None and ca is None:
            return await _fetch_keys(name, address, self._client)
        async with http_client(ca=ca) as client:
            return await _fetch_keys(name, address, client)


async def _fetch_keys(issuer: str, address: str | None, client: "httpx2.AsyncClient") -> Json:
    return await get_json(client, address or (await fetch_metadata(issuer, client, login=False)).jwks_uri)


def _check_header(header: Json, issuer: TrustedIssuer, what: str = "token") -> None:
    """Raises TokenRejected for what this entry's tokens must not be."""
    check_algorithm(header, issuer.algorithms, what)
    kind = header.get("typ")
    if isinstance(kind, str):
        kind = kind.lower().removeprefix("application/")
    if kind not in _TYPES[issuer.token]:
        raise TokenRejected(f"the {what}'s typ is not that of an {issuer.token}: {str(kind)[:50]!a}")


def _check_claims(claims: Json, issuer: TrustedIssuer, now: datetime, what: str = "token") -> datetime:
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
        raise TokenRejected(f"the {what}'s claims do not hold: {error}") from error
    except (ValueError, OverflowError, OSError) as error:
        raise TokenRejected(f"the {what}'s claims do not hold: a time that no calendar has") from error
    if now - issued_at > issuer.max_age + timedelta(seconds=LEEWAY):
        raise TokenRejected(f"the {what} was issued too long ago: {issued_at.isoformat()}")
    if claims.get("typ") in _FOREIGN[issuer.token]:
        raise TokenRejected(f"the {what} is not an {issuer.token}: its claim typ is {claims['typ']}")
    check_client(claims, issuer)
    return expires_at


def _check_binding(claims: Json, issuer: TrustedIssuer, token: str, shown: Shown | None, now: datetime) -> Proof | None:
    """What the key proved that the token is bound to; None if it is bound to none, and need not be (RFC 9449 section 7)."""
    bound = _bound_key(claims)
    scheme = "bearer" if shown is None else shown.scheme
    if bound is None and issuer.binding is KeyBinding.DPOP:
        raise TokenRejected("the token is not bound to a key (cnf), as this issuer's must be")
    if bound is None and issuer.binding is not KeyBinding.NONCE:
        if shown is not None and (scheme != "bearer" or shown.proof is not None):
            raise TokenRejected("the token is not bound to a key, and was shown with a proof")
        return None
    if shown is None or scheme != "dpop":
        raise TokenRejected("the token is bound to a key, and was shown as a bearer token")
    if shown.proof is None:
        raise TokenRejected("the token is bound to a key, and came without a proof")
    proof = check_proof(shown.proof, shown, token, now)
    if bound is not None and proof.thumbprint != bound:
        raise TokenRejected("the proof is of another key than the token's (jkt)")
    return proof


def _bound_key(claims: Json) -> str | None:
    """The thumbprint in `cnf` (RFC 7800 section 3.1, RFC 9449 section 6.1). Any other way of binding could not be checked."""
    if "cnf" not in claims:
        return None
    cnf = claims["cnf"]
    if not isinstance(cnf, dict) or set(cnf) != {"jkt"} or not isinstance(cnf["jkt"], str):
        raise TokenRejected(f"the token is bound in a way that is not known here (cnf): {cut_ascii(cnf)}")
    return cnf["jkt"]


def _token_id(claims: Json, token: str) -> str:
    """`jti` (Entra: `uti`) or a hash of what is signed: the signature itself may be spelled in several ways."""
    for name in ("jti", "uti"):
        value = claims.get(name)
        if isinstance(value, str) and 0 < len(value) <= MAX_TEXT and value.isprintable():
            return value
    return hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest()[:32]
