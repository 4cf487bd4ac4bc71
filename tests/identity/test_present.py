"""What a person's login shows to a gateway, and what it never shows."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airtunnel.errors import LoginFailed, LoginRequired
from airtunnel.identity.present import StoredLogin
from airtunnel.identity.store import MemoryStore
from airtunnel.identity.tokens import save_tokens
from airtunnel.identity.tokenset import TokenSet
from airtunnel.wire.control import Published
from tests.identity.provider import AUDIENCE, Provider, published_by

GATEWAY = "gateway.example.com"
GRAPH = "https://graph.microsoft.com"
LATER = datetime.now(UTC) + timedelta(hours=1)


def login(published: Published, directory: Path, *tokens: TokenSet, user: str | None = None) -> StoredLogin:
    store = MemoryStore()
    for one in tokens:
        save_tokens(store, published, GATEWAY, one)
    return StoredLogin(store, GATEWAY, directory, user=user)


def of(subject: str, issuer: str, token: str, id_token: str | None = None) -> TokenSet:
    return TokenSet(token, id_token, None, LATER, subject, subject, issuer)


async def test_the_person_that_is_meant_is_shown_and_else_the_last_to_log_in(tmp_path: Path) -> None:
    published = published_by("https://id.example.com")
    both = [of(one, published.issuer, f"token-of-{one}") for one in ("ana", "admin")]
    for user, token in (("ana", "token-of-ana"), ("admin", "token-of-admin"), (None, "token-of-admin")):
        identity = login(published, tmp_path, *both, user=user)
        assert (await identity.present(published)).token == token
        kept = identity.kept(published.issuer)
        assert kept is not None
        assert kept.access_token == token
    with pytest.raises(LoginRequired, match="nobody is logged in"):
        await login(published, tmp_path, *both, user="bob").present(published)


@pytest.mark.parametrize("audience", [GRAPH, [AUDIENCE, GRAPH], "00000003-0000-0000-c000-000000000000"])
async def test_a_token_that_opens_more_than_a_gateway_is_not_shown(
    provider: Provider, tmp_path: Path, audience: str | list[str]
) -> None:
    published = published_by(provider.issuer)
    token = provider.sign({"iss": provider.issuer, "sub": "ana", "aud": audience})
    with pytest.raises(LoginFailed, match="would open more than a gateway") as caught:
        await login(published, tmp_path, of("ana", provider.issuer, token)).present(published)
    assert "not sent" in str(caught.value.details)
    assert token not in f"{caught.value.message}{caught.value.details}"


@pytest.mark.parametrize(
    ("request_", "scopes"),
    [({"resource": GRAPH}, ()), ({"audience": GRAPH}, ()), ({}, ("https://www.googleapis.com/auth/cloud-platform",))],
)
async def test_a_token_that_cannot_be_read_is_what_was_asked_for(
    tmp_path: Path, request_: Mapping[str, str], scopes: tuple[str, ...]
) -> None:
    published = replace(published_by("https://id.example.com"), request=request_)
    published = replace(published, scopes=(*published.scopes, *scopes))
    with pytest.raises(LoginFailed, match="would open more than a gateway"):
        await login(published, tmp_path, of("ana", published.issuer, "opaque")).present(published)


async def test_a_token_for_the_gateway_is_shown(provider: Provider, tmp_path: Path) -> None:
    token = provider.sign({"iss": provider.issuer, "sub": "ana", "aud": AUDIENCE})
    published = replace(published_by(provider.issuer), request={"audience": AUDIENCE})
    assert (await login(published, tmp_path, of("ana", provider.issuer, token)).present(published)).token == token
    # An ID token is for the client that logged in, whatever the access token beside it is for.
    published = replace(published_by(provider.issuer, "id_token"), request={"resource": GRAPH})
    shown = await login(published, tmp_path, of("ana", provider.issuer, "", token)).present(published)
    assert shown.token == token
