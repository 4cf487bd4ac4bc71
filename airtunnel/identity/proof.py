"""The client's side of key binding: a key of the login's own, and proofs that it is here (RFC 9449, RFC 7638).

    login      a ProofKey is made; the provider writes its thumbprint into the access token (`cnf.jkt`),
               or the commitment to it, which the login sent as its nonce, into the ID token
    request    Authorization: DPoP TOKEN
               DPoP: a JWT signed with the key, of this request, this token and this moment
    a grant    the proof also holds the fingerprint of the SSH key: caught on its way, it is a grant for nobody else's key

The gateway's side is in identity/verify/proven.py.
"""

import base64
import hashlib
import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airtunnel.errors import LoginRequired, TokenRejected
from airtunnel.identity.compact import read_parts
from airtunnel.model import KeyBinding

if TYPE_CHECKING:
    from joserfc.jwk import ECKey

    from airtunnel.identity.present import Presented

ALGORITHM = "ES256"
"""Of our proofs: Okta and others list no Ed25519, and all of them list this."""


class ProofKey:
    """The private key (P-256) of one login. It never leaves the machine; its public half stands in every proof."""

    def __init__(self, key: "ECKey") -> None:
        self._key = key

    @classmethod
    def generate(cls) -> "ProofKey":
        """A new key."""
        from joserfc.jwk import ECKey

        return cls(ECKey.generate_key("P-256", private=True))

    @classmethod
    def load(cls, text: str) -> "ProofKey":
        """The key that `dump` wrote. Raises LoginRequired for anything else: without its key a login is worth nothing."""
        from joserfc.errors import JoseError
        from joserfc.jwk import ECKey

        try:
            key = ECKey.import_key(json.loads(text))
            if key.is_private and key.curve_name == "P-256":
                return cls(key)
        except (JoseError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            pass  # not `from` the cause: it may quote the key
        raise LoginRequired("the key of this login is damaged, so the gateway cannot be shown that it is here")

    def dump(self) -> str:
        """The private key as a JWK, in JSON. Secret."""
        return json.dumps(self._key.as_dict(private=True), separators=(",", ":"), sort_keys=True)

    @property
    def thumbprint(self) -> str:
        """By which tokens name the key: SHA-256 (RFC 7638), base64url."""
        return self._key.thumbprint()

    def prove(
        self,
        method: str,
        url: str,
        now: datetime,
        *,
        token: str | None = None,
        nonce: str | None = None,
        more: Mapping[str, str] = {},
    ) -> str:
        """One proof (RFC 9449 section 4.2), good for one request.

        token: the access token that goes with the request; nonce: what the server asked for in `DPoP-Nonce`
        more: further claims, which the gateway knows and others ignore
        """
        from joserfc.jws import JWSRegistry, serialize_compact

        header = {"typ": "dpop+jwt", "alg": ALGORITHM, "jwk": self._key.as_dict(private=False)}
        claims: dict[str, str | int] = {**more, "jti": secrets.token_urlsafe(16), "htm": method, "htu": _without_query(url)}
        claims |= {"iat": int(now.timestamp())}
        claims |= {} if token is None else {"ath": digest(token)}
        claims |= {} if nonce is None else {"nonce": nonce}
        payload = json.dumps(claims, separators=(",", ":")).encode()
        return serialize_compact(header, payload, self._key, registry=JWSRegistry(algorithms=[ALGORITHM]))


def commitment(thumbprint: str, salt: str) -> str:
    """The nonce of a login whose ID token is bound by it: says which key without telling, until the salt is shown."""
    return digest(f"{thumbprint}.{salt}")


def headers(shown: "Presented", method: str, url: str, now: datetime, *, ssh_key: str | None = None) -> dict[str, str]:
    """What goes with a request to the gateway, and says who asks.

    ssh_key: the fingerprint (`SHA256:...`) of the public key that a grant is asked for
    Raises LoginRequired if the login's key is damaged.
    """
    bound = shown.bound
    # A login that is bound may show an ID token, which DPoP does not bind: a proof would then be about nothing.
    if bound is None or (bound.kind == KeyBinding.DPOP and not _names_key(shown.token)):
        return {"Authorization": f"Bearer {shown.token}"}
    said = {"ssh_key": ssh_key}
    if bound.kind == KeyBinding.NONCE:
        said |= {"salt": bound.salt, "origin": None if bound.origin == shown.token else bound.origin}
    more = {name: value for name, value in said.items() if value is not None}
    proof = ProofKey.load(bound.key).prove(method, url, now, token=shown.token, more=more)
    return {"Authorization": f"DPoP {shown.token}", "DPoP": proof}


def digest(text: str) -> str:
    """SHA-256 of an ASCII text as RFC 9449 writes it: base64url without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def _without_query(url: str) -> str:
    return urlsplit(url)._replace(query="", fragment="").geturl()


def _names_key(token: str) -> bool:
    try:
        return "cnf" in read_parts(token)[1]
    except TokenRejected:
        return False
