"""The local end: a loopback port or Unix socket that behaves like the target, for this user alone.

    driver ---> startup, session password ---> here ---> channel ---> gateway ---> target

Others on the machine must not borrow the tunnel: a TCP port asks for the session's password and, on Linux, looks at the peer's
user id; a Unix socket has mode 0600 in a directory of mode 0700.
"""

import asyncio
import errno
import logging
import os
import secrets
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from airtunnel.errors import AddressTaken, AirtunnelError, ConfigError, UsageError
from airtunnel.model import Protocol
from airtunnel.tunnel.drive import drive
from airtunnel.tunnel.loopback import own_uid, peer_uid, port_holder
from airtunnel.tunnel.relay import Relay
from airtunnel.tunnel.stream import ChannelEnd, SocketEnd
from airtunnel.wire import postgres

logger = logging.getLogger(__name__)

LOGIN_LIMIT = timedelta(seconds=60)
"""For the driver's startup and password: a person may be typing the latter into psql."""
LONGEST_PATH = 107
"""Bytes of a Unix socket's path (sun_path of unix(7), less the final NUL)."""


@dataclass(frozen=True, slots=True)
class Bind:
    """Where to listen: a loopback port (0: any free one), or a directory to put a Unix socket into."""

    host: str = "127.0.0.1"
    port: int = 0
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class Traffic:
    """A finished local connection: bytes from and to the driver, and what went wrong, if anything did."""

    up: int
    down: int
    error: AirtunnelError | None = None


@dataclass(slots=True)
class Listener:
    """A local address for one target. `open_channel` is asked for each connection; what it raises is told to the driver."""

    target: str
    protocol: Protocol
    open_channel: Callable[[], Awaitable[ChannelEnd]]
    password: str = field(repr=False, default_factory=lambda: secrets.token_urlsafe(15))
    on_open: Callable[[], None] = lambda: None
    on_close: Callable[[Traffic], None] = lambda traffic: None
    host: str = ""
    port: int = 0
    path: Path | None = None
    _server: asyncio.Server | None = None
    _verifier: postgres.Verifier | None = None
    _running: set[asyncio.Task[None]] = field(default_factory=set)

    async def start(self, bind: Bind) -> None:
        """Listen. Raises AddressTaken, UsageError where this target cannot be guarded here, ConfigError for a bad directory."""
        if self.protocol is Protocol.POSTGRES:
            salt = secrets.token_bytes(16)
            self._verifier = await asyncio.to_thread(postgres.make_verifier, self.password, salt)
        elif bind.path is None and sys.platform != "linux":
            raise UsageError(
                f"{self.target}: a TCP port for it would be open to every user of this machine",
                hint=f"airtunnel connect {self.target}=unix:DIRECTORY",
            )
        if bind.path is None:
            await self._start_tcp(bind)
        else:
            await self._start_unix(bind.path)

    async def close(self) -> None:
        """Stop listening, drop what still runs, remove the socket."""
        if self._server is not None:
            self._server.close()
        for task in tuple(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    async def _start_tcp(self, bind: Bind) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._server = await loop.create_server(lambda: SocketEnd(self._accept), bind.host, bind.port, reuse_port=False)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise UsageError(f"port {bind.port} cannot be used: {(error.strerror or str(error)).lower()}") from error
            holder = port_holder(bind.port)
            raise AddressTaken(
                f"port {bind.port} is in use" + (f" by {holder}" if holder else ""),
                hint=f"airtunnel connect {self.target}=0 (any free port)",
            ) from error
        self.host, self.port = self._server.sockets[0].getsockname()[:2]

    async def _start_unix(self, directory: Path) -> None:
        # libpq looks for this name when its host is a directory and its port the default.
        path = directory / (".s.PGSQL.5432" if self.protocol is Protocol.POSTGRES else f"{self.target}.sock")
        if len(os.fsencode(path)) > LONGEST_PATH:
            raise ConfigError(f"{path}: longer than the {LONGEST_PATH} bytes that a socket's path may have")
        _prepare(directory, path)
        listening = _bind_unix(path)
        self._server = await asyncio.get_running_loop().create_unix_server(lambda: SocketEnd(self._accept), sock=listening)
        self.path = path

    def _accept(self, client: SocketEnd) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(client))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _serve(self, client: SocketEnd) -> None:
        relay: Relay | None = None
        failure: AirtunnelError | None = None
        self.on_open()
        try:
            greeting = await self._greet(client)
            channel = await self.open_channel()
            try:
                channel.write(greeting)
                relay = Relay(client, channel)
                await relay.run()
            finally:
                channel.close()
        except AirtunnelError as error:
            failure = error
            if self.protocol is Protocol.POSTGRES:
                client.write(postgres.error_response(error))
        except ConnectionError as error:
            logger.debug("a driver of %s left during its login: %s", self.target, error)
        finally:
            client.close()
            self.on_close(Traffic(relay.up.count if relay else 0, relay.down.count if relay else 0, failure))

    async def _greet(self, client: SocketEnd) -> bytes:
        """What the gateway is to be sent first, once the driver is known to be this user's."""
        if self.protocol is not Protocol.POSTGRES:
            self._check_peer(client)
            return b""
        startup = await drive(postgres.read_startup(), client, limit=LOGIN_LIMIT, peer="the driver")
        self._check_peer(client)
        if isinstance(startup, postgres.CancelRequest):
            return postgres.encode_cancel(startup)  # its key is the password
        if self.path is None and self._verifier is not None:
            flow = postgres.check_password(self._verifier, secrets.token_urlsafe(18))
            await drive(flow, client, limit=LOGIN_LIMIT, peer="the driver")
        return postgres.encode_startup(startup)

    def _check_peer(self, client: SocketEnd) -> None:
        if self.path is not None:
            return  # the file's mode has answered
        peer, local = (client.transport.get_extra_info(name) for name in ("peername", "sockname"))
        uid = peer_uid(peer[:2], local[:2])
        if uid is not None and uid not in (own_uid(), 0):
            logger.warning("%s: user id %d tried to use the tunnel", self.target, uid)
            raise UsageError(
                "this tunnel belongs to another user of this machine", hint=f"airtunnel connect {self.target}, as yourself"
            )
        if uid is None and sys.platform == "linux" and self.protocol is not Protocol.POSTGRES:
            raise UsageError("this machine does not say whose connection this is", hint="connect from the machine itself")


def _prepare(directory: Path, path: Path) -> None:
    """A directory that nobody else may enter, without a socket that nobody listens on. Raises AddressTaken, ConfigError."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.stat().st_mode & 0o077:
            raise ConfigError(f"{directory}: others may enter this directory", hint=f"chmod 700 {directory}")
        if not path.exists():
            return
        if not path.is_socket():
            raise ConfigError(f"{path} is not a socket, and in the way of one", hint="choose another directory")
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
    except ConnectionRefusedError:
        path.unlink()
    except OSError as error:
        raise ConfigError(f"{path}: {(error.strerror or str(error)).lower()}") from error
    else:
        raise AddressTaken(f"{path} is in use", hint="choose another directory")


def _bind_unix(path: Path) -> socket.socket:
    """A socket at `path`, of mode 0600 before anybody can connect to it. Raises ConfigError."""
    listening = socket.socket(socket.AF_UNIX)
    try:
        listening.bind(str(path))
        path.chmod(0o600)
    except OSError as error:
        listening.close()
        raise ConfigError(f"{path}: cannot listen: {(error.strerror or str(error)).lower()}") from error
    return listening
