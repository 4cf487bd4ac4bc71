"""Connected pairs of ends for tests: over a real socket, and over a real SSH connection."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Callable

import asyncssh

from airtunnel.tunnel.stream import PACKET, WINDOW, ChannelEnd, End, SocketEnd

Pair = Callable[[], contextlib.AbstractAsyncContextManager[tuple[End, End]]]


@contextlib.asynccontextmanager
async def socket_pair() -> AsyncIterator[tuple[End, End]]:
    """Two ends of one socket."""
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    _, here = await loop.create_connection(SocketEnd, sock=left)
    _, there = await loop.create_connection(SocketEnd, sock=right)
    try:
        yield here, there
    finally:
        await _abort(here, there)


@contextlib.asynccontextmanager
async def tcp_pair() -> AsyncIterator[tuple[SocketEnd, SocketEnd]]:
    """Client's and server's end of a TCP connection."""
    loop = asyncio.get_running_loop()
    accepted: asyncio.Future[SocketEnd] = loop.create_future()
    server = await loop.create_server(lambda: SocketEnd(accepted.set_result), "127.0.0.1", 0)
    try:
        _, client = await loop.create_connection(SocketEnd, *server.sockets[0].getsockname())
        there = await accepted
        try:
            yield client, there
        finally:
            await _abort(client, there)
    finally:
        server.close()


class _Server(asyncssh.SSHServer):
    """Lets everybody in, and opens every channel."""

    def __init__(self, opened: "asyncio.Future[ChannelEnd]") -> None:
        self._opened = opened
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn

    def begin_auth(self, username: str) -> bool:
        return False

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> tuple[asyncssh.SSHTCPChannel[bytes], ChannelEnd]:
        assert self._connection is not None
        channel = self._connection.create_tcp_channel(window=WINDOW, max_pktsize=PACKET)
        return channel, ChannelEnd(self._opened.set_result)


@contextlib.asynccontextmanager
async def channel_pair() -> AsyncIterator[tuple[End, End]]:
    """The client's and the server's end of one SSH channel."""
    opened: asyncio.Future[ChannelEnd] = asyncio.get_running_loop().create_future()
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = await asyncssh.listen(
        "127.0.0.1", 0, server_factory=lambda: _Server(opened), server_host_keys=[key], config=None, compression_algs=None
    )
    try:
        async with asyncssh.connect(
            "127.0.0.1",
            server.get_port(),
            known_hosts=([key.convert_to_public()], [], []),
            username="anybody",
            config=None,
            agent_path=None,
            compression_algs=None,
        ) as connection:
            _, here = await connection.create_connection(ChannelEnd, "target", 0, window=WINDOW, max_pktsize=PACKET)
            assert isinstance(here, ChannelEnd)
            yield here, await opened
            connection.abort()
    finally:
        server.close()
        await server.wait_closed()


class Sink:
    """What arrives at an end after `attach`, and the waiting for it."""

    def __init__(self, end: End) -> None:
        self.data = bytearray()
        self.ended = asyncio.Event()
        self.lost = asyncio.Event()
        self.writable: list[bool] = []
        self._changed = asyncio.Event()
        self._end = end

    def attach(self) -> None:
        """Take over the end."""
        self._end.attach(self._received, self.ended.set, self.lost.set, self.writable.append)

    def _received(self, data: bytes) -> None:
        self.data += data
        self._changed.set()

    async def have(self, count: int) -> bytes:
        """Everything so far, once it is at least `count` bytes."""
        async with asyncio.timeout(20):
            while len(self.data) < count:
                self._changed.clear()
                await self._changed.wait()
        return bytes(self.data)


def reset(end: End) -> None:
    """Drop the connection without a good-bye: with a RST where it is a TCP socket (socket(7), SO_LINGER of 0 s)."""
    if isinstance(end, SocketEnd):
        raw = end.transport.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.abort()


async def _abort(*ends: End) -> None:
    """Close both, and let the loop see it."""
    for end in ends:
        end.abort()
    while not all(end.lost for end in ends):
        await asyncio.sleep(0)
