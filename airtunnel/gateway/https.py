"""The HTTPS server: uvicorn, made patient with nobody.

uvicorn waits for ever for the first request of a connection, and believes what a proxy header says of the client's address. A
gateway that strangers can reach must do neither.
"""

import asyncio
import contextlib
import functools
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_LIMIT = timedelta(seconds=10)
"""For a request to be there, headers and all; and for a handshake of TLS."""
MAX_CONNECTIONS = 1000
"""At a time. Each client needs one for some milliseconds; more than that is no client."""
BACKLOG = 1024
"""Connections waiting to be accepted: a whole company coming back after lunch."""
CLOSE_LIMIT = 2
"""Seconds for running requests at the end."""


class Impatient(H11Protocol):
    """Closes a connection on which no request comes, be it the first or a later one."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its base has it
        super().connection_made(transport)
        self._giving_up = self.loop.call_later(REQUEST_LIMIT.total_seconds(), self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._giving_up.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._giving_up.cancel()
        self._giving_up = self.loop.call_later(REQUEST_LIMIT.total_seconds(), self._give_up)

    def _give_up(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.abort()


class Server(uvicorn.Server):
    """uvicorn inside somebody else's event loop: signals are the gateway's business."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn's, but with a limit for a handshake of TLS: strangers who never begin one had a minute of asyncio's."""
        config, loop = self.config, asyncio.get_running_loop()
        make = functools.partial(Impatient, config=config, server_state=self.server_state, app_state={})
        limit = REQUEST_LIMIT.total_seconds()
        self.servers = [
            await loop.create_server(make, sock=one, ssl=config.ssl, backlog=config.backlog, ssl_handshake_timeout=limit)
            for one in sockets or ()
        ]
        self.started = True

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def make_server(app: ASGIApp, certificate: Path, key: Path) -> Server:
    """A server for `app`; `serve(sockets=[...])` runs it until its `should_exit` is set."""
    return Server(
        uvicorn.Config(
            app,
            http=Impatient,
            ssl_certfile=str(certificate),
            ssl_keyfile=str(key),
            proxy_headers=False,
            limit_concurrency=MAX_CONNECTIONS,
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=CLOSE_LIMIT,
        )
    )


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)
