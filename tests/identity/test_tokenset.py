import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from airtunnel.errors import LoginFailed
from airtunnel.identity.tokenset import UNKNOWN_LIFE, TokenSet, as_json, from_json, presented, tokens_from
from tests.identity.provider import CLIENT, Provider, published_by

ISSUER = "https://login.example.com"
NOW = datetime(2025, 11, 22, 12, tzinfo=UTC)
ACCESS = published_by(ISSUER)
IDENTITY = published_by(ISSUER, token="id_token")
SIGNER = Provider(ISSUER)


def identity(**claims: object) -> str:
    about = {"iss": ISSUER, "aud": CLIENT, "sub": "00u1", "email": "ana@example.com", "exp": int(NOW.timestamp()) + 600}
    return SIGNER.sign(about | claims, {"typ": "JWT"})


IDENTITY_TOKEN = identity()
BODY: dict[str, object] = {"access_token": "opaque", "id_token": IDENTITY_TOKEN, "refresh_token": "again", "expires_in": 300}
TOKENS = tokens_from(BODY, ACCESS, NOW)


def test_an_answer_becomes_a_set_with_a_name() -> None:
    assert (
        TokenSet("opaque", IDENTITY_TOKEN, "again", NOW + timedelta(seconds=300), "00u1", "ana@example.com", ISSUER) == TOKENS
    )


def test_the_gateway_gets_the_kind_of_token_that_it_asks_for() -> None:
    assert presented(TOKENS, ACCESS) == "opaque"
    assert presented(TOKENS, IDENTITY) == IDENTITY_TOKEN


@pytest.mark.parametrize(("published", "missing"), [(ACCESS, "access_token"), (IDENTITY, "id_token")])
def test_a_missing_token_of_that_kind_fails_the_login(published: object, missing: str) -> None:
    body = {name: value for name, value in BODY.items() if name != missing}
    with pytest.raises(LoginFailed, match=f"gave no {missing}") as caught:
        tokens_from(body, IDENTITY if published is IDENTITY else ACCESS, NOW)
    assert caught.value.details == ("scopes that the gateway publishes: openid email offline_access",)


def test_the_end_of_the_presented_token_counts() -> None:
    assert tokens_from(BODY, IDENTITY, NOW).expires_at == NOW + timedelta(seconds=600)
    jwt = SIGNER.sign({"sub": "00u1", "exp": int(NOW.timestamp()) + 100})
    assert tokens_from(BODY | {"access_token": jwt}, ACCESS, NOW).expires_at == NOW + timedelta(seconds=100)
    silent = {name: value for name, value in BODY.items() if name != "expires_in"}
    assert tokens_from(silent, ACCESS, NOW).expires_at == NOW + UNKNOWN_LIFE


@pytest.mark.parametrize("claims", [{"iss": "https://evil.example"}, {"aud": "other"}, {"aud": ["other"]}, {"aud": None}])
def test_an_id_token_by_or_for_somebody_else_fails_the_login(claims: dict[str, object]) -> None:
    with pytest.raises(LoginFailed, match="by or for somebody else"):
        tokens_from(BODY | {"id_token": identity(**claims)}, ACCESS, NOW)


def test_a_refresh_keeps_what_the_provider_does_not_send_again() -> None:
    renewed = tokens_from({"access_token": "second"}, ACCESS, NOW, previous=TOKENS)
    assert (renewed.access_token, renewed.refresh_token, renewed.subject, renewed.name) == (
        "second",
        "again",
        "00u1",
        "ana@example.com",
    )


def test_a_refresh_takes_the_new_refresh_token() -> None:
    assert tokens_from(BODY | {"refresh_token": "third"}, ACCESS, NOW, previous=TOKENS).refresh_token == "third"


def test_a_refresh_never_goes_on_with_the_old_presented_token() -> None:
    with pytest.raises(LoginFailed, match="gave no id_token"):
        tokens_from({"access_token": "second"}, IDENTITY, NOW, previous=TOKENS)


def test_a_refresh_stays_with_the_same_person() -> None:
    with pytest.raises(LoginFailed, match="another person"):
        tokens_from(BODY | {"id_token": identity(sub="00u2")}, ACCESS, NOW, previous=TOKENS)


def test_an_access_token_may_call_the_person_by_another_subject() -> None:
    access = SIGNER.sign({"sub": "ana@example.com"})
    assert tokens_from({"access_token": access}, ACCESS, NOW, previous=TOKENS).subject == "00u1"


def test_a_name_cannot_move_the_cursor() -> None:
    assert tokens_from(BODY | {"id_token": identity(email="a\x1b[2J\u202eb")}, ACCESS, NOW).name == "a[2Jb"


def test_no_token_stands_in_a_repr() -> None:
    for secret in ("opaque", IDENTITY_TOKEN, "again"):
        assert secret not in repr(TOKENS)


def test_the_store_keeps_the_presented_and_the_refresh_token_and_no_other() -> None:
    assert from_json(as_json(TOKENS, ACCESS)) == replace(TOKENS, id_token=None)
    assert from_json(as_json(TOKENS, IDENTITY)) == replace(TOKENS, access_token="")


@pytest.mark.parametrize(
    "text",
    ["", "[]", "7", "null", "{}", "{", "[" * 100_000, json.dumps({"expires_at": "2025-11-22T12:00:00", "access_token": "x"})],
)
def test_what_the_store_cannot_have_kept_is_no_login(text: str) -> None:
    assert from_json(text) is None
