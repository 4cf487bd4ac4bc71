"""Signs where the audit stands: 60 s after a record, or after 1,000 of them, whichever comes first, and at the end.

It never holds a record up: it has a thread of its own, and a place for checkpoints that is full, gone or hangs is an error in
the log, tried again every 60 s. Records go on meanwhile: each is on its disk, and the next checkpoint covers them all.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from airtunnel.audit.chain import Position
from airtunnel.audit.checkpoint import Checkpoint, append_line, check, last_line, sign
from airtunnel.audit.key import open_key
from airtunnel.errors import AuditUnavailable

logger = logging.getLogger(__name__)

INTERVAL = 60.0
"""Seconds."""
RECORDS = 1000
PATIENCE = 10.0
"""Seconds for one checkpoint."""


class Seal:
    """The key and the place of checkpoints. Its calls block.

    Raises AuditUnavailable if the key cannot be used.
    """

    def __init__(self, path: Path, key: Path, gateway: str, stamp: Callable[[], str]) -> None:
        self.path = path
        self._key = open_key(key)
        self._gateway = gateway
        self._stamp = stamp

    def put(self, position: Position, file: str) -> None:
        """Writes a checkpoint: the chain stands there, its last record in this file. Raises OSError."""
        said = Checkpoint(position.seq - 1, position.head, self._stamp(), self._gateway, file)
        append_line(self.path, sign(said, self._key))

    def compare(self, position: Position) -> None:
        """Raises AuditUnavailable if the last checkpoint knows of more than there is, or of something else."""
        try:
            line = last_line(self.path)
            if line is None:
                return
            last = check(line, (self._key.public_key(),))
        except OSError as error:
            raise AuditUnavailable(f"the audit's checkpoints {self.path} cannot be read: {error.strerror}") from error
        except ValueError as error:
            logger.warning("audit checkpoints %s: the last one %s; new ones follow it", self.path, error)
            return
        if last.seq >= position.seq or (last.seq == position.seq - 1 and last.head != position.head):
            raise AuditUnavailable(
                f"the audit ends with record {position.seq - 1}, and a checkpoint of {last.time} knows of record {last.seq}: "
                "its end was cut off or written anew",
                hint=f"put the audit's files back; or keep them and {self.path} elsewhere, and begin a new audit",
            )


class Notary:
    """Decides when. All calls are made in the event loop. settle: where the chain stands, and in which file, all on disk."""

    def __init__(self, seal: Seal, settle: Callable[[], Awaitable[tuple[Position, str]]]) -> None:
        self._seal = seal
        self._settle = settle
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="audit-checkpoints")
        self._unsigned = 0
        self._timer: asyncio.TimerHandle | None = None
        self._signing: asyncio.Task[None] | None = None
        self._trouble = ""

    def written(self, count: int) -> None:
        """So many more records are on disk."""
        self._unsigned += count
        if self._signing is not None or not self._unsigned:
            return
        if self._unsigned >= RECORDS and not self._trouble:
            self._start()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(INTERVAL, self._start)

    async def aclose(self) -> None:
        """Sign what is not yet signed, and end."""
        if self._timer is not None:
            self._timer.cancel()
        if self._signing is not None:
            with suppress(asyncio.CancelledError):
                await asyncio.shield(self._signing)
        if self._timer is not None:  # the one that just ended may have set it again
            self._timer.cancel()
        if self._unsigned:
            await self._sign()
        self._thread.shutdown(wait=False)

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._signing = asyncio.ensure_future(self._sign())
        self._signing.add_done_callback(self._finish)

    def _finish(self, _signing: asyncio.Task[None]) -> None:
        self._signing = None
        self.written(0)

    async def _sign(self) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                count = self._unsigned
                position, file = await self._settle()
                await asyncio.get_running_loop().run_in_executor(self._thread, self._seal.put, position, file)
        except (OSError, RuntimeError) as error:  # TimeoutError is an OSError; a closed thread is a RuntimeError
            why = "no answer" if isinstance(error, TimeoutError) else str(error)
            if why != self._trouble:
                logger.error("audit checkpoints %s: %d records are not signed: %s", self._seal.path, self._unsigned, why)
            self._trouble = why
            return
        if self._trouble:
            logger.warning("audit checkpoints %s: they can be written again", self._seal.path)
        self._trouble = ""
        self._unsigned -= count
