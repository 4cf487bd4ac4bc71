"""A login in the browser, with PKCE and a port of this machine, at a provider that others wrote."""

import asyncio
from typing import TYPE_CHECKING

import pytest

from airtunnel.errors import LoginFailed
from airtunnel.identity.login.drive import BrowserPrompt, log_in
from airtunnel.wire.control import Published
from tests.providers import pages
from tests.providers.chromium import Chromium
from tests.providers.oidc import OidcProvider
from tests.providers.person import log_in_by_browser, nothing_shown

if TYPE_CHECKING:
    from playwright.sync_api import Page


@pytest.fixture
def published(oidc: OidcProvider) -> Published:
    """Of a gateway that wants the browser."""
    return oidc.published(flows=("browser",))


async def test_who_logs_in_there_is_logged_in_here(oidc: OidcProvider, chromium: Chromium, published: Published) -> None:
    tokens = await log_in_by_browser(chromium, published)
    assert (tokens.subject, tokens.name, tokens.issuer) == ("ana", "ana@example.com", oidc.issuer)
    assert tokens.refresh_token


async def test_who_cancels_there_is_told_so_here_and_there(
    oidc: OidcProvider, chromium: Chromium, published: Published
) -> None:
    with pytest.raises(LoginFailed, match=f"the login was refused at 127.0.0.1:{oidc.port}"):
        await log_in_by_browser(chromium, published, pages.cancel_browser)


async def test_where_the_browser_cannot_come_back_its_address_can_be_pasted(chromium: Chromium, published: Published) -> None:
    visits: list[asyncio.Future[str]] = []

    def open_page(prompt: BrowserPrompt) -> None:
        def act(page: "Page") -> str:
            pages.log_in(page, "ana")
            with page.expect_event("requestfailed", lambda one: one.url.startswith(prompt.redirect_uri)) as failed:
                pages.consent(page)
            return str(failed.value.url)

        visits.append(asyncio.ensure_future(chromium.visit(prompt.url, act, elsewhere=True)))

    said: list[str] = []
    typed = iter(["what now?\n"])

    async def paste() -> str:
        return next(typed, None) or f"  {await visits[0]}\n"

    tokens = await log_in(published, show=nothing_shown, open_page=open_page, flow="browser", pasted=paste, say=said.append)
    assert tokens.subject == "ana"
    assert visits[0].done()
    assert len(said) == 1
    assert "what now" not in said[0]
