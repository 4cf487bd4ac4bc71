"""Runs a flow over a real, blocking socket: for the edges, where a test wants a real libpq or a real server."""

import socket
from typing import TypeVar

from airtunnel.wire.flow import Flow, Recv, Send, Work

T = TypeVar("T")


def run(flow: Flow[T], end: socket.socket) -> T:
    """The flow's result, after it has talked through `end`."""
    reply = b""
    try:
        command = next(flow)
        while True:
            match command:
                case Recv(count):
                    reply = end.recv(count, socket.MSG_WAITALL) if count else b""
                    if len(reply) < count:
                        command = flow.throw(ConnectionResetError("gone"))
                        continue
                case Send(data):
                    end.sendall(data)
                    reply = b""
                case Work(call):
                    reply = call()
            command = flow.send(reply)
    except StopIteration as end_of_flow:
        result: T = end_of_flow.value
        return result
