"""Tokens and proofs, good and forged: what the tests of the verifier show to it."""

import base64
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from joserfc import jwk, jws

from airtunnel.identity.proof import ProofKey, commitment, digest
from airtunnel.identity.verify.proven import Shown
from airtunnel.identity.verify.verifier import TrustedIssuer, Verified, Verifier
from tests.identity.provider import AUDIENCE, CLIENT, Provider, new_key

Claims = dict[str, Any]  # Any: JSON

NOW = datetime(2025, 11, 22, 12, tzinfo=UTC)
SECOND = int(NOW.timestamp())
RSA = jwk.generate_key("RSA", 2048, {"kid": "rsa"})
EC = new_key("ec")
KEY = ProofKey.generate()
"""The key that good tokens are bound to."""
OTHER_KEY = ProofKey.generate()
GATEWAY = "gateway.example.com:443"
GRANTS = "https://gateway.example.com/v1/grants"
SALT = "salt-of-the-login"
NONCE = commitment(KEY.thumbprint, SALT)


@dataclass(frozen=True, slots=True)
class Attempt:
    """A token, how it is shown, and what the gateway is configured to (fields of TrustedIssuer)."""

    token: str = field(repr=False)
    shown: Shown | None = field(default=None, repr=False)
    settings: Claims = field(default_factory=dict)


def claims_of(issuer: Provider, **changed: object) -> Claims:
    """The claims of a good access token; None takes one away."""
    claims: Claims = {
        "iss": issuer.issuer,
        "sub": "00u1",
        "aud": AUDIENCE,
        "exp": SECOND + 3600,
        "iat": SECOND,
        "jti": "token-1",
        "client_id": CLIENT,
        "email": "ana@example.com",
        "groups": ["data-eng"],
    }
    return {name: value for name, value in (claims | changed).items() if value is not None}


def raw(header: object, payload: object, signature: bytes = b"sig") -> str:
    """Three parts, whatever they are, that nobody signed."""
    parts = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in (header, payload)]
    return ".".join(base64.urlsafe_b64encode(one).rstrip(b"=").decode() for one in [*parts, signature])


def signed(issuer: Provider, header: Claims | None = None, key: jwk.Key = RSA, /, **changed: object) -> str:
    """An access token like the good one but for some claims."""
    return issuer.sign(claims_of(issuer, **changed), header, key)


def bound(issuer: Provider, **changed: object) -> str:
    """An access token that names KEY."""
    return signed(issuer, **{"cnf": {"jkt": KEY.thumbprint}, **changed})


def identity(issuer: Provider, key: jwk.Key = RSA, /, **changed: object) -> str:
    """An ID token whose nonce is the commitment to KEY."""
    usual = {"aud": CLIENT, "client_id": None, "nonce": NONCE}
    return signed(issuer, {"typ": "JWT"}, key, **{**usual, **changed})


def proof(token: str, header: Claims | None = None, key: jwk.Key | None = None, /, **changed: object) -> str:
    """A proof like the good one but for some headers and claims, signed with KEY or another key."""
    key = key or jwk.ECKey.import_key(json.loads(KEY.dump()))
    claims = {"jti": "1", "htm": "POST", "htu": GRANTS, "iat": SECOND, "ath": digest(token), "ssh_key": "SHA256:a"} | changed
    full: Claims = {"typ": "dpop+jwt", "alg": "ES256", "jwk": key.as_dict(private=False)} | (header or {})
    full = {name: value for name, value in full.items() if value is not None}
    payload = json.dumps({name: value for name, value in claims.items() if value is not None}).encode()
    registry = jws.JWSRegistry(algorithms=[full["alg"]], strict_check_header=False)
    return jws.serialize_compact(full, payload, key, registry=registry)


def shown(given: str | None, scheme: str = "dpop") -> Shown:
    """How a request for a grant shows a proof."""
    return Shown(scheme, "POST", "/v1/grants", frozenset([GATEWAY, "127.0.0.1:8443", "[::1]:8443"]), given)


def verifier(issuer: Provider, /, **settings: Any) -> Verifier:  # Any: fields of TrustedIssuer
    """One that trusts this issuer, at noon."""
    trusted = TrustedIssuer(**({"issuer": issuer.issuer, "audiences": (AUDIENCE,)} | settings))
    return Verifier([trusted], clock=lambda: NOW)


async def verified(token: str, issuer: Provider, show: Shown | None = None, /, **settings: Any) -> Verified:  # Any: the same
    """What a fresh verifier makes of a token."""
    return await verifier(issuer, **settings).verify(token, show)


def days(count: float) -> int:
    """Seconds since 1970, some days before NOW."""
    return int((NOW - timedelta(days=count)).timestamp())
