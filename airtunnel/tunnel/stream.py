"""The two ends of a connection, a socket and an SSH channel, with one face.

First somebody reads exact amounts (a login), then a Relay takes over and bytes go through untouched:

    login   = await end.read(5)            buffered, bounded; a reader that waits for more than it gets is a ConnectionError
    handed  = Relay(end, other).run()      every later byte goes straight to the other end's `write`

No stream objects in between: asyncio and asyncssh call `data_received`, which writes to the other end. A side that cannot write
stops the other side's reading, so a stalled reader holds one window and no more.
"""

import asyncio
import ssl
from collections.abc import Callable

import asyncssh

BUFFERED = 64 * 1024
"""Bytes held for a reader that has not asked yet; then the peer is made to wait."""
HIGH_WATER = 512 * 1024
"""Bytes queued for a slow socket before the other end stops reading."""
WINDOW = 2 * 1024 * 1024
"""Bytes an SSH peer may send before we consume: what a stalled reader can hold."""
PACKET = 255 * 1024
"""Bytes per SSH packet. asyncssh 2.24.1 refuses packets over 256 KiB; 32 KiB, its default, is three times slower."""


class End:
    """What socket and channel share: a bounded buffer until `attach`, then callbacks."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._wanted = 0
        self._ready: asyncio.Future[None] | None = None
        self._ended = False
        self._lost = False
        self._gone = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self._receive: Callable[[bytes], None] | None = None
        self._receive_eof: Callable[[], None] | None = None
        self._on_lost: Callable[[], None] | None = None
        self._on_writable: Callable[[bool], None] | None = None

    # What the subclasses do with their transport.
    def write(self, data: bytes) -> None:
        """Queue bytes for the peer. Writing to a peer that is gone does nothing: `lost` tells."""
        raise NotImplementedError

    def write_eof(self) -> None:
        """Tell the peer that nothing more comes, and go on reading (half-close)."""
        raise NotImplementedError

    def pause(self) -> None:
        """Stop reading from the peer."""
        raise NotImplementedError

    def resume(self) -> None:
        """Read on."""
        raise NotImplementedError

    def close(self) -> None:
        """Send what is queued, then close."""
        raise NotImplementedError

    def abort(self) -> None:
        """Close at once."""
        raise NotImplementedError

    @property
    def lost(self) -> bool:
        """True once the peer is gone in both directions."""
        return self._lost

    async def read(self, count: int) -> bytes:
        """Exactly `count` bytes. Raises ConnectionError if the peer ends before. One reader at a time."""
        while len(self._buffer) < count:
            if self._ended or self._lost:
                raise ConnectionResetError("the peer closed the connection")
            self._wanted = count
            self.resume()
            self._ready = asyncio.get_running_loop().create_future()
            try:
                await self._ready
            finally:
                self._ready = None
                self._wanted = 0
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    async def wait_lost(self) -> None:
        """Wait until the peer is gone in both directions: what was written before `close` is taken then, or never will be."""
        await self._gone.wait()

    async def drain(self) -> None:
        """Wait until the peer takes bytes again. Raises ConnectionError if it is gone."""
        await self._writable.wait()
        if self._lost:
            raise ConnectionResetError("the peer closed the connection")

    def attach(
        self,
        receive: Callable[[bytes], None],
        receive_eof: Callable[[], None],
        on_lost: Callable[[], None],
        on_writable: Callable[[bool], None],
    ) -> None:
        """Hand over: what is buffered is received at once, then everything as it comes."""
        self._receive, self._receive_eof, self._on_lost, self._on_writable = receive, receive_eof, on_lost, on_writable
        if self._buffer:
            data, self._buffer = bytes(self._buffer), bytearray()
            receive(data)
        if self._ended:
            receive_eof()
        if self._lost:
            on_lost()
        elif not self._ended:
            self.resume()

    # What asyncio and asyncssh call, by way of the subclasses.
    def _fed(self, data: bytes) -> None:
        if self._receive is not None:
            self._receive(data)
            return
        self._buffer += data
        if len(self._buffer) >= max(BUFFERED, self._wanted):
            self.pause()
        self._wake()

    def _fed_eof(self) -> None:
        self._ended = True
        if self._receive_eof is not None:
            self._receive_eof()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The peer is gone in both directions."""
        self._lost = True
        self._gone.set()
        self._writable.set()
        self._wake()
        if self._on_lost is not None:
            self._on_lost()

    def pause_writing(self) -> None:
        """The peer takes no more for now."""
        self._writing(False)

    def resume_writing(self) -> None:
        """The peer takes bytes again."""
        self._writing(True)

    def _writing(self, possible: bool) -> None:
        if possible:
            self._writable.set()
        else:
            self._writable.clear()
        if self._on_writable is not None:
            self._on_writable(possible)

    def _wake(self) -> None:
        if self._ready is not None and not self._ready.done():
            self._ready.set_result(None)


