"""Logging in at a gateway's OpenID provider: the flow that fits is chosen, and driven with a network and a person."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from airtunnel.errors import AirtunnelError, LoginFailed, Unreachable
from airtunnel.identity.answer import Answer
from airtunnel.identity.http import http_client
from airtunnel.identity.login.binding import Tie, choose_tie
from airtunnel.identity.login.browser import (
    BrowserFlow,
    BrowserPrompt,
    Drawn,
    Open,
    Redirect,
    Returned,
    belongs,
    browser_flow,
    misread,
    pasted_query,
)
from airtunnel.identity.login.choice import NAMES, Flow, after, choose_flow, known_flows
from airtunnel.identity.login.client import Client, acting_in
from airtunnel.identity.login.device import DeviceFlow, DevicePrompt, NotOffered, Post, Show, Wait, device_flow
from airtunnel.identity.login.loopback import Loopback
from airtunnel.identity.login.page import DONE, Page
from airtunnel.identity.login.refusal import again
from airtunnel.identity.login.renew import refresh, revoke
from airtunnel.identity.provider import ProviderMetadata, fetch_metadata
from airtunnel.identity.tokenset import TokenSet
from airtunnel.wire.control import Published

if TYPE_CHECKING:
    import httpx2

__all__ = ["BrowserPrompt", "DevicePrompt", "Flow", "log_in", "refresh", "revoke"]

Sleep = Callable[[float], Awaitable[object]]
Paste = Callable[[], Awaitable[str]]


async def log_in(
    published: Published,
    *,
    show: Callable[[DevicePrompt], None],
    open_page: Callable[[BrowserPrompt], None] | None = None,
    pasted: Paste | None = None,
    flow: Flow | None = None,
    local_browser: bool = True,
    say: Callable[[str], None] = lambda words: None,
    gateway: str | None = None,
    timeout: timedelta = timedelta(seconds=180),
    ca: Path | str | None = None,
    sleep: Sleep = asyncio.sleep,
) -> TokenSet:
    """The tokens of a person who has logged in at their provider within `timeout`.

    show: called once in a login by device code, with what the person needs to see
    open_page: the same in a login with the browser, which is not tried without it
    pasted: the next line that the person typed or pasted, `""` when there will be none; cancelled when nobody needs it anymore
    flow: the only one to use; None: what `choose_flow` says
    local_browser: whether a browser can be opened on this machine
    say: called with one line at a time: why this flow, what was wrong with a pasted line
    gateway: the gateway as the person calls it, for hints; ca: authorities of the provider, instead of the published ones
    Raises LoginFailed, Unreachable, Temporary or ProtocolError as the flows do, AddressTaken where no browser can come back.
    """
    published = replace(published, name=gateway or published.name)
    known_flows(published)  # before anybody is asked anything
    wanted: Flow | None = flow if open_page is not None else "device"
    async with http_client(ca=ca or published.ca) as http:
        metadata = await fetch_metadata(published.issuer, http, published.endpoints)
        choice = choose_flow(published, metadata, wanted, local_browser)
        if wanted is None and (choice.other or choice.surprising):
            say(choice.words)
        login = _Login(http, metadata, published, show, open_page or _nobody, pasted, say, timeout, sleep)
        try:
            return await login.run(choice.flow)
        except NotOffered as error:
            left = after(choice.flow, error.message, published, metadata) if wanted is None else None
            if left is None:
                raise _advised(error, choice.other, published) from error.__cause__
            say(left.words)
            return await login.run(left.flow)
        except LoginFailed as error:
            raise _advised(error, choice.other, published) from error.__cause__


@dataclass(frozen=True, slots=True)
class _Login:
    """What both flows need. The fields after `published` are those of `log_in`."""

    http: "httpx2.AsyncClient"
    metadata: ProviderMetadata
    published: Published
    show: Callable[[DevicePrompt], None]
    open_page: Callable[[BrowserPrompt], None]
    pasted: Paste | None
    say: Callable[[str], None]
    timeout: timedelta
    sleep: Sleep

    async def run(self, flow: Flow) -> TokenSet:
        acting = acting_in(self.published, flow)
        tie = choose_tie(acting, self.metadata, flow, secrets.token_urlsafe(32))
        client = Client(self.http, self.metadata, acting, tie.key if tie is not None and tie.proves else None)
        if flow == "device":
            return await self._with_code(client, tie)
        return await self._with_browser(client, tie)

    async def _with_code(self, client: Client, tie: Tie | None) -> TokenSet:
        flow = device_flow(self.metadata, client.published, now=datetime.now(UTC), limit=self.timeout, tie=tie)
        return await _drive_device(flow, client, self.show, self.sleep)

    async def _with_browser(self, client: Client, tie: Tie | None) -> TokenSet:
        nonce = (tie.nonce if tie else None) or secrets.token_urlsafe(32)
        drawn = Drawn(secrets.token_urlsafe(32), secrets.token_urlsafe(48), nonce)
        hint = again(self.published)
        hint += " --flow device" if "device" in self.published.flows else ""
        async with Loopback.open(client.published.browser, lambda query: belongs(query, drawn.state), hint) as listener:
            flow = browser_flow(
                self.metadata,
                client.published,
                redirect_uri=listener.redirect_uri,
                drawn=drawn,
                tie=tie,
                now=datetime.now(UTC),
                limit=self.timeout,
            )
            try:
                tokens = await self._drive_browser(flow, client, listener, drawn.state)
            except AirtunnelError as error:
                listener.finish(Page("You are not logged in", f"{error.message}. You may close this tab."))
                raise
            listener.finish(DONE)
            return tokens

    async def _drive_browser(self, flow: BrowserFlow, client: Client, listener: Loopback, state: str) -> TokenSet:
        try:
            command = next(flow)
            while True:
                reply: Answer | Returned | None = None
                match command:
                    case Open(prompt):
                        self.open_page(prompt)
                    case Redirect():
                        reply = await self._come_back(listener, state)
                    case Post():
                        reply = await _answer(client, command)
                command = flow.send(reply)
        except StopIteration as stop:
            tokens: TokenSet = stop.value
            return tokens
        finally:
            flow.close()

    async def _come_back(self, listener: Loopback, state: str) -> Returned:
        """What the browser brings to the listener, or the person to the terminal: whichever comes first."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        ways = [asyncio.ensure_future(listener.returned())]
        if self.pasted is not None:
            ways.append(asyncio.ensure_future(_read_paste(self.pasted, state, listener.redirect_uri, self.say)))
        try:
            done, _ = await asyncio.wait(ways, timeout=self.timeout.total_seconds(), return_when=asyncio.FIRST_COMPLETED)
            if not done:
                raise LoginFailed(
                    f"nobody came back from the browser within {self.timeout.total_seconds():g} s", hint=again(self.published)
                )
            return Returned(done.pop().result(), timedelta(seconds=loop.time() - start))
        finally:
            for one in ways:
                one.cancel()
            await asyncio.gather(*ways, return_exceptions=True)


