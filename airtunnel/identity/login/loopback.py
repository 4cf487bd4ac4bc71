"""The listener on this machine at which a browser ends after a login (RFC 8252 sections 7.3 and 8.3).

It takes one answer, the one that belongs to its login. Everything else that may reach a port of this machine (a page in
another tab, a port scanner, a name that somebody made point to 127.0.0.1) is turned away, and cannot end the login.
"""

import asyncio
import contextlib
import errno
import os
import re
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from http import HTTPStatus
from typing import Self

from airtunnel.errors import AddressTaken
from airtunnel.identity.login.page import HEADERS, OVER, Page, render
from airtunnel.model import BrowserClient

MAX_HEAD = 8 * 1024
"""Bytes of a request's line and headers."""
PATIENCE = timedelta(seconds=5)
"""For one connection to say what it wants, and to take its page."""
MOST = 8
"""Connections at a time. Browsers open some in advance and leave them idle."""

# What a machine without IPv6 says.
_NO_IPV6 = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
_REQUEST = re.compile(rb"([A-Z]{1,20}) (/[!-~]*) HTTP/1\.[01]")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*)")


@dataclass(frozen=True, slots=True)
class Request:
    """What a browser asked for. `host`: its Host header."""

    method: str
    path: str
    query: str
    host: str


class Loopback:
    """The listener, while it is open. `redirect_uri` is where the provider has to send the browser."""

    def __init__(self, browser: BrowserClient, port: int, belongs: Callable[[str], bool]) -> None:
        host = f"[{browser.host}]" if ":" in browser.host else browser.host
        self.redirect_uri = f"http://{host}:{port}{browser.path}"
        self._hosts = {f"{host}:{port}".lower()} | ({host.lower()} if port == 80 else set())
        self._path = browser.path
        self._belongs = belongs
        loop = asyncio.get_running_loop()
        self._query: asyncio.Future[str] = loop.create_future()
        self._page: asyncio.Future[Page] = loop.create_future()
        self._connections: dict[asyncio.Task[object], asyncio.StreamWriter] = {}
        self._asked: set[asyncio.Task[object]] = set()

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, browser: BrowserClient, belongs: Callable[[str], bool], hint: str | None = None) -> AsyncIterator[Self]:
        """A listener at the first free port of `browser.ports`, for the query of which `belongs` says that it is ours.

        hint: what to type where all ports are in use, which raises AddressTaken
        """
        sockets = _bind(browser, hint)
        here = cls(browser, sockets[0].getsockname()[1], belongs)
        servers = [await asyncio.start_server(here._serve, sock=one, limit=MAX_HEAD) for one in sockets]
        try:
            yield here
        finally:
            for server in servers:
                server.close()
            await here._close()

    async def returned(self) -> str:
        """The query with which the browser came back."""
        return await asyncio.shield(self._query)

    def finish(self, page: Page) -> None:
        """Show the browser how the login ended: until then its tab goes on loading."""
        if not self._page.done():
            self._page.set_result(page)

    async def _close(self) -> None:
        self.finish(OVER)
        self._query.cancel()
        # Browsers keep connections in reserve: nobody waits for those that have asked for nothing.
        if self._asked:
            await asyncio.wait(self._asked)  # no longer than PATIENCE
        for writer in self._connections.values():
            writer.transport.abort()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("asyncio serves each connection in a task of its own")
        if len(self._connections) >= MOST:
            # The oldest goes, not the newest: who holds connections open and says nothing must not keep the browser out.
            next(iter(self._connections.values())).transport.abort()
        self._connections[task] = writer
        try:
            head = await _read_head(reader)
            self._asked.add(task)
            status, page = await self._answer(head)
            writer.write(_response(status, page))
            async with asyncio.timeout(PATIENCE.total_seconds()):
                await writer.drain()
        except (TimeoutError, OSError, EOFError):
            pass  # it said nothing, or is gone: the next connection may be the one
        finally:
            del self._connections[task]
            self._asked.discard(task)
            writer.close()

    async def _answer(self, head: bytes | None) -> tuple[HTTPStatus, Page]:
        if head is None:
            return HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, Page(
                "Your browser sent too much", "Copy this page's address from the address bar, and paste it into the terminal."
            )
        request = read_request(head)
        if request is None or request.method != "GET":
            return HTTPStatus.BAD_REQUEST, Page("This is no request of a browser", "It was not answered.")
        if request.host.lower() not in self._hosts:
            return HTTPStatus.MISDIRECTED_REQUEST, Page("Not here", "This address goes by another name.")
        if request.path != self._path:
            return HTTPStatus.NOT_FOUND, Page(
                "Nothing here", "A login in your terminal waits for its answer at another address."
            )
        return await self._take(request.query)

    async def _take(self, query: str) -> tuple[HTTPStatus, Page]:
        if not self._belongs(query):
            return HTTPStatus.BAD_REQUEST, Page(
                "This is not the answer to your login",
                "It belongs to another login, or is incomplete. Open the address that the terminal shows once more.",
            )
        if not self._query.done():
            self._query.set_result(query)
        elif self._query.cancelled() or self._query.result() != query:
            return HTTPStatus.CONFLICT, Page("This login has its answer already", "A second one is not taken.")
        page = await asyncio.shield(self._page)
        return HTTPStatus.OK, page


