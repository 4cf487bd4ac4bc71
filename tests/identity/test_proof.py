import base64
import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from joserfc import jwk, jwt

from airtunnel.errors import LoginRequired
from airtunnel.identity.compact import read_parts
from airtunnel.identity.present import Presented
from airtunnel.identity.proof import ProofKey, commitment, headers
from airtunnel.identity.tokenset import Bound
from airtunnel.identity.verify.proven import check_proof
from tests.identity.forge import GRANTS, KEY, NOW, SALT, SECOND, raw, shown

DPOP = Bound("dpop", KEY.dump())
TOKEN = raw({"alg": "RS256"}, {"cnf": {"jkt": KEY.thumbprint}})


def claims_in(proof: str) -> dict[str, Any]:  # Any: JSON
    """The claims of a proof, after its signature was checked with the key inside, by a library's own verification."""
    key = jwk.ECKey.import_key(read_parts(proof)[0]["jwk"])
    return jwt.decode(proof, key, algorithms=["ES256"]).claims


def test_a_key_is_kept_as_text_and_comes_back_the_same() -> None:
    key = ProofKey.generate()
    again = ProofKey.load(key.dump())
    assert again.thumbprint == key.thumbprint
    assert again.dump() == key.dump()
    assert ProofKey.generate().thumbprint != key.thumbprint


def test_a_thumbprint_is_that_of_rfc_7638() -> None:
    public = {name: value for name, value in json.loads(KEY.dump()).items() if name in ("crv", "kty", "x", "y")}
    canonical = json.dumps(public, separators=(",", ":"), sort_keys=True).encode()
    assert base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode() == KEY.thumbprint


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "7",
        "[]",
        "{}",
        '{"kty":"oct","k":"AA"}',
        '{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}',
        json.dumps(jwk.generate_key("EC", "P-256").as_dict(private=False)),
        json.dumps(jwk.generate_key("EC", "P-384").as_dict(private=True)),
        "[" * 100_000,
    ],
    ids=lambda text: text[:20],
)
def test_what_is_no_private_key_of_ours_is_a_login_that_is_over(text: str) -> None:
    with pytest.raises(LoginRequired, match="key of this login is damaged") as caught:
        ProofKey.load(text)
    assert caught.value.__cause__ is None


def test_the_private_half_is_neither_in_a_proof_nor_in_a_repr() -> None:
    secret = json.loads(KEY.dump())["d"]
    proof = KEY.prove("GET", GRANTS, NOW)
    assert set(read_parts(proof)[0]["jwk"]) == {"kty", "crv", "x", "y"}
    assert secret not in repr(KEY) + proof + json.dumps(read_parts(proof))


def test_a_proof_is_for_one_request() -> None:
    proof = KEY.prove("POST", f"{GRANTS}?a=b#c", NOW, token="token", nonce="n", more={"ssh_key": "SHA256:a", "htm": "GET"})
    header, claims = read_parts(proof)[0], claims_in(proof)
    assert (header["typ"], header["alg"]) == ("dpop+jwt", "ES256")
    assert len(claims.pop("jti")) >= 20
    ath = base64.urlsafe_b64encode(hashlib.sha256(b"token").digest()).rstrip(b"=").decode()
    assert claims == {"htm": "POST", "htu": GRANTS, "iat": SECOND, "ath": ath, "nonce": "n", "ssh_key": "SHA256:a"}


def test_no_two_proofs_are_alike() -> None:
    assert claims_in(KEY.prove("GET", GRANTS, NOW))["jti"] != claims_in(KEY.prove("GET", GRANTS, NOW))["jti"]


def test_a_provider_gets_no_more_than_it_needs() -> None:
    assert set(claims_in(KEY.prove("POST", "https://login.example.com/token", NOW))) == {"jti", "htm", "htu", "iat"}


def test_a_commitment_says_nothing_without_its_salt() -> None:
    made = commitment(KEY.thumbprint, SALT)
    assert made == base64.urlsafe_b64encode(hashlib.sha256(f"{KEY.thumbprint}.{SALT}".encode()).digest()).rstrip(b"=").decode()
    assert made != commitment(KEY.thumbprint, "other")


def test_a_token_that_is_bound_to_nothing_is_a_bearers() -> None:
    assert headers(Presented("token"), "GET", GRANTS, NOW) == {"Authorization": "Bearer token"}


@pytest.mark.parametrize("token", [raw({"alg": "RS256"}, {}), "opaque"])
def test_an_id_token_of_a_bound_login_is_a_bearers(token: str) -> None:
    assert headers(Presented(token, DPOP), "GET", GRANTS, NOW) == {"Authorization": f"Bearer {token}"}


def test_a_bound_token_goes_with_a_proof_that_the_gateway_accepts() -> None:
    given = headers(Presented(TOKEN, DPOP), "POST", GRANTS, NOW, ssh_key="SHA256:a")
    assert given["Authorization"] == f"DPoP {TOKEN}"
    found = check_proof(given["DPoP"], shown(given["DPoP"]), TOKEN, NOW)
    assert (found.thumbprint, found.ssh_key, found.salt, found.origin) == (KEY.thumbprint, "SHA256:a", None, None)


def test_an_id_token_that_is_bound_by_its_nonce_goes_with_salt_and_origin() -> None:
    for origin, expected in (("first", "first"), ("token", None), (None, None)):
        bound = Bound("nonce", KEY.dump(), SALT, origin)
        proof = headers(Presented("token", bound), "POST", GRANTS, NOW)["DPoP"]
        found = check_proof(proof, shown(proof), "token", NOW)
        assert (found.salt, found.origin, found.ssh_key) == (SALT, expected, None)


def test_a_damaged_key_is_not_passed_over() -> None:
    with pytest.raises(LoginRequired, match="damaged"):
        headers(Presented(TOKEN, Bound("dpop", "{}")), "GET", GRANTS, datetime.now(UTC))