class SocketEnd(End, asyncio.Protocol):
    """A TCP or Unix socket. `on_made` is called with it when a listener accepts one."""

    def __init__(self, on_made: Callable[["SocketEnd"], None] | None = None) -> None:
        super().__init__()
        self._on_made = on_made
        self._transport: asyncio.Transport | None = None

    @property
    def transport(self) -> asyncio.Transport:
        """The transport. Only after connection_made."""
        assert self._transport is not None
        return self._transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=HIGH_WATER)
        if self._on_made is not None:
            self._on_made(self)

    def data_received(self, data: bytes) -> None:
        self._fed(data)

    def eof_received(self) -> bool:
        self._fed_eof()
        # True keeps our direction open, which TLS cannot: asyncio closes a TLS transport at EOF whatever is said here.
        return self.transport.get_extra_info("sslcontext") is None

    def write(self, data: bytes) -> None:
        if not self._lost:
            self.transport.write(data)

    def write_eof(self) -> None:
        if not self._lost and self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()

    def pause(self) -> None:
        if not self._lost:
            self.transport.pause_reading()

    def resume(self) -> None:
        if not self._lost:
            self.transport.resume_reading()

    def close(self) -> None:
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()

    async def start_tls(self, context: ssl.SSLContext, name: str | None, timeout: float) -> None:
        """Go on in TLS as its client.

        Raises ConnectionError if bytes came before TLS (CVE-2021-23214), ssl.SSLError if the peer's certificate is not good.
        """
        if self._buffer:
            raise ConnectionAbortedError("the peer sent bytes before TLS began")
        transport = await asyncio.get_running_loop().start_tls(
            self.transport, self, context, server_hostname=name, ssl_handshake_timeout=timeout
        )
        if transport is None:
            raise ConnectionResetError("the peer closed the connection during the TLS handshake")
        self._transport = transport


class ChannelEnd(End, asyncssh.SSHTCPSession[bytes]):
    """A direct-tcpip channel of an SSH connection, at either side."""

    def __init__(self, on_open: Callable[["ChannelEnd"], None] | None = None) -> None:
        super().__init__()
        self._on_open = on_open
        self._channel: asyncssh.SSHTCPChannel[bytes] | None = None

    @property
    def channel(self) -> asyncssh.SSHTCPChannel[bytes]:
        """The channel. Only after connection_made."""
        assert self._channel is not None
        return self._channel

    def connection_made(self, chan: asyncssh.SSHTCPChannel[bytes]) -> None:
        self._channel = chan
        chan.set_write_buffer_limits(high=HIGH_WATER)

    def session_started(self) -> None:
        if self._on_open is not None:
            self._on_open(self)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._fed(data)

    def eof_received(self) -> bool:
        self._fed_eof()
        return True

    def write(self, data: bytes) -> None:
        if not self._lost and not self.channel.is_closing():
            self.channel.write(data)

    def write_eof(self) -> None:
        if not self._lost and not self.channel.is_closing():
            self.channel.write_eof()

    def pause(self) -> None:
        if not self._lost:
            self.channel.pause_reading()

    def resume(self) -> None:
        if not self._lost:
            self.channel.resume_reading()

    def close(self) -> None:
        self.channel.close()

    def abort(self) -> None:
        self.channel.abort()
