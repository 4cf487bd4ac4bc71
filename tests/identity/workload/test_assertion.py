from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from joserfc import jws, jwt
from joserfc.jwk import JWKRegistry

from airtunnel.errors import ConfigError, LoginRequired
from airtunnel.identity.compact import read_parts
from airtunnel.identity.workload.assertion import read_key, sign_assertion

from .keys import jwk, keep, pem, public, public_pem, weak_jwk

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
RSA = rsa.generate_private_key(65537, 2048)
P256, P384, P521 = (ec.generate_private_key(one()) for one in (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1))
ED25519 = ed25519.Ed25519PrivateKey.generate()
EC_JWK = JWKRegistry.generate_key("EC", "P-256")


@pytest.mark.parametrize(
    ("text", "kind", "algorithm"),
    [
        (pem(RSA), "RSA", "RS256"),
        (pem(RSA, form=serialization.PrivateFormat.TraditionalOpenSSL), "RSA", "RS256"),
        (pem(P256), "EC", "ES256"),
        (pem(P256, form=serialization.PrivateFormat.TraditionalOpenSSL), "EC", "ES256"),
        (pem(P384), "EC", "ES384"),
        (pem(P521), "EC", "ES512"),
        (pem(ED25519), "OKP", "EdDSA"),
        (jwk(EC_JWK), "EC", "ES256"),
        (jwk(JWKRegistry.generate_key("RSA", 2048)), "RSA", "RS256"),
        (jwk(JWKRegistry.generate_key("RSA", 2048), alg="PS256"), "RSA", "PS256"),
        (jwk(JWKRegistry.generate_key("OKP", "Ed25519")), "OKP", "EdDSA"),
    ],
)
def test_an_assertion_is_signed_with_the_algorithm_of_its_key(tmp_path: Path, text: str, kind: str, algorithm: str) -> None:
    assertion = sign_assertion(read_key(keep(tmp_path / "key", text)), "job", "https://login", NOW)
    assert read_parts(assertion)[0]["alg"] == algorithm

    class Registry(jws.JWSRegistry):
        def get_alg(self, name: str) -> jws.JWSAlgModel:  # type: ignore[name-defined]  # missing from its __all__
            return self.algorithms[name]  # joserfc's own warns at EdDSA

    token = jwt.decode(assertion, public(text, kind), registry=Registry(algorithms=[algorithm]))
    about = {name: value for name, value in token.claims.items() if name != "jti"}
    issued = int(NOW.timestamp())
    assert about == {"iss": "job", "sub": "job", "aud": "https://login", "iat": issued, "exp": issued + 60}


def test_no_two_assertions_are_the_same(tmp_path: Path) -> None:
    key = read_key(keep(tmp_path / "key", pem(P256)))
    ids = {read_parts(sign_assertion(key, "job", "x", NOW))[1]["jti"] for _ in range(100)}
    assert len(ids) == 100
    assert min(map(len, ids)) >= 32


def test_the_key_id_is_that_of_the_jwk_and_none_is_invented(tmp_path: Path) -> None:
    named = read_key(keep(tmp_path / "named", jwk(EC_JWK, kid="my-key")))
    assert read_parts(sign_assertion(named, "job", "x", NOW))[0]["kid"] == "my-key"
    for text in (jwk(EC_JWK), pem(P256)):
        assert "kid" not in read_parts(sign_assertion(read_key(keep(tmp_path / "plain", text)), "job", "x", NOW))[0]


@pytest.mark.parametrize(
    "text",
    [
        "hunter2 is no key",
        "{",
        '{"kty": "EC"}',
        '{"kty": "oct", "k": "aHVudGVyMg"}',
        '{"kty": ["EC"]}',
        '["list"]',
        jwk(EC_JWK, private=False),
        public_pem(P256),
        pem(P256, b"hunter2"),
        pem(P256).replace("A", "B"),
        pem(rsa.generate_private_key(65537, 1024)),
        weak_jwk(),
        pem(ec.generate_private_key(ec.SECP256K1())),
        pem(ed448.Ed448PrivateKey.generate()),
        pem(dsa.generate_private_key(2048)),
        "-----BEGIN CERTIFICATE-----\naHVudGVyMg==\n-----END CERTIFICATE-----",
    ],
)
def test_what_cannot_sign_is_refused_by_name_and_never_shown(tmp_path: Path, text: str) -> None:
    path = keep(tmp_path / "key", text)
    with pytest.raises(ConfigError) as caught:
        read_key(path)
    assert caught.value.message == f"{path}: the client's key cannot be used"
    told = repr(caught.value.as_json()) + repr(caught.value.__cause__) + repr(caught.value.__context__)
    assert "hunter2" not in told
    assert not any(line in told for line in text.splitlines() if len(line) > 30)


def test_a_key_that_others_may_read_is_no_longer_one(tmp_path: Path) -> None:
    path = keep(tmp_path / "key", pem(P256))
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="the client's key may be read by others"):
        read_key(path)


def test_a_missing_key_is_a_missing_identity(tmp_path: Path) -> None:
    with pytest.raises(LoginRequired, match=f"the client's key is missing: there is no file {tmp_path / 'key'}"):
        read_key(tmp_path / "key")
