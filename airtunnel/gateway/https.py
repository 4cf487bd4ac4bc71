"""The HTTPS server: uvicorn, made patient with nobody.

uvicorn waits for ever for the first request of a connection, and believes what a proxy header says of the client's address. A
gateway that strangers can reach must do neither.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_LIMIT = timedelta(seconds=10)
"""For the first request of a connection to be there, headers and all."""
MAX_CONNECTIONS = 1000
"""At a time. Each client needs one for some milliseconds; more than that is no client."""
BACKLOG = 1024
"""Connections waiting to be accepted: a whole company coming back after lunch."""
CLOSE_LIMIT = 2
"""Seconds for running requests at the end."""


class Impatient(H11Protocol):
    """Closes a connection on which no request has come."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as its base has it
        super().connection_made(transport)
        self._giving_up = self.loop.call_later(REQUEST_LIMIT.total_seconds(), self._give_up)

    def connection_lost(self, exc: Exception | None) -> None:
        self._giving_up.cancel()
        super().connection_lost(exc)

    def _give_up(self) -> None:
        if self.cycle is None:
            self.transport.abort()


class Server(uvicorn.Server):
    """uvicorn inside somebody else's event loop: signals are the gateway's business."""

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
