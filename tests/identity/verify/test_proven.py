from datetime import timedelta

import pytest
from joserfc import jwk

from airtunnel.errors import TokenRejected
from airtunnel.identity.verify.proven import Proof, SeenProofs, Shown, check_proof
from tests.identity.forge import KEY, NOW, SECOND, proof, shown


def test_a_proof_says_whose_it_is_and_what_it_was_made_for() -> None:
    given = proof("token", salt="s", origin="o")
    assert check_proof(given, shown(given), "token", NOW) == Proof(KEY.thumbprint, "1", "SHA256:a", "s", "o")


@pytest.mark.parametrize(
    "changed",
    [
        {"iat": SECOND - 60},
        {"iat": SECOND + 5},
        {"iat": SECOND + 0.5},
        {"htu": "https://gateway.example.com:443/v1/grants"},
        {"htu": "HTTPS://Gateway.Example.COM/v1/grants"},
        {"htu": "https://gateway.example.com/v1/grants?a=b#c"},
        {"htu": "https://127.0.0.1:8443/v1/grants"},
        {"htu": "https://[::1]:8443/v1/grants"},
        {"jti": "a" * 256},
        {"ssh_key": None},
        {"nonce": "whatever", "unheard": {"of": 1}},
    ],
)
def test_a_proof_within_its_limits_is_good(changed: dict[str, object]) -> None:
    given = proof("token", **changed)
    check_proof(given, shown(given), "token", NOW)


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("ES256", jwk.generate_key("EC", "P-256")),
        ("ES384", jwk.generate_key("EC", "P-384")),
        ("Ed25519", jwk.generate_key("OKP", "Ed25519")),
    ],
)
def test_other_clients_may_have_keys_of_other_kinds(algorithm: str, key: jwk.Key) -> None:
    given = proof("token", {"alg": algorithm}, key)
    assert check_proof(given, shown(given), "token", NOW).thumbprint == key.thumbprint()


def test_a_key_with_more_said_of_it_is_the_same_key() -> None:
    key = jwk.generate_key("EC", "P-256")
    given = proof("token", {"jwk": key.as_dict(private=False) | {"kid": "x", "use": "sig"}}, key)
    assert check_proof(given, shown(given), "token", NOW).thumbprint == key.thumbprint()


def test_a_proof_for_one_request_is_none_for_another() -> None:
    given = proof("token")
    for method, path in (("GET", "/v1/grants"), ("POST", "/v1/logout")):
        with pytest.raises(TokenRejected, match=r"another (method|address)"):
            check_proof(given, Shown("dpop", method, path, shown(given).names), "token", NOW)


def test_a_gateway_without_a_name_has_no_proofs() -> None:
    with pytest.raises(TokenRejected, match="another address"):
        check_proof(proof("token"), Shown("dpop", "POST", "/v1/grants", frozenset()), "token", NOW)


def test_the_secrets_of_a_proof_are_in_no_repr() -> None:
    given = proof("token", salt="canary", origin="canary")
    assert "canary" not in repr(check_proof(given, shown(given), "token", NOW))
    assert given not in repr(shown(given))


def test_a_proof_is_remembered_for_as_long_as_it_could_be_shown() -> None:
    seen, one = SeenProofs(), Proof("key", "1")
    seen.take(one, NOW)
    seen.take(Proof("key", "2"), NOW)
    seen.take(Proof("another key", "1"), NOW)
    with pytest.raises(TokenRejected, match="shown before"):
        seen.take(one, NOW + timedelta(seconds=65))
    seen.take(one, NOW + timedelta(seconds=65, microseconds=1))
    assert len(seen._seen) == 1


def test_what_is_remembered_has_a_limit() -> None:
    seen = SeenProofs(limit=3)
    for number in range(10):
        seen.take(Proof("key", str(number)), NOW)
    assert len(seen._seen) == 3
    with pytest.raises(TokenRejected):
        seen.take(Proof("key", "9"), NOW)
