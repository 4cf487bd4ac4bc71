"""Plays a flow against a scripted peer, in memory: bytes in, bytes out."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from airtunnel.wire.flow import Command, Flow, Recv, Send, Work

T = TypeVar("T")
A = TypeVar("A")
B = TypeVar("B")


@dataclass
class Peer:
    """What the flow talks to: it says `said`, then what `answer` makes of each thing it is sent, then it is gone."""

    said: bytes = b""
    answer: Callable[[bytes], bytes] = lambda _sent: b""
    sent: list[bytes] = field(default_factory=list)
    """What the flow sent."""
    asked: int = 0
    """The most bytes that the flow wanted at once."""

    def play(self, flow: Flow[T]) -> T:
        """The flow's result; what was not read stays in `said`."""
        reply = b""
        try:
            command = next(flow)
            while True:
                match command:
                    case Recv(count):
                        self.asked = max(self.asked, count)
                        if count > len(self.said):
                            command = flow.throw(ConnectionResetError("gone"))
                            continue
                        reply, self.said = self.said[:count], self.said[count:]
                    case Send(data):
                        self.sent.append(data)
                        self.said += self.answer(data)
                        reply = b""
                    case Work(call):
                        reply = call()
                command = flow.send(reply)
        except StopIteration as end:
            result: T = end.value
            return result


def play(flow: Flow[T], said: bytes = b"") -> T:
    """The result of a flow whose peer says `said`."""
    return Peer(said).play(flow)


@dataclass
class _Side:
    flow: Flow[object]
    inbox: bytes = b""
    command: Command | None = None
    result: object = None

    def advance(self, other: "_Side") -> bool:
        """Whether something moved, before the flow ended or waits for the other."""
        moved = False
        while self.command is not None:
            reply = b""
            match self.command:
                case Recv(count):
                    if count > len(self.inbox):
                        return moved
                    reply, self.inbox = self.inbox[:count], self.inbox[count:]
                case Send(data):
                    other.inbox += data
                case Work(call):
                    reply = call()
            self.step(reply)
            moved = True
        return moved

    def step(self, reply: bytes | None) -> None:
        try:
            self.command = next(self.flow) if reply is None else self.flow.send(reply)
        except StopIteration as end:
            self.command, self.result = None, end.value


def converse(left: Flow[object], right: Flow[object]) -> tuple[object, object]:
    """The results of two flows that talk to each other."""
    sides = _Side(left), _Side(right)
    for side in sides:
        side.step(None)
    while sides[0].advance(sides[1]) | sides[1].advance(sides[0]):
        pass
    assert all(side.command is None for side in sides), "both wait for the other"
    return sides[0].result, sides[1].result
