import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc import jwk, jws, jwt

from airtunnel.errors import ConfigError, Temporary, TokenRejected
from airtunnel.identity.claims import ClaimMap
from airtunnel.identity.http import http_client
from airtunnel.identity.verify import ALGORITHMS, TrustedIssuer, Verified, Verifier
from airtunnel.model import Principal, PrincipalKind

from .provider import AUDIENCE, CLIENT, Provider, new_key, providing, reply
from .server import Reply

NOW = datetime(2025, 11, 22, 12, tzinfo=UTC)
SECOND = int(NOW.timestamp())
RSA = jwk.generate_key("RSA", 2048, {"kid": "rsa"})
EC = new_key("ec")
Sign = Callable[..., str]
Claims = dict[str, Any]  # Any: JSON


@pytest.fixture(scope="module")
def issuer() -> Iterator[Provider]:
    with providing() as provider:
        provider.keys = [RSA, EC]
        yield provider


def claims_of(issuer: Provider, **changed: object) -> Claims:
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
    parts = [one if isinstance(one, bytes) else json.dumps(one).encode() for one in (header, payload)]
    return ".".join(base64.urlsafe_b64encode(one).rstrip(b"=").decode() for one in [*parts, signature])


def signed(issuer: Provider, header: Claims | None = None, key: jwk.Key = RSA, /, **changed: object) -> str:
    return issuer.sign(claims_of(issuer, **changed), header, key)


async def verified(token: str, issuer: Provider, /, **settings: Any) -> Verified:  # Any: fields of TrustedIssuer
    trusted = TrustedIssuer(**({"issuer": issuer.issuer, "audiences": (AUDIENCE,)} | settings))
    return await Verifier([trusted], clock=lambda: NOW).verify(token)


async def rejected(token: str, issuer: Provider, reason: str, /, **settings: Any) -> None:  # Any: fields of TrustedIssuer
    with pytest.raises(TokenRejected, match=reason) as caught:
        await verified(token, issuer, **settings)
    assert caught.value.message.isprintable()
    assert token not in caught.value.message or len(token) < 40


async def test_a_good_token_says_who_it_is_until_when_and_by_what_name(issuer: Provider) -> None:
    assert await verified(signed(issuer, hd="example.com"), issuer, claims=ClaimMap(kept=("hd",))) == Verified(
        Principal(PrincipalKind.PERSON, issuer.issuer, "00u1", "ana@example.com", ("data-eng",), {"hd": "example.com"}),
        NOW + timedelta(hours=1),
        "token-1",
    )


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"},
        {"typ": "jwt"},
        {"typ": "application/at+jwt"},
        {"typ": None},
        {"x5t": "abc", "x5c": ["A" * 2000]},
        {"unheard": {"of": 1}},
    ],
)
async def test_headers_that_providers_send_are_accepted(issuer: Provider, header: Claims) -> None:
    assert (await verified(signed(issuer, header), issuer)).principal.subject == "00u1"


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": [AUDIENCE, "other"]},
        {"exp": SECOND - 29},
        {"exp": SECOND + 0.5},
        {"iat": SECOND + 30},
        {"nbf": SECOND + 30},
        {"iat": SECOND - 86_400},
        {"typ": "Bearer"},
        {"sub": "ünïcode 北京"},
    ],
)
async def test_claims_within_their_limits_are_accepted(issuer: Provider, changed: Claims) -> None:
    await verified(signed(issuer, **changed), issuer)


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


@pytest.mark.parametrize(("algorithm", "key"), ALL_KEYS)
async def test_every_listed_algorithm_verifies(provider: Provider, algorithm: str, key: jwk.Key) -> None:
    provider.keys = [jwk.import_key({**key.as_dict(private=True), "kid": "one", "alg": algorithm})]
    token = jwt.encode({"alg": algorithm, "kid": "one"}, claims_of(provider), provider.keys[0], registry=_permissive(algorithm))
    await verified(token, provider)
    await rejected(token[:-8] + "AAAAAAAA", provider, "signature is not valid")


