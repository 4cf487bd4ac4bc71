"""What becomes of a login at a provider that rotates refresh tokens, and ends the login when one comes twice."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airtunnel.errors import LoginRequired, Unreachable
from airtunnel.identity.login.drive import refresh, revoke
from airtunnel.identity.store import MemoryStore
from airtunnel.identity.tokens import fresh_tokens, load_tokens, save_tokens
from airtunnel.identity.tokenset import TokenSet
from tests.identity.racing import racing
from tests.providers.chromium import Chromium
from tests.providers.oidc import OidcProvider, find_modules
from tests.providers.person import log_in_by_code

GATEWAY = "gateway.example.com"


@pytest.fixture
async def tokens(oidc: OidcProvider, chromium: Chromium) -> TokenSet:
    return await log_in_by_code(chromium, oidc.published())


async def assert_ended(oidc: OidcProvider, tokens: TokenSet) -> None:
    with pytest.raises(LoginRequired, match=f"your login at {oidc.issuer} has ended") as caught:
        await refresh(oidc.published(), tokens)
    assert caught.value.hint == f"airtunnel login {GATEWAY}"


async def test_each_renewal_brings_another_refresh_token_for_the_same_person(oidc: OidcProvider, tokens: TokenSet) -> None:
    seen = {tokens.refresh_token}
    for number in range(2, 5):
        tokens = await refresh(oidc.published(), tokens)
        assert (tokens.subject, tokens.name) == ("ana", "ana@example.com")
        seen.add(tokens.refresh_token)
        assert len(seen) == number


async def test_a_refresh_token_that_comes_twice_ends_the_login(oidc: OidcProvider, tokens: TokenSet) -> None:
    renewed = await refresh(oidc.published(), tokens)
    await assert_ended(oidc, tokens)
    assert oidc.events("grant.error")[-1]["reason"] == "refresh token already used"
    await assert_ended(oidc, renewed)


async def test_a_login_that_was_revoked_is_over(oidc: OidcProvider, tokens: TokenSet) -> None:
    assert await revoke(oidc.published(), tokens) is True
    await assert_ended(oidc, tokens)


async def test_four_processes_that_renew_at_once_never_use_a_token_twice(
    oidc: OidcProvider, tokens: TokenSet, tmp_path: Path
) -> None:
    before = len(oidc.events("grant.success", "grant.error"))
    with racing(tmp_path, oidc.published(), tokens, 4) as race:
        for _ in range(10):
            said = race()
            assert len(set(said)) == 1, said
            assert not said[0].startswith("error"), said
    after = oidc.events("grant.success", "grant.error")[before:]
    assert [(one["event"], one["grant"]) for one in after] == [("grant.success", "refresh_token")] * 10


@pytest.fixture
def other(tmp_path: Path) -> Iterator[OidcProvider]:
    """A provider that may be stopped."""
    provider = OidcProvider(find_modules(), tmp_path / "provider")
    provider.start()
    yield provider
    provider.stop()


async def test_while_the_provider_is_down_it_is_named_and_the_login_is_kept(
    other: OidcProvider, chromium: Chromium, tmp_path: Path
) -> None:
    store, published, now = MemoryStore(), other.published(), datetime.now(UTC)
    tokens = await log_in_by_code(chromium, published)
    save_tokens(store, published, GATEWAY, replace(tokens, expires_at=now))
    other.stop()
    for _ in range(2):
        with pytest.raises(Unreachable, match=f"127.0.0.1:{other.port} does not answer: nothing listens there"):
            await fresh_tokens(store, published, GATEWAY, now=now, locks=tmp_path)
    kept = load_tokens(store, GATEWAY, published.issuer)
    assert kept is not None
    assert kept.refresh_token == tokens.refresh_token
    other.start()
    renewed = await fresh_tokens(store, published, GATEWAY, now=now, locks=tmp_path)
    assert renewed.refresh_token != tokens.refresh_token
    assert renewed.subject == "ana"
