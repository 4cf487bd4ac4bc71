from typing import Any

import pytest
from joserfc import jwk, jws, jwt

from airtunnel.errors import TokenRejected
from airtunnel.identity.verify.signature import ALGORITHMS, check_signature
from tests.identity.forge import EC, RSA

ALL_KEYS = [
    ("RS256", jwk.generate_key("RSA", 2048)),
    ("RS384", RSA),
    ("RS512", RSA),
    ("PS256", RSA),
    ("PS384", RSA),
    ("PS512", RSA),
    ("ES256", EC),
    ("ES384", jwk.generate_key("EC", "P-384")),
    ("EdDSA", jwk.generate_key("OKP", "Ed25519")),
    ("Ed25519", jwk.generate_key("OKP", "Ed25519")),
]


class _Permissive(jws.JWSRegistry):
    def get_alg(self, name: str) -> Any:  # Any: joserfc's own model, which warns about EdDSA's name
        return self.algorithms[name]


@pytest.mark.parametrize(("algorithm", "key"), ALL_KEYS)
def test_every_listed_algorithm_verifies(algorithm: str, key: jwk.Key) -> None:
    registry = _Permissive(algorithms=[algorithm], strict_check_header=False)
    token = jwt.encode({"alg": algorithm}, {"sub": "a"}, key, registry=registry)
    check_signature(token, key, algorithm)
    with pytest.raises(TokenRejected, match="the token's signature is not valid"):
        check_signature(token[:-8] + "AAAAAAAA", key, algorithm)


def test_a_token_is_checked_with_the_algorithm_that_was_decided_on_only() -> None:
    registry = jws.JWSRegistry(algorithms=["PS256"])
    token = jwt.encode({"alg": "PS256"}, {"sub": "a"}, RSA, registry=registry)
    with pytest.raises(TokenRejected, match="the proof's signature is not valid"):
        check_signature(token, RSA, "RS256", "proof")


def test_every_listed_algorithm_is_tested_and_none_is_symmetric() -> None:
    assert {algorithm for algorithm, _ in ALL_KEYS} == set(ALGORITHMS)
    assert not [one for one in ALGORITHMS if one.startswith("HS") or one == "none"]
