"""What is written in files counts as soon as it changes, or at a SIGHUP; what is broken never replaces what is good.

files changed, or SIGHUP  ->  load  ->  good:    it holds from now on
                                    ->  broken:  the old one holds, and the log says what is wrong, by file and line
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from airtunnel.errors import AirtunnelError

logger = logging.getLogger(__name__)

LOOK = timedelta(seconds=1)
"""Between two looks at the files. A look costs one stat for each."""

Stamp = tuple[tuple[str, int, int], ...]
"""What tells one state of some files from another: names, sizes, times of change."""


class Watch:
    """Follows files.

    complaint: what the log says before a fault, once for each
    look: their state, called in a thread; load: makes them count, or raises an AirtunnelError, or a group of them
    seen: the state that counts already, None if that is not known
    """

    def __init__(
        self, complaint: str, look: Callable[[], Stamp], load: Callable[[], Awaitable[None]], *, seen: Stamp | None = None
    ) -> None:
        self._complaint = complaint
        self._look = look
        self._load = load
        self._seen = seen
        self._asked = asyncio.Event()
        self._fault = ""

    def reload(self) -> None:
        """Load again, whether the files look changed or not."""
        self._asked.set()

    async def run(self) -> None:
        """Follow for ever."""
        while True:
            try:
                async with asyncio.timeout(LOOK.total_seconds()):
                    await self._asked.wait()
            except TimeoutError:
                pass
            now = await asyncio.to_thread(self._look)
            if now != self._seen or self._asked.is_set():
                self._asked.clear()
                # Tried again at the next look if it fails: what failed may be the audit's disk, or the agent that signs.
                self._seen = now if await self._loaded() else None

    async def _loaded(self) -> bool:
        try:
            await self._load()
        except (AirtunnelError, ExceptionGroup) as error:
            told = "; ".join(map(str, error.exceptions if isinstance(error, ExceptionGroup) else (error,)))
            if told != self._fault:
                logger.error("%s: %s", self._complaint, told)
            self._fault = told
            return False
        self._fault = ""
        return True


def stamp(*paths: Path) -> Stamp:
    """The state of some files. What is not there, or gone between two looks, is left out."""
    found = []
    for path in paths:
        try:
            status = path.stat()
        except OSError:
            continue
        found.append((str(path), status.st_size, status.st_mtime_ns))
    return tuple(found)
