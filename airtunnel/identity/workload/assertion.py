"""A client's proof that it has its key: a JWT that lives for a minute and is used once (RFC 7523 section 2.2).

Not authlib's PrivateKeyJWT: its assertions live for an hour, its PEM keys are RSA only, and joserfc warns at its EdDSA.
"""

import functools
import json
import secrets
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from airtunnel.errors import ConfigError
from airtunnel.identity.workload.file import read_secret

if TYPE_CHECKING:
    from joserfc.jwk import Key
    from joserfc.jws import JWSAlgModel, JWSRegistry  # type: ignore[attr-defined]  # the first is missing from its __all__

LIFE = timedelta(seconds=60)
TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MIN_RSA = 2048
"""Bits: NIST SP 800-131A."""

_CURVES = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}


def read_key(path: Path) -> "Key":
    """The private key in a file, as PEM or JWK. Raises LoginRequired if there is no file, ConfigError if it cannot be used."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from joserfc.errors import JoseError

    text = read_secret(path, "the client's key", private=True)
    try:
        key = _from_jwk(text) if text.startswith("{") else _from_pem(text)
    except (JoseError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, AttributeError):
        # Not `from` the cause: some of them quote what they could not read.
        key = None
    if key is None or not key.is_private or _algorithm(key) is None:
        raise ConfigError(
            f"{path}: the client's key cannot be used",
            details=(
                "it must be a private key of RSA (2048 bits or more), P-256, P-384, P-521 or Ed25519,",
                "as PEM without a password, or as JWK",
            ),
        )
    return key


def sign_assertion(key: "Key", client_id: str, audience: str, now: datetime) -> str:
    """A new assertion by `client_id` for `audience`. Its kid is that of a JWK.

    Without one there is no kid: providers choose their own ids for a key that is uploaded as PEM, and refuse unknown ones.
    """
    from joserfc import jwt

    issued = int(now.timestamp())
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,  # a text, not a list: Keycloak since 26.2 and OpenID Connect Core since its draft 36 take no list
        "jti": secrets.token_urlsafe(24),
        "iat": issued,
        "exp": issued + int(LIFE.total_seconds()),
    }
    algorithm = _algorithm(key)
    assert algorithm is not None
    kid = key.get("kid")
    header = {"alg": algorithm, "typ": "JWT"} | ({"kid": kid} if isinstance(kid, str) else {})
    return jwt.encode(header, claims, key, registry=_registry(algorithm))


@functools.cache
def _registry(algorithm: str) -> "JWSRegistry":
    from joserfc.jws import JWSRegistry

    class Registry(JWSRegistry):
        def get_alg(self, name: str) -> "JWSAlgModel":
            # joserfc warns that RFC 9864 renames EdDSA; providers will go on using the name for years.
            return self.algorithms[name]

    return Registry(algorithms=[algorithm])


def _from_jwk(text: str) -> "Key | None":
    from joserfc.jwk import JWKRegistry
    from joserfc.util import urlsafe_b64decode

    body = json.loads(text)
    if not isinstance(body, dict) or body.get("kty") not in ("RSA", "EC", "OKP"):
        return None
    # Measured before it is imported: joserfc only warns of a weak key.
    if body["kty"] == "RSA" and int.from_bytes(urlsafe_b64decode(body["n"].encode())).bit_length() < MIN_RSA:
        return None
    return JWKRegistry.import_key(body)


def _from_pem(text: str) -> "Key | None":
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    match load_pem_private_key(text.encode(), None):
        case rsa.RSAPrivateKey() as key if key.key_size >= MIN_RSA:
            return RSAKey.import_key(text)
        case ec.EllipticCurvePrivateKey():
            return ECKey.import_key(text)
        case ed25519.Ed25519PrivateKey():
            return OKPKey.import_key(text)
    return None


def _algorithm(key: "Key") -> str | None:
    """The algorithm that goes with a key; the one it names itself, if it is an RSA key."""
    if key.key_type == "RSA":
        named = key.get("alg")
        return named if isinstance(named, str) and named in ("RS384", "RS512", "PS256", "PS384", "PS512") else "RS256"
    curve = key.get("crv")
    return _CURVES.get(curve) if isinstance(curve, str) else None
