"""A browser that goes where it is sent, as a real HTTP client: the other end of the login in the browser."""

import asyncio
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httpx2

from airtunnel.identity.login.browser import BrowserPrompt


@dataclass
class Visitor:
    """`open` is what log_in calls. `pages`: what was on the screen at the end of each visit, after all redirects.

    arrived: one of the visits is at its end
    follows: whether it comes back to this machine by itself; else `ended` holds the addresses at which it got stuck
    """

    follows: bool = True
    prompts: list[BrowserPrompt] = field(default_factory=list)
    pages: list[httpx2.Response] = field(default_factory=list)
    ended: list[str] = field(default_factory=list)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _visits: list["asyncio.Future[None]"] = field(default_factory=list)

    def open(self, prompt: BrowserPrompt) -> None:
        self.prompts.append(prompt)
        self._visits.append(asyncio.ensure_future(self._visit(prompt.url)))

    async def leave(self) -> None:
        """Wait until every page has been shown."""
        await asyncio.gather(*self._visits)

    async def _visit(self, url: str) -> None:
        async with httpx2.AsyncClient(trust_env=False, timeout=20) as client:
            answer = await client.get(url)
            while answer.is_redirect:
                url = answer.headers["location"]
                if not self.follows and urlsplit(url).path == "/callback":
                    self.ended.append(url)
                    self.arrived.set()
                    return
                answer = await client.get(url)
            self.pages.append(answer)
            self.arrived.set()
