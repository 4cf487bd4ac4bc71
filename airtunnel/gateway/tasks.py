"""The gateway's running work, with an owner.

The obvious way is a TaskGroup. It ends all of its tasks when one fails, which is right for parts of one job. Here the tasks are
different people's connections, and one fault must not end the others: it is logged, and ends the task that had it.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import timedelta

logger = logging.getLogger(__name__)

REST = timedelta(seconds=1)
"""Between a fault of work that goes on for ever and its next try."""

Work = Coroutine[object, object, None]


class Tasks:
    """Owns tasks until `aclose`."""

    def __init__(self) -> None:
        self._once: set[asyncio.Task[None]] = set()
        self._kept: set[asyncio.Task[None]] = set()

    def spawn(self, work: Work, what: str) -> asyncio.Task[None]:
        """Run `work` once. `what` names it in the log, should it fail."""
        task = asyncio.get_running_loop().create_task(self._guard(work, what))
        self._once.add(task)
        task.add_done_callback(self._once.discard)
        return task

    def keep(self, make: Callable[[], Work], what: str) -> None:
        """Run what `make` gives until `aclose`, again after each fault."""
        task = asyncio.get_running_loop().create_task(self._persist(make, what))
        self._kept.add(task)

    async def aclose(self, limit: timedelta) -> None:
        """End what is kept, wait for what was spawned, and end that, too, when `limit` has passed."""
        for task in self._kept:
            task.cancel()
        if self._once:
            await asyncio.wait(self._once, timeout=limit.total_seconds())
        left = [*self._once, *self._kept]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _guard(self, work: Work, what: str) -> None:
        try:
            await work
        except Exception:
            logger.exception("%s failed", what)

    async def _persist(self, make: Callable[[], Work], what: str) -> None:
        while True:
            await self._guard(make(), what)
            await asyncio.sleep(REST.total_seconds())
