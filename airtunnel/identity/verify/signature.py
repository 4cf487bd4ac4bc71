"""A JWT's header and signature: which algorithms are taken, and did the one key that we chose sign it? (RFC 7515, RFC 8725)"""

import functools
from collections.abc import Collection
from typing import TYPE_CHECKING

from airtunnel.errors import TokenRejected
from airtunnel.identity.answer import Json
from airtunnel.identity.compact import MAX_TOKEN

if TYPE_CHECKING:
    from joserfc.jwk import Key
    from joserfc.jws import JWSAlgModel, JWSRegistry  # type: ignore[attr-defined]  # the first is missing from its __all__

# Which type of key an algorithm takes (RFC 7518 section 3.1, RFC 8037, RFC 9864). Symmetric ones and `none` are not here:
# with them, whoever can read the public key could sign.
ALGORITHMS = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA",)),
    **dict.fromkeys(("ES256", "ES384"), ("EC",)),
    **dict.fromkeys(("EdDSA", "Ed25519"), ("OKP",)),
}


def check_algorithm(header: Json, accepted: Collection[str], what: str = "token") -> str:
    """The header's algorithm, still only said. Raises TokenRejected if it is not accepted, or the header has extensions."""
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in accepted:
        raise TokenRejected(f"the {what}'s algorithm is not accepted: {str(algorithm)[:50]!a}")
    if "crit" in header or "b64" in header:
        # RFC 7515 section 4.1.11: what is critical must be understood, and nothing of it is needed here.
        raise TokenRejected(f"the {what} has critical header extensions (crit)")
    return algorithm


def check_signature(token: str, key: "Key", algorithm: str, what: str = "token") -> None:
    """That `key` signed the token. Raises TokenRejected if not.

    One key, chosen by the caller: what the header says of keys (jwk, jku, x5c) is never looked at.
    """
    from joserfc.errors import JoseError
    from joserfc.jws import deserialize_compact

    try:
        deserialize_compact(token, key, registry=_registry(algorithm))
    except (JoseError, ValueError, TypeError) as error:
        raise TokenRejected(f"the {what}'s signature is not valid: {type(error).__name__}") from error


@functools.cache
def _registry(algorithm: str) -> "JWSRegistry":
    from joserfc.errors import UnsupportedAlgorithmError
    from joserfc.jws import JWSRegistry
    from joserfc.registry import Header

    class Registry(JWSRegistry):
        max_header_length = MAX_TOKEN  # certificates in the header (x5c) are usual, and read_parts has limited the whole

        def check_header(self, header: Header) -> None:
            """Done by `check_algorithm`. joserfc's would refuse a certificate's fields that are of no interest here."""

        def get_alg(self, name: str) -> "JWSAlgModel":
            # joserfc warns at each EdDSA token that RFC 9864 renames it; providers will go on using the name for years.
            if name != algorithm:
                raise UnsupportedAlgorithmError(name)
            return self.algorithms[name]

    return Registry(algorithms=[algorithm])