class _Permissive(jws.JWSRegistry):
    def get_alg(self, name: str) -> Any:  # Any: joserfc's own model, which warns about EdDSA's name
        return self.algorithms[name]


def _permissive(algorithm: str) -> jws.JWSRegistry:
    return _Permissive(algorithms=[algorithm], strict_check_header=False)


def test_every_listed_algorithm_is_tested_and_none_is_symmetric() -> None:
    assert {algorithm for algorithm, _ in ALL_KEYS} == set(ALGORITHMS)
    assert not [one for one in ALGORITHMS if one.startswith("HS") or one == "none"]


# --- the hostile ones: security.md, section 7 ---


@pytest.mark.parametrize(
    "algorithm", ["none", "None", "NONE", None, "", 7, ["RS256"], "HS256", "HS512", "RS1", "ES256K", "dir"]
)
async def test_an_algorithm_that_is_not_listed_is_rejected(issuer: Provider, algorithm: object) -> None:
    await rejected(raw({"alg": algorithm, "kid": "rsa"}, claims_of(issuer)), issuer, "algorithm is not accepted")


async def test_a_token_without_a_signature_is_rejected(issuer: Provider) -> None:
    await rejected(raw({"alg": "none"}, claims_of(issuer), b""), issuer, "three parts")
    await rejected(raw({"alg": "RS256", "kid": "rsa"}, claims_of(issuer), b""), issuer, "three parts")


async def test_the_public_key_is_no_shared_secret(issuer: Provider) -> None:
    for secret in (RSA.as_pem(private=False), json.dumps(RSA.as_dict(private=False)).encode()):
        signed_part = raw({"alg": "HS256", "kid": "rsa"}, claims_of(issuer)).rpartition(".")[0]
        mac = base64.urlsafe_b64encode(hmac.digest(secret, signed_part.encode(), "sha256")).rstrip(b"=").decode()
        await rejected(f"{signed_part}.{mac}", issuer, "algorithm is not accepted")


async def test_a_forged_key_with_the_right_id_is_rejected(issuer: Provider) -> None:
    await rejected(signed(issuer, None, new_key("ec")), issuer, "signature is not valid")


@pytest.mark.parametrize("kid", ["unknown", "../../../../etc/passwd", "rsa' or 1=1", "", "RSA", "rsa\x00"])
async def test_a_key_id_that_nobody_published_is_rejected(issuer: Provider, kid: str) -> None:
    await rejected(signed(issuer, {"kid": kid}), issuer, "unknown key")


async def test_a_key_id_that_is_no_text_is_rejected(issuer: Provider) -> None:
    await rejected(raw({"alg": "RS256", "kid": 7}, claims_of(issuer)), issuer, "key id is not a text")


async def test_without_a_key_id_nothing_is_tried_out(issuer: Provider, provider: Provider) -> None:
    provider.keys = [EC, new_key("other")]
    await rejected(signed(provider, {"kid": None}, EC), provider, "does not say which key")
    assert await verified(signed(issuer, {"kid": None}), issuer)  # the only one of its kind


async def test_a_key_inside_the_token_is_never_looked_at(issuer: Provider) -> None:
    own = new_key("own")
    for kid, reason in (("own", "unknown key"), ("ec", "signature is not valid")):
        for header in (
            {"jwk": own.as_dict(private=False)},
            {"jku": f"{issuer.issuer}/jwks"},
            {"x5u": f"{issuer.issuer}/jwks"},
            {"x5c": ["AAAA"]},
        ):
            await rejected(signed(issuer, {"kid": kid, **header}, own), issuer, reason)


async def test_a_signature_of_another_kind_of_key_is_rejected(issuer: Provider) -> None:
    await rejected(raw({"alg": "ES256", "kid": "rsa"}, claims_of(issuer)), issuer, "unknown key")
    await rejected(raw({"alg": "ES384", "kid": "ec"}, claims_of(issuer)), issuer, "signature is not valid")


