from dataclasses import replace
from typing import Any

import pytest

from airtunnel.identity.answer import Answer
from airtunnel.identity.http import http_client
from airtunnel.identity.login.client import Client, acting_as, acting_in
from airtunnel.identity.proof import ProofKey
from airtunnel.identity.provider import fetch_metadata
from airtunnel.model import BrowserClient
from tests.identity.provider import CLIENT, Provider, published_by, reply

POLL = {"grant_type": "urn:ietf:params:oauth:grant-type:device_code", "device_code": "secret-device-code"}
PLAIN = published_by("https://login.example.com", client_secret="theirs")
OTHER = replace(PLAIN, browser=BrowserClient(client_id="desktop"))


@pytest.fixture
def tying(provider: Provider) -> Provider:
    provider.dpop = True
    return provider


async def polled(provider: Provider, times: int = 1, key: ProofKey | None = None, path: str = "token") -> list[Answer]:
    async with http_client() as http:
        client = Client(http, await fetch_metadata(provider.issuer, http), published_by(provider.issuer), key)
        return [await client.post(f"{provider.issuer}/{path}", POLL) for _ in range(times)]


def said(answers: list[Answer]) -> list[Any]:  # Any: JSON
    return [(one.json() or {}).get("token_type", one.error) for one in answers]


async def test_each_request_for_tokens_carries_a_proof_of_its_own(tying: Provider) -> None:
    assert said(await polled(tying, 3, ProofKey.generate())) == ["DPoP"] * 3
    assert len(tying.proofs) == 3


async def test_nobody_else_is_shown_a_proof(tying: Provider) -> None:
    await polled(tying, 1, ProofKey.generate(), "device")
    assert "dpop" not in tying.headers[0]


async def test_without_a_key_there_is_no_proof(tying: Provider) -> None:
    assert said(await polled(tying)) == ["Bearer"]
    assert "dpop" not in tying.headers[0]


async def test_the_providers_nonce_goes_into_the_proof_and_is_remembered(tying: Provider) -> None:
    tying.dpop_nonce = "first"
    assert said(await polled(tying, 3, ProofKey.generate())) == ["DPoP"] * 3
    assert [one.get("nonce") for one in tying.proofs] == [None, "first", "first", "first"]
    assert tying.asked["/token"] == 4


async def test_a_nonce_that_comes_with_any_answer_is_used_from_then_on(tying: Provider) -> None:
    tying.dpop_nonce = "second"
    tying.script["/token"].append(reply({"error": "authorization_pending"}, 400, {"DPoP-Nonce": "second"}))
    assert said(await polled(tying, 2, ProofKey.generate())) == ["authorization_pending", "DPoP"]
    assert tying.asked["/token"] == 2


async def test_a_provider_that_is_never_content_with_a_nonce_is_not_asked_for_ever(provider: Provider) -> None:
    unhappy = reply({"error": "use_dpop_nonce"}, 400, {"DPoP-Nonce": "again"})
    provider.script["/token"].extend([unhappy] * 5)
    assert said(await polled(provider, 1, ProofKey.generate())) == ["use_dpop_nonce"]
    assert provider.asked["/token"] == 2


async def test_a_provider_that_wants_a_nonce_and_names_none_is_asked_once(provider: Provider) -> None:
    provider.script["/token"].append(reply({"error": "use_dpop_nonce"}, 400))
    assert said(await polled(provider, 1, ProofKey.generate())) == ["use_dpop_nonce"]
    assert provider.asked["/token"] == 1


def test_each_flow_may_have_a_client_of_its_own() -> None:
    assert acting_in(OTHER, "device") == OTHER
    assert acting_in(PLAIN, "browser") == PLAIN
    acting = acting_in(OTHER, "browser")
    assert (acting.client_id, acting.client_secret) == ("desktop", None)


def test_a_login_is_renewed_by_the_client_that_it_was_made_with() -> None:
    assert acting_as(OTHER, "") == OTHER
    assert acting_as(OTHER, CLIENT) == OTHER
    assert acting_as(OTHER, "desktop") == acting_in(OTHER, "browser")
    assert acting_as(OTHER, "a client of old") is None
    assert acting_as(PLAIN, "desktop") is None
