"""Logins that are tied to a key (RFC 9449), at a provider that others wrote."""

from dataclasses import replace

import pytest

from airtunnel.errors import LoginFailed, LoginRequired
from airtunnel.identity.compact import read_parts
from airtunnel.identity.login.drive import refresh
from airtunnel.identity.proof import ProofKey, commitment
from airtunnel.identity.tokenset import Bound, TokenSet
from airtunnel.wire.control import Published
from tests.providers.chromium import Chromium
from tests.providers.oidc import OidcProvider
from tests.providers.person import log_in_by_browser, log_in_by_code


def key_of(tokens: TokenSet) -> ProofKey:
    assert tokens.bound is not None
    return ProofKey.load(tokens.bound.key)


async def assert_tied(published: Published, tokens: TokenSet) -> None:
    """Each access token names the key; another key renews nothing, and the right one does after that."""
    key = key_of(tokens)
    for _ in range(2):
        assert read_parts(tokens.access_token)[1]["cnf"] == {"jkt": key.thumbprint}
        tokens = await refresh(published, tokens)
        assert key_of(tokens).thumbprint == key.thumbprint
    with pytest.raises(LoginRequired, match="has ended"):
        await refresh(published, replace(tokens, bound=Bound("dpop", ProofKey.generate().dump())))
    await refresh(published, tokens)


@pytest.mark.parametrize("client_id", ["airtunnel", "bound"])
async def test_a_login_by_code_is_tied_also_where_the_provider_wants_a_nonce_of_its_own(
    oidc: OidcProvider, chromium: Chromium, client_id: str
) -> None:
    published = oidc.published(client_id, binding="auto")
    await assert_tied(published, await log_in_by_code(chromium, published))


async def test_a_login_in_the_browser_is_tied_before_its_code_is_made(oidc: OidcProvider, chromium: Chromium) -> None:
    published = oidc.published("bound", binding="dpop")
    await assert_tied(published, await log_in_by_browser(chromium, published))


async def test_a_client_that_must_be_tied_cannot_log_in_without(oidc: OidcProvider, chromium: Chromium) -> None:
    with pytest.raises(LoginFailed):
        await log_in_by_code(chromium, oidc.published("bound", binding="none"))


async def test_the_nonce_of_a_login_in_the_browser_comes_back_and_stays_with_the_login(
    oidc: OidcProvider, chromium: Chromium
) -> None:
    published = oidc.published(token="id_token", flows=("browser",), binding="nonce")
    tokens = await log_in_by_browser(chromium, published)
    first = tokens.id_token
    assert first is not None
    for _ in range(2):
        assert tokens.bound is not None
        assert tokens.bound.salt is not None
        assert tokens.bound.origin == first
        assert read_parts(tokens.bound.origin)[1]["nonce"] == commitment(key_of(tokens).thumbprint, tokens.bound.salt)
        tokens = await refresh(published, tokens)