@pytest.mark.parametrize("kept", [-1, -8, -100])
async def test_a_cut_signature_is_rejected(issuer: Provider, kept: int) -> None:
    await rejected(signed(issuer)[:kept], issuer, "signature is not valid")


async def test_a_changed_claim_is_rejected(issuer: Provider) -> None:
    header, _, signature = signed(issuer).split(".")
    payload = base64.urlsafe_b64encode(json.dumps(claims_of(issuer, sub="admin")).encode()).rstrip(b"=").decode()
    await rejected(f"{header}.{payload}.{signature}", issuer, "signature is not valid")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"exp": None}, "exp"),
        ({"exp": str(SECOND + 3600)}, "exp"),
        ({"exp": True}, "exp"),
        ({"exp": SECOND - 30}, "expired"),
        ({"exp": 0}, "expired"),
        ({"exp": 10**30}, "no calendar"),
        ({"exp": [SECOND + 3600]}, "exp"),
        ({"nbf": SECOND + 31}, "nbf|not yet valid"),
        ({"nbf": "x"}, "nbf"),
        ({"iat": None}, "iat"),
        ({"iat": SECOND + 31}, "iat|future"),
        ({"iat": "x"}, "iat"),
        ({"iat": SECOND - 86_431}, "issued too long ago"),
        ({"iat": -(10**30)}, "no calendar"),
        ({"aud": None}, "aud"),
        ({"aud": "other"}, "aud"),
        ({"aud": ""}, "aud"),
        ({"aud": []}, "aud"),
        ({"aud": ["other"]}, "aud"),
        ({"aud": [AUDIENCE, 7]}, "aud"),
        ({"aud": {AUDIENCE: 1}}, "aud"),
        ({"aud": AUDIENCE.upper()}, "aud"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": 7}, "sub"),
        ({"sub": ["00u1"]}, "sub"),
        ({"jti": 7}, "jti"),
        ({"sub": "a\nb"}, "claim sub holds control"),
        ({"sub": "a\x00b"}, "claim sub holds control"),
        ({"email": "a\u202eb"}, "claim email holds control"),
        ({"email": "a" * 257}, "claim email is longer"),
        ({"email": None}, "claim email is missing"),
        ({"email_verified": False}, "not verified"),
        ({"groups": [7]}, "claim groups is not"),
        ({"typ": "ID"}, "not an access_token"),
        ({"typ": "Refresh"}, "not an access_token"),
    ],
)
async def test_a_claim_that_does_not_hold_is_rejected(issuer: Provider, changed: Claims, reason: str) -> None:
    claims = {**claims_of(issuer), **changed}
    claims = {name: value for name, value in claims.items() if value is not None}
    await rejected(issuer.sign(claims, key=RSA), issuer, reason)


@pytest.mark.parametrize("named", ["{0}/", "{0}/x", "https://evil.example", "", None, 7, ["{0}"]])
async def test_another_issuer_is_not_trusted_and_not_asked(issuer: Provider, named: object) -> None:
    name = named.format(issuer.issuer) if isinstance(named, str) else named
    before = issuer.asked.copy()
    await rejected(signed(issuer, iss=name), issuer, "issuer is not trusted")
    assert issuer.asked == before


async def test_an_algorithm_that_this_issuer_does_not_use_is_rejected(issuer: Provider) -> None:
    token = issuer.sign(claims_of(issuer), {"alg": "PS256"}, RSA)
    await verified(token, issuer)
    await rejected(token, issuer, "algorithm is not accepted", algorithms=("RS256",))


