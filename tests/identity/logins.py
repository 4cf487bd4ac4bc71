"""Logins as a person makes them, whose waits take no time."""

from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from airtunnel.identity.login.device import DevicePrompt
from airtunnel.identity.login.drive import Flow, log_in
from airtunnel.identity.tokenset import TokenSet
from airtunnel.wire.control import Published
from tests.identity.provider import Provider, published_by
from tests.identity.visitor import Visitor


@dataclass
class Login:
    """A login whose waits take no time, and which notes what was shown and waited."""

    shown: list[DevicePrompt] = field(default_factory=list, kw_only=True)
    waits: list[float] = field(default_factory=list, kw_only=True)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def run(self, published: Published, timeout: float = 180) -> TokenSet:
        return await log_in(published, show=self.shown.append, timeout=timedelta(seconds=timeout), sleep=self.sleep)


@dataclass
class AtBrowser(Login):
    """A login with the browser: `visitor` is the browser, `lines` what the person pastes, `said` what they were told."""

    visitor: Visitor = field(default_factory=Visitor)
    lines: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    async def pasted(self) -> str:
        if not self.visitor.follows:
            await self.visitor.arrived.wait()
        return self.lines.pop(0).format(*self.visitor.ended) if self.lines else ""

    async def open(
        self, published: Published, *, flow: Flow | None = None, local_browser: bool = True, timeout: float = 20
    ) -> TokenSet:
        try:
            return await log_in(
                published,
                show=self.shown.append,
                open_page=self.visitor.open,
                pasted=self.pasted,
                flow=flow,
                local_browser=local_browser,
                say=self.said.append,
                timeout=timedelta(seconds=timeout),
                sleep=self.sleep,
            )
        finally:
            await self.visitor.leave()

    @property
    def page(self) -> str:
        """What the browser shows at the end."""
        return self.visitor.pages[-1].text


def in_browser(provider: Provider, **changed: Any) -> Published:  # Any: fields of Published
    return replace(published_by(provider.issuer), **{"flows": ("browser",)} | changed)
