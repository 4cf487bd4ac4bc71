"""What stands behind the agent in tests: an honest opener that keeps a book, and one that never finishes."""

import asyncio
from collections.abc import Mapping
from typing import Any

from airtunnel.errors import AirtunnelError, Refused
from airtunnel.model import Tags
from airtunnel.tunnel.agent import Opened

REFUSAL = Refused(
    who="dev@example.com",
    target="warehouse-db",
    rule="prod-is-for-on-call",
    place="policy/prod.yaml:12",
    reasons=["needs group on-call; you are in: data-eng"],
    hint="airtunnel connect postgres-staging",
)

Answer = Mapping[str, Any] | AirtunnelError  # Any: Airflow's connection JSON


class HonestOpener:
    """Opens what it was given by connection id, raises what it was given, and knows nothing else."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = answers
        self.asked: list[tuple[str, Tags]] = []
        self.open_now: list[str] = []
        self.closings: asyncio.Queue[str] = asyncio.Queue()

    async def open(self, connection_id: str, tags: Tags) -> Opened | None:
        self.asked.append((connection_id, tags))
        answer = self.answers.get(connection_id)
        if isinstance(answer, AirtunnelError):
            raise answer
        if answer is None:
            return None

        async def close() -> None:
            self.open_now.remove(connection_id)
            self.closings.put_nowait(connection_id)

        self.open_now.append(connection_id)
        return Opened(answer, close)


class SlowOpener:
    """Dials until it is cancelled, and says so."""

    def __init__(self) -> None:
        self.dialling = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def open(self, connection_id: str, tags: Tags) -> Opened | None:
        self.dialling.set()
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self.cancelled.set()
        return None