@pytest.mark.parametrize("header", [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"b64": False, "crit": ["b64"]}, {"b64": True}])
async def test_critical_extensions_are_rejected(issuer: Provider, header: Claims) -> None:
    token = raw({"alg": "RS256", "kid": "rsa"} | header, claims_of(issuer))
    await rejected(token, issuer, "critical")


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", "three parts"),
        ("a.b.c.d.e", "three parts"),
        ("Bearer x", "three parts"),
        ("a" * 1_000_000, "larger than"),
        (raw({"alg": "RS256", "kid": "rsa"}, ["iss"]), "not a JSON object"),
        (raw({"alg": "RS256", "kid": "rsa"}, b'{"iss":"a","iss":"b"}'), "duplicate"),
        (raw(b'{"alg":"none","alg":"RS256"}', {}), "duplicate"),
        (raw({"alg": "RS256"}, b'{"exp":NaN}'), "not JSON"),
    ],
)
async def test_what_is_no_token_is_rejected(issuer: Provider, token: str, reason: str) -> None:
    await rejected(token, issuer, reason)


async def test_a_time_beyond_all_numbers_is_rejected(issuer: Provider) -> None:
    text = json.dumps(claims_of(issuer)).replace(str(SECOND + 3600), "1e400").encode()
    token = jws.serialize_compact({"alg": "RS256", "kid": "rsa"}, text, RSA)
    await rejected(token, issuer, "exp")


@pytest.mark.parametrize("kind", ["logout+jwt", "dpop+jwt", "secevent+jwt", "x", 7, ["JWT"]])
async def test_a_token_of_another_type_is_rejected(issuer: Provider, kind: object) -> None:
    await rejected(raw({"alg": "RS256", "kid": "rsa", "typ": kind}, claims_of(issuer)), issuer, "typ is not that of")


async def test_an_access_token_is_no_id_token(issuer: Provider) -> None:
    access = signed(issuer, aud=CLIENT)
    await rejected(access, issuer, "typ is not that of an id_token", token="id_token", audiences=(CLIENT,))
    keycloaks = signed(issuer, {"typ": "JWT"}, aud=CLIENT, typ="Bearer")
    await rejected(keycloaks, issuer, "not an id_token", token="id_token", audiences=(CLIENT,))


@pytest.mark.parametrize("claim", ["azp", "client_id", "cid", "appid"])
async def test_a_token_given_to_another_client_is_rejected(issuer: Provider, claim: str) -> None:
    token = signed(issuer, **{"client_id": None, claim: "other"})
    await verified(token, issuer)
    await rejected(token, issuer, "another client", client_ids=(CLIENT,))
    await rejected(signed(issuer, **{claim: [CLIENT]}), issuer, "another client", client_ids=(CLIENT,))
    await verified(signed(issuer, **{"client_id": None, claim: CLIENT}), issuer, client_ids=("x", CLIENT))


async def test_a_token_that_names_no_client_is_rejected_where_clients_are_listed(issuer: Provider) -> None:
    await rejected(signed(issuer, client_id=None), issuer, "another client", client_ids=(CLIENT,))


@pytest.mark.parametrize(
    ("changed", "good"),
    [
        ({"aud": CLIENT}, True),
        ({"aud": [CLIENT]}, True),
        ({"aud": CLIENT, "azp": CLIENT}, True),
        ({"aud": [CLIENT, "other"], "azp": CLIENT}, True),
        ({"aud": [CLIENT, "other"]}, False),
        ({"aud": [CLIENT, "other"], "azp": "other"}, False),
        ({"aud": CLIENT, "azp": "other"}, False),
    ],
)
async def test_an_id_token_is_for_its_own_client(issuer: Provider, changed: Claims, good: bool) -> None:
    token = signed(issuer, {"typ": "JWT"}, **({"client_id": None} | changed))
    if good:
        await verified(token, issuer, token="id_token", audiences=(CLIENT,))
    else:
        await rejected(token, issuer, "another client", token="id_token", audiences=(CLIENT,))


