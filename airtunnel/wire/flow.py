"""A protocol conversation as a generator: it says what it wants to read and send, and never does it itself.

    def read_greeting() -> Flow[str]:
        (length,) = yield Recv(1)
        yield Send(b"hello ")
        return (yield Recv(length)).decode()

What drives a flow (tunnel/drive.py) answers `Recv(n)` with exactly n bytes, `Send` and `Work` with what they produce, and
throws ConnectionError into the flow when the peer is gone. A test drives it with a list of bytes.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeAlias, TypeVar


@dataclass(frozen=True, slots=True)
class Recv:
    """Answered with exactly `count` bytes. With `count` 0: answered with b"" at once."""

    count: int


@dataclass(frozen=True, slots=True)
class Send:
    """Written to the peer. Answered with b""."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Work:
    """A computation of over a millisecond (PBKDF2): run in a thread, answered with its result."""

    call: Callable[[], bytes]


T = TypeVar("T")
Command: TypeAlias = Recv | Send | Work
Flow: TypeAlias = Generator[Command, bytes, T]
