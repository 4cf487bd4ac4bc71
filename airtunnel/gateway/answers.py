"""What all handlers of the HTTPS API share: a body that is read in time, an answer, where a request comes from."""

import asyncio
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from airtunnel.errors import ProtocolError
from airtunnel.wire.body import MAX_BODY

BODY_LIMIT = timedelta(seconds=10)
"""For a body of at most MAX_BODY to arrive."""


async def read_body(request: Request) -> bytes:
    """The whole body. Raises ProtocolError if it is too large, or late."""
    parts = bytearray()
    try:
        async with asyncio.timeout(BODY_LIMIT.total_seconds()):
            async for part in request.stream():
                parts += part
                if len(parts) > MAX_BODY:
                    raise ProtocolError(f"the body is larger than {MAX_BODY} bytes")
    except TimeoutError:
        raise ProtocolError(f"the body did not arrive within {BODY_LIMIT.total_seconds():g} s") from None
    return bytes(parts)


def source_of(request: Request) -> str | None:
    """The client's IP address."""
    return request.client.host if request.client else None


def json_answer(body: bytes, *, status: int = 200, cache: str = "no-store") -> Response:
    """An answer with a JSON body."""
    return Response(body, status, {"Cache-Control": cache}, "application/json")
