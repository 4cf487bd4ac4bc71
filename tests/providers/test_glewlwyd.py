"""What only glewlwyd does: it means its `interval`, answers a dead refresh token with nothing at all, and speaks DPoP in C."""

import asyncio
from dataclasses import replace

import httpx2
import pytest

from airtunnel.errors import LoginRequired
from airtunnel.identity.compact import read_parts
from airtunnel.identity.login.drive import DevicePrompt, log_in, refresh, revoke
from airtunnel.identity.proof import ProofKey
from airtunnel.identity.tokenset import Bound, TokenSet
from airtunnel.identity.verify.verifier import TrustedIssuer, Verifier
from airtunnel.wire.control import Published
from tests.providers.glewlwyd import CLIENT, SECRET, SECRET_CLIENT, Glewlwyd


class Login:
    """A login by code in which ana approves before the poll of that number; `pauses`: how long each wait really takes."""

    def __init__(self, provider: Glewlwyd, approved_at: int, pauses: tuple[float, ...]) -> None:
        self.provider = provider
        self.approved_at = approved_at
        self.pauses = pauses
        self.waits: list[float] = []
        self.page = ""

    def show(self, prompt: DevicePrompt) -> None:
        self.page = prompt.verification_uri_complete or ""

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        if len(self.waits) == self.approved_at:
            await asyncio.to_thread(self.provider.approve, self.page)
        await asyncio.sleep(self.pauses[len(self.waits) - 1])

    async def run(self, published: Published) -> TokenSet:
        return await log_in(published, show=self.show, flow="device", sleep=self.sleep)


async def log_in_at_once(provider: Glewlwyd, published: Published | None = None) -> TokenSet:
    """The first poll is never too early."""
    return await Login(provider, 1, (0,)).run(published or provider.published())


async def test_who_asks_too_often_is_slowed_down_and_then_logged_in(glewlwyd: Glewlwyd) -> None:
    login = Login(glewlwyd, 3, (0, 0, 6))
    tokens = await login.run(glewlwyd.published())
    assert login.waits == [5, 5, 10]
    assert tokens.refresh_token


async def test_its_tokens_are_good_for_the_audience_that_it_makes_of_the_scopes(glewlwyd: Glewlwyd) -> None:
    tokens = await log_in_at_once(glewlwyd)
    async with httpx2.AsyncClient(trust_env=False) as client:
        verifier = Verifier([TrustedIssuer(glewlwyd.issuer, ("openid data",), (CLIENT,))], client=client)
        verified = await verifier.verify(tokens.access_token)
    assert verified.principal.name == "ana@example.com"
    assert verified.principal.subject == tokens.subject


async def test_a_refresh_token_that_comes_twice_is_answered_with_nothing_and_ends_the_login(glewlwyd: Glewlwyd) -> None:
    published = glewlwyd.published()
    tokens = await log_in_at_once(glewlwyd)
    renewed = await refresh(published, tokens)
    assert renewed.refresh_token != tokens.refresh_token
    form = {"grant_type": "refresh_token", "refresh_token": tokens.refresh_token, "client_id": CLIENT}
    for dead in (tokens, renewed):
        with pytest.raises(LoginRequired, match=f"your login at {glewlwyd.issuer} has ended") as caught:
            await refresh(published, dead)
        assert caught.value.hint == "airtunnel login gateway.example.com"
    async with httpx2.AsyncClient(trust_env=False) as client:
        answer = await client.post(f"{glewlwyd.issuer}/token", data=form)
    assert (answer.status_code, answer.content) == (400, b"")


async def test_a_client_with_a_secret_shows_it_renews_and_revokes(glewlwyd: Glewlwyd) -> None:
    published = glewlwyd.published(SECRET_CLIENT, client_secret=SECRET)
    tokens = await refresh(published, await log_in_at_once(glewlwyd, published))
    assert await revoke(published, tokens) is True
    with pytest.raises(LoginRequired, match="has ended"):
        await refresh(published, tokens)


async def test_where_a_client_without_a_secret_may_not_revoke_nothing_is_claimed(glewlwyd: Glewlwyd) -> None:
    tokens = await log_in_at_once(glewlwyd)
    assert await revoke(glewlwyd.published(), tokens) is False
    await refresh(glewlwyd.published(), tokens)


@pytest.mark.parametrize("binding", ["auto", "dpop"])
async def test_a_login_is_tied_to_its_key_and_without_it_is_not_renewed(glewlwyd: Glewlwyd, binding: str) -> None:
    published = glewlwyd.published(binding=binding)
    tokens = await log_in_at_once(glewlwyd, published)
    assert tokens.bound is not None
    key = ProofKey.load(tokens.bound.key)
    for _ in range(2):
        assert read_parts(tokens.access_token)[1]["cnf"] == {"jkt": key.thumbprint}
        tokens = await refresh(published, tokens)
    stolen = replace(tokens, bound=Bound("dpop", ProofKey.generate().dump()))
    with pytest.raises(LoginRequired):
        await refresh(published, stolen)
