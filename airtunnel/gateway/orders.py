"""Orders: what an operator did at the store itself, until a gateway has written it into its audit.

The operator's command works also where no gateway runs, and an audit's file has one writer. So the command leaves a line in the
store, and the first gateway that sees it writes it down.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from airtunnel.gateway.database import begin
from airtunnel.gateway.tables import ORDERS


@dataclass(frozen=True, slots=True)
class Order:
    """id: of the audit's record; event: one of audit.record.Event, as text; detail: what, by whom, why."""

    id: str
    event: str
    detail: str
    session: str | None = None
    target: str | None = None


class Orders:
    """The orders in the store. Calls raise what the store's do."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def put(self, order: Order) -> None:
        """Leaves an order."""
        async with begin(self._engine) as connection:
            await connection.execute(sa.insert(ORDERS).values({one: getattr(order, one) for one in Order.__slots__}))

    async def take(self, write: Callable[[Order], Awaitable[None]]) -> None:
        """Has each order written down, and strikes it out; one that could not be written stays, and `write`'s error is raised.

        No other gateway writes the same one: what is struck out here is locked there until it is gone.
        """
        async with begin(self._engine) as connection:
            if await connection.scalar(sa.select(sa.func.count()).select_from(ORDERS)) == 0:
                return
        async with begin(self._engine) as connection:
            rows = (await connection.execute(sa.delete(ORDERS).returning(ORDERS))).mappings().all()
            for row in sorted(rows, key=lambda one: str(one["id"])):
                await write(Order(**row))
