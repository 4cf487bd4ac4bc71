"""A person who logs in at oidc-provider: the product's own flow on one side, a browser with its pages on the other."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from airtunnel.identity.login.drive import BrowserPrompt, DevicePrompt, log_in
from airtunnel.identity.tokenset import TokenSet
from airtunnel.wire.control import Published
from tests.providers import pages
from tests.providers.chromium import Chromium


@contextlib.asynccontextmanager
async def visiting(
    chromium: Chromium, act: pages.Act
) -> AsyncIterator[tuple[Callable[[str], None], Callable[[], asyncio.Task[object]]]]:
    """A visit that has not begun: what begins it, and its task, which is over when the block is."""
    tasks: list[asyncio.Task[object]] = []

    def begin(address: str) -> None:
        tasks.append(asyncio.ensure_future(chromium.visit(address, act)))

    try:
        yield begin, lambda: tasks[0]
    finally:
        await asyncio.gather(*tasks)


async def log_in_by_code(chromium: Chromium, published: Published, act: pages.Act = pages.approve_device) -> TokenSet:
    """The tokens of a login by code, for which somebody does `act` on the page that the login shows."""
    polls = 0

    async with visiting(chromium, act) as (begin, visit):

        def show(prompt: DevicePrompt) -> None:
            begin(prompt.verification_uri_complete or prompt.verification_uri)

        async def sleep(seconds: float) -> None:
            nonlocal polls
            polls += 1
            if polls > 1:  # the first one comes too early, as it does when a person takes their time
                await visit()

        return await log_in(published, show=show, flow="device", sleep=sleep)


async def log_in_by_browser(chromium: Chromium, published: Published, act: pages.Act = pages.approve_browser) -> TokenSet:
    """The tokens of a login in the browser, in which somebody does `act`."""
    async with visiting(chromium, act) as (begin, _):

        def open_page(prompt: BrowserPrompt) -> None:
            begin(prompt.url)

        return await log_in(published, show=nothing_shown, open_page=open_page, flow="browser")


def nothing_shown(prompt: DevicePrompt) -> None:
    raise AssertionError("a login in the browser shows no code")
