"""A person at a browser: a real, headless Chromium that clicks through a provider's own pages."""

import asyncio
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright, ProxySettings

T = TypeVar("T")
LIMIT_MS = 30_000
"""Milliseconds that any page may take."""


class Chromium:
    """One browser, for all tests. It lives in a thread of its own: Playwright's calls block, and belong to one thread."""

    def __init__(self) -> None:
        program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
        if program is None:
            pytest.skip("there is no chromium")
        sync_api = pytest.importorskip("playwright.sync_api", reason="there is no Python package playwright")
        self._thread = ThreadPoolExecutor(1, "chromium")
        self._playwright: Playwright = self._thread.submit(lambda: sync_api.sync_playwright().start()).result()
        self._browser: Browser = self._thread.submit(self._launch, program).result()

    def _launch(self, program: str) -> "Browser":
        # The pages ask for fonts from elsewhere, and a test machine may wait long for a network that it does not have.
        no_network = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
        return self._playwright.chromium.launch(executable_path=program, args=[no_network])

    def close(self) -> None:
        """Nothing of it runs afterwards."""
        self._thread.submit(self._browser.close).result()
        self._thread.submit(self._playwright.stop).result()
        self._thread.shutdown()

    async def visit(self, address: str, act: "Callable[[Page], T]", *, elsewhere: bool = False) -> T:
        """What `act` gives on the page at `address`, opened by a person without cookies, whose browser trusts any certificate.

        elsewhere: the browser is on another machine than we are: of this one it reaches the address's port only
        """
        return await asyncio.wrap_future(self._thread.submit(self._visit, address, act, elsewhere))

    def _visit(self, address: str, act: "Callable[[Page], T]", elsewhere: bool) -> T:
        # Nobody listens at port 1. Requests after a redirect cannot be routed elsewhere in a simpler way.
        wall: ProxySettings = {"server": "http://127.0.0.1:1", "bypass": f"<-loopback>,{urlsplit(address).netloc}"}
        context = self._browser.new_context(ignore_https_errors=True, proxy=wall if elsewhere else None)
        try:
            context.set_default_timeout(LIMIT_MS)
            page = context.new_page()
            page.goto(address)
            return act(page)
        finally:
            context.close()