def read_request(head: bytes) -> Request | None:
    """A request's line and headers (RFC 9112 sections 2 to 5), read strictly; None if it is none of HTTP/1's.

    Exactly one Host header: two readers of a request with more would not agree on whose it is.
    """
    first, *lines = head.removesuffix(b"\r\n\r\n").split(b"\r\n")
    line = _REQUEST.fullmatch(first)
    headers = [_HEADER.fullmatch(one) for one in lines]
    if line is None or None in headers:
        return None
    hosts = [one[2].strip() for one in headers if one is not None and one[1].lower() == b"host"]
    if len(hosts) != 1:
        return None
    path, _, query = line[2].decode("ascii").partition("?")
    return Request(line[1].decode("ascii"), path, query, hosts[0].decode("latin-1"))


async def _read_head(reader: asyncio.StreamReader) -> bytes | None:
    """A request up to its empty line; None if it is too long. Raises TimeoutError, EOFError or OSError if none comes."""
    async with asyncio.timeout(PATIENCE.total_seconds()):
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            return None


def _response(status: HTTPStatus, page: Page) -> bytes:
    body = render(page)
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", *(f"{name}: {value}" for name, value in HEADERS.items())]
    return "\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body


def _bind(browser: BrowserClient, hint: str | None) -> list[socket.socket]:
    troubles: list[str] = []
    for port in browser.ports:
        # With any free port for IPv4, the same one may be in use for IPv6: then another pair is tried.
        for _ in range(1 if port else 10):
            try:
                return _listen(browser.host, port)
            except OSError as error:
                trouble = error
        troubles.append(f"{browser.host}:{port}: {os.strerror(trouble.errno or 0).lower()}")
    holders = " ".join(["lsof -nP -sTCP:LISTEN", *(f"-iTCP:{one}" for one in browser.ports if one)])
    raise AddressTaken(
        f"the browser cannot come back to this machine: {', '.join(troubles)}",
        details=(
            f"another login that is waiting here may hold them, or any other program; `{holders}` names it",
            "no other port will do: the provider sends browsers to these only",
        ),
        hint=hint,
    )


def _listen(host: str, port: int) -> list[socket.socket]:
    """Listening sockets at the host's loopback addresses, all at one port. Raises OSError."""
    if ":" in host:
        return [_socket(socket.AF_INET6, "::1", port)]
    first = _socket(socket.AF_INET, "127.0.0.1", port)
    if host != "localhost":
        return [first]
    try:
        # A browser may try ::1 first. Were it left to somebody else, the code would be theirs.
        return [first, _socket(socket.AF_INET6, "::1", first.getsockname()[1])]
    except OSError as error:
        if error.errno in _NO_IPV6:
            return [first]
        first.close()
        raise


def _socket(family: socket.AddressFamily, address: str, port: int) -> socket.socket:
    made = socket.create_server((address, port), family=family, backlog=MOST)
    made.setblocking(False)
    return made