async def _read_paste(pasted: Paste, state: str, redirect_uri: str, say: Callable[[str], None]) -> str:
    """The query in the first pasted line that is the answer to this login; each other line is told what was expected."""
    while text := await pasted():
        query = pasted_query(text)
        if belongs(query, state):
            return query
        if text.strip():
            say(misread(query, redirect_uri))
    never: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    return await never  # there is no terminal: only the browser is left


async def _answer(client: Client, command: Post) -> Answer:
    start = asyncio.get_running_loop().time()
    try:
        return await client.post(command.endpoint, command.form)
    except Unreachable as trouble:
        took = timedelta(seconds=asyncio.get_running_loop().time() - start)
        return Answer(0, body=None, trouble=trouble, took=took)


async def _drive_device(flow: DeviceFlow, client: Client, show: Callable[[DevicePrompt], None], sleep: Sleep) -> TokenSet:
    try:
        command = next(flow)
        while True:
            reply: Answer | None = None
            match command:
                case Post():
                    reply = await _answer(client, command)
                case Wait(duration):
                    await sleep(duration.total_seconds())
                case Show(prompt):
                    show(prompt)
            command = flow.send(reply)
    except StopIteration as stop:
        tokens: TokenSet = stop.value
        return tokens
    finally:
        flow.close()


def _advised(error: LoginFailed, other: Flow | None, published: Published) -> LoginFailed:
    """With what to do next. A provider that forbids one flow may say so in words that do not help: the other is named."""
    error.hint = error.hint or again(published)
    if other is not None:
        error.details = (*error.details, f"`--flow {other}` logs in with {NAMES[other]} instead")
    return error


def _nobody(prompt: BrowserPrompt) -> None:
    raise TypeError("a login in the browser needs open_page")
