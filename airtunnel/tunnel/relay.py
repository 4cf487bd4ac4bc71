"""Bytes both ways between two ends, until both have said that nothing more comes."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from airtunnel.tunnel.stream import End


@dataclass(slots=True)
class Way:
    """One direction: how much went through, and whether its source has ended."""

    count: int = 0
    ended: bool = False


@dataclass(slots=True)
class Relay:
    """A byte pump between `client` and `target`.

    `watch` sees every chunk after it went down: the gateway remembers the last bytes, to end at a message's border.
    """

    client: End
    target: End
    half_close: bool = True
    """False where the client's end of stream ends the whole connection."""
    watch: Callable[[bytes], None] | None = None
    up: Way = field(default_factory=Way)
    down: Way = field(default_factory=Way)
    touched: float = 0.0
    """When a byte went through last, by the monotonic clock."""
    tail: bytes = b""
    """The client's last bytes, at most five: a PostgreSQL Terminate, or not."""
    _over: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Returns when either end is gone or both have ended. Leaves both open: their owner closes them."""
        self.touched = time.monotonic()
        self.client.attach(self._sent_up, self._ended_up, self._over.set, self._client_writable)
        self.target.attach(self._sent_down, self._ended_down, self._over.set, self._target_writable)
        await self._over.wait()

    def stop(self) -> None:
        """Make `run` return; nothing more is sent either way."""
        self.up.ended = self.down.ended = True
        self._over.set()

    def idle(self) -> float:
        """Seconds since the last byte."""
        return time.monotonic() - self.touched

    @property
    def client_first(self) -> bool:
        """True if it was the client that ended or went first."""
        return self.client.lost or (self.up.ended and not self.down.ended)

    def _sent_up(self, data: bytes) -> None:
        self.up.count += len(data)
        self.touched = time.monotonic()
        self.tail = data[-5:] if len(data) >= 5 else (self.tail + data)[-5:]
        self.target.write(data)

    def _sent_down(self, data: bytes) -> None:
        if self.down.ended:
            return
        self.down.count += len(data)
        self.touched = time.monotonic()
        self.client.write(data)
        if self.watch is not None:
            self.watch(data)

    def _ended_up(self) -> None:
        self.up.ended = True
        if not self.half_close:
            self._over.set()
            return
        self.target.write_eof()
        self._check()

    def _ended_down(self) -> None:
        self.down.ended = True
        self.client.write_eof()
        self._check()

    def _check(self) -> None:
        if self.down.ended and (self.up.ended or not self.half_close):
            self._over.set()

    def _client_writable(self, possible: bool) -> None:
        (self.target.resume if possible else self.target.pause)()

    def _target_writable(self, possible: bool) -> None:
        (self.client.resume if possible else self.client.pause)()
