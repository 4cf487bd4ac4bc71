"""What runs a flow: the one place where a protocol conversation meets a connection."""

import asyncio
from datetime import timedelta
from typing import TypeVar

from airtunnel.errors import Unreachable
from airtunnel.tunnel.stream import End
from airtunnel.wire.flow import Flow, Recv, Send, Work

T = TypeVar("T")


async def drive(flow: Flow[T], end: End, *, limit: timedelta, peer: str) -> T:
    """The flow's result, after it has talked to the peer at `end`.

    Raises what the flow raises; ConnectionError if the peer closes and the flow does not say something better; Unreachable,
    naming `peer`, when all of it takes longer than `limit`.
    """
    try:
        async with asyncio.timeout(limit.total_seconds()):
            return await _run(flow, end)
    except TimeoutError:
        raise Unreachable(f"{peer} did not finish its login within {limit.total_seconds():g} s") from None
    finally:
        flow.close()


async def _run(flow: Flow[T], end: End) -> T:
    answer = b""
    error: ConnectionError | None = None
    try:
        command = next(flow)
        while True:
            try:
                match command:
                    case Recv(count):
                        answer = await end.read(count)
                    case Send(data):
                        end.write(data)
                        await end.drain()
                        answer = b""
                    case Work(call):
                        answer = await asyncio.to_thread(call)
            except ConnectionError as failure:
                error = failure
            if error is not None:
                # The flow knows where in the conversation it was; it may turn this into better words.
                command, error = flow.throw(error), None
            else:
                command = flow.send(answer)
    except StopIteration as stop:
        result: T = stop.value
        return result