async def test_a_token_without_an_id_is_known_by_a_hash_that_its_bearer_cannot_change(issuer: Provider) -> None:
    token = signed(issuer, jti=None)
    found = await verified(token, issuer)
    assert found.token_id == hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest()[:32]
    assert (await verified(signed(issuer, jti=None, uti="entra"), issuer)).token_id == "entra"
    assert "\n" not in (await verified(signed(issuer, jti="a\nb"), issuer)).token_id


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_token_with_any_character_changed_is_rejected_and_nothing_else_happens(data: st.DataObject, issuer: Provider) -> None:
    token = signed(issuer)
    spot = data.draw(st.integers(0, len(token) - 2))  # the last one holds bits that belong to nothing
    other = data.draw(st.characters(max_codepoint=0x250).filter(lambda one: one != token[spot]))
    with pytest.raises(TokenRejected):
        asyncio.run(verified(token[:spot] + other + token[spot + 1 :], issuer))


# --- the provider and its keys ---


async def test_a_provider_that_was_never_reached_is_an_outage_and_no_rejection(provider: Provider) -> None:
    provider.script["/jwks"].append(Reply(503))
    with pytest.raises(Temporary, match=f"the keys of {provider.issuer} cannot be fetched"):
        await verified(provider.sign(claims_of(provider)), provider)


async def test_a_provider_that_calls_itself_otherwise_gives_no_keys(provider: Provider) -> None:
    token = provider.sign(claims_of(provider))
    provider.metadata = {"issuer": "https://evil.example"}
    with pytest.raises(Temporary):
        await verified(token, provider)


async def test_keys_rotate_under_a_running_gateway(provider: Provider) -> None:
    now = [NOW]
    verifier = Verifier([TrustedIssuer(provider.issuer, (AUDIENCE,))], clock=lambda: now[0])
    old, new = provider.keys[0], new_key("second")
    await verifier.verify(provider.sign(claims_of(provider), key=old))
    provider.keys = [new]
    now[0] += timedelta(seconds=30)
    await verifier.verify(provider.sign(claims_of(provider), key=new))
    with pytest.raises(TokenRejected, match="unknown key"):
        await verifier.verify(provider.sign(claims_of(provider), key=old))
    assert provider.asked["/jwks"] == 2


async def test_a_client_that_is_given_is_used(provider: Provider) -> None:
    async with http_client() as client:
        verifier = Verifier([TrustedIssuer(provider.issuer, (AUDIENCE,))], client=client, clock=lambda: NOW)
        assert (await verifier.verify(provider.sign(claims_of(provider)))).principal.name == "ana@example.com"
        assert not client.is_closed


async def test_two_issuers_have_keys_and_rules_of_their_own(provider: Provider, issuer: Provider) -> None:
    provider.keys = [new_key("ec")]
    trusted = [TrustedIssuer(issuer.issuer, (AUDIENCE,)), TrustedIssuer(provider.issuer, ("other",))]
    verifier = Verifier(trusted, clock=lambda: NOW)
    await verifier.verify(signed(issuer, None, EC))
    await verifier.verify(provider.sign(claims_of(provider, aud="other")))
    with pytest.raises(TokenRejected, match="signature is not valid"):
        await verifier.verify(provider.sign(claims_of(issuer)))
    with pytest.raises(TokenRejected, match="aud"):
        await verifier.verify(provider.sign(claims_of(provider)))


async def test_a_key_set_that_is_none_is_an_outage(provider: Provider) -> None:
    provider.script["/jwks"].append(reply({"keys": "x"}))
    with pytest.raises(Temporary):
        await verified(provider.sign(claims_of(provider)), provider)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"audiences": ()}, "audiences is empty"),
        ({"audiences": ("",)}, "audiences is empty"),
        ({"issuer": "http://login.example.com"}, "is not https"),
        ({"token": "refresh_token"}, "neither access_token nor id_token"),
        ({"algorithms": ()}, "algorithms must be among"),
        ({"algorithms": ("HS256",)}, "algorithms must be among"),
        ({"algorithms": ("RS256", "none")}, "algorithms must be among"),
    ],
)
def test_a_trust_that_would_accept_too_much_is_no_configuration(changed: Claims, words: str) -> None:
    usual: Claims = {"issuer": "https://login.example.com", "audiences": (AUDIENCE,)}
    with pytest.raises(ConfigError, match=words):
        TrustedIssuer(**(usual | changed))
