"""The gateway's side of key binding: is the key that a token names really there? (RFC 9449 section 4.3)

A proof that was caught could be shown again for a minute. This process remembers those it has seen; another replica does not,
and need not: the proof is for one token, method, path and gateway, and that of a grant names the SSH key it is for, so all that
a second showing can bring is another certificate for a key that the thief does not have.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from airtunnel.errors import ProtocolError, TokenRejected
from airtunnel.identity.answer import Json
from airtunnel.identity.compact import read_parts
from airtunnel.identity.endpoint import secure_url
from airtunnel.identity.proof import digest
from airtunnel.identity.verify.claims import MAX_TEXT
from airtunnel.identity.verify.signature import ALGORITHMS, check_algorithm, check_signature
from airtunnel.identity.verify.trust import cut_ascii

if TYPE_CHECKING:
    from joserfc.jwk import Key

PROOF_ALGORITHMS = ("ES256", "ES384", "EdDSA", "Ed25519")
"""No RSA: the key is a stranger's, and with a modulus of 16,384 bits and a large exponent one check costs milliseconds."""
PAST = timedelta(seconds=60)
FUTURE = timedelta(seconds=5)
"""How old a proof may be, and by how much the client's clock may be ahead."""
MAX_SEEN = 50_000
"""Proofs remembered: 750 a second for the 65 s that one could be shown again. About 10 MB."""
# RFC 7517 section 9.3 and RFC 7518 section 6: what only a private or symmetric key has.
_PRIVATE = frozenset(("d", "p", "q", "dp", "dq", "qi", "oth", "k"))


@dataclass(frozen=True, slots=True)
class Shown:
    """How a token came, and for which request.

    scheme: of the Authorization header, in lower case; proof: the DPoP header
    method, path: the request's; names: `host:port` of this gateway, all of them, in lower case
    """

    scheme: str
    method: str
    path: str
    names: frozenset[str]
    proof: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Proof:
    """What a proof said, after its signature held.

    thumbprint: of its key (RFC 7638); number: its `jti`
    ssh_key: the fingerprint of the SSH key that a grant is asked for; salt, origin: as in tokenset.Bound
    """

    thumbprint: str
    number: str
    ssh_key: str | None = None
    salt: str | None = field(default=None, repr=False)
    origin: str | None = field(default=None, repr=False)


def check_proof(proof: str, shown: Shown, token: str, now: datetime) -> Proof:
    """What the proof says, if it is for this token, this request and this moment. Whose key it is, the caller must compare.

    Raises TokenRejected with a reason for the audit.
    """
    header, claims = read_parts(proof, "proof")
    if header.get("typ") != "dpop+jwt":
        raise TokenRejected(f"the proof's typ is not dpop+jwt: {str(header.get('typ'))[:50]!a}")
    algorithm = check_algorithm(header, PROOF_ALGORITHMS, "proof")
    key = _read_key(header.get("jwk"), algorithm)
    check_signature(proof, key, algorithm, "proof")
    if claims.get("htm") != shown.method:
        raise TokenRejected("the proof is for another method (htm)")
    if not _is_here(claims.get("htu"), shown):
        raise TokenRejected(f"the proof is for another address (htu): {cut_ascii(claims.get('htu'))}")
    _check_time(claims.get("iat"), now)
    if _text(claims, "ath") != digest(token):
        raise TokenRejected("the proof is for another token (ath)")
    number = _text(claims, "jti") or ""
    if not 0 < len(number) <= MAX_TEXT:
        raise TokenRejected("the proof has no id (jti), or a long one")
    return Proof(key.thumbprint(), number, _text(claims, "ssh_key"), _text(claims, "salt"), _text(claims, "origin"))


class SeenProofs:
    """Which proofs were shown to this process while they could be shown again."""

    def __init__(self, limit: int = MAX_SEEN) -> None:
        self._limit = limit
        self._seen: OrderedDict[bytes, datetime] = OrderedDict()

    def take(self, proof: Proof, now: datetime) -> None:
        """Remember a proof. To be called when all else is known to be good: strangers must not fill this.

        Raises TokenRejected if it was shown before.
        """
        while self._seen and next(iter(self._seen.values())) < now:
            self._seen.popitem(last=False)
        name = hashlib.sha256(f"{proof.thumbprint}.{proof.number}".encode()).digest()
        if name in self._seen:
            raise TokenRejected("the proof was shown before (jti)")
        self._seen[name] = now + PAST + FUTURE
        if len(self._seen) > self._limit:
            self._seen.popitem(last=False)


def _read_key(stated: object, algorithm: str) -> "Key":
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry

    if not isinstance(stated, dict):
        raise TokenRejected("the proof holds no public key (jwk)")
    if _PRIVATE & stated.keys():
        raise TokenRejected("the proof holds a private key (jwk): whoever sees it has it")
    if stated.get("kty") not in ALGORITHMS[algorithm]:
        raise TokenRejected("the proof's key is of another kind than its algorithm")
    try:
        return JWKRegistry.import_key({name: stated[name] for name in ("kty", "crv", "x", "y") if name in stated})
    except (JoseError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise TokenRejected(f"the proof's key cannot be used: {type(error).__name__}") from error


def _is_here(stated: object, shown: Shown) -> bool:
    """RFC 9449 section 4.3 item 9: compared without query and fragment, with the port that the scheme implies."""
    try:
        parts = secure_url(stated if isinstance(stated, str) else "", "htu", loopback=False)
    except ProtocolError:
        return False
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{host}:{parts.port or 443}" in shown.names and parts.path == shown.path


def _check_time(stated: object, now: datetime) -> None:
    try:
        if isinstance(stated, bool) or not isinstance(stated, int | float):
            raise TokenRejected("the proof does not say when it was made (iat)")
        age = now - datetime.fromtimestamp(stated, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise TokenRejected("the proof was made at a time that no calendar has (iat)") from error
    if not -FUTURE <= age <= PAST:
        raise TokenRejected(f"the proof was made {age.total_seconds():.0f} s ago (iat)")


def _text(claims: Json, name: str) -> str | None:
    value = claims.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise TokenRejected(f"the proof's {name} is not a printable text")
    return value
