"""The audit as the gateway uses it: `await log.write(record)` returns when the record is on disk.

Many writers share one fdatasync: while a batch is being written in the audit's own thread, what arrives waits and becomes
the next batch. Nothing may start that cannot be recorded, so a writer is told when its batch failed, and decides.

    write(a) --> [a] -- commit --------> on disk
    write(b) -->   [b    waits   ]\\
    write(c) -->      [c waits   ] -- one commit ---> on disk
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime

from airtunnel.audit.chain import Position, encode
from airtunnel.audit.ledger import Ledger
from airtunnel.audit.notary import Notary, Seal
from airtunnel.audit.record import Event, Record, as_fields, stamp
from airtunnel.config.audit import AuditConfig
from airtunnel.errors import AuditUnavailable

logger = logging.getLogger(__name__)

PATIENCE = 10.0
"""Seconds. A disk that hangs must not hang the gateway (as a hanging audit device does to Vault)."""


class AuditLog:
    """An open audit. Made by `AuditLog.open`."""

    def __init__(self, ledger: Ledger, seal: Seal, encoded: Callable[[Record], bytes], *, required: bool) -> None:
        self._ledger = ledger
        self._required = required
        self._encoded = encoded
        # Not the loop's default pool: the audit must not queue behind PBKDF2.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="audit")
        self._notary = Notary(seal, self._settle)
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._commit: asyncio.Future[None] | None = None
        self._closed = False

    @classmethod
    @asynccontextmanager
    async def open(cls, config: AuditConfig, *, gateway: str, clock: Callable[[], datetime]) -> AsyncIterator["AuditLog"]:
        """The audit, continued where it ended; made (mode 0600) if it is not there.

        gateway: this gateway's name, in every record; clock: the time, aware, also asked from the audit's threads
        config.required: whether what cannot be recorded must not happen; else a lost record is an error in the log

        Raises AuditUnavailable if the file cannot be opened, belongs to another gateway, or is not as we left it.
        """

        def encoded(record: Record) -> bytes:
            return encode(as_fields(record, clock(), gateway))

        ledger, seal = await asyncio.to_thread(_open, config, gateway, lambda: stamp(clock()), encoded)
        log = cls(ledger, seal, encoded, required=config.required)
        try:
            if ledger.torn:
                logger.warning("audit log %s: cut off %d bytes of a torn last line", ledger.path, ledger.torn)
                await log.write(Record(Event.AUDIT_REPAIRED, detail=f"cut off {ledger.torn} bytes of a torn last line"))
            yield log
        finally:
            await log._close()

    async def write(self, record: Record) -> None:
        """Returns when the record is on disk.

        Raises AuditUnavailable if it cannot be, and is required. After a timeout it may still arrive: it then says that
        something was tried.
        """
        try:
            await self._write(record)
        except AuditUnavailable as error:
            if self._required:
                raise
            logger.error("a record of %s is lost: %s", record.event, error)

    async def _write(self, record: Record) -> None:
        if self._closed:
            raise AuditUnavailable("the audit is closed")
        try:
            body = self._encoded(record)
        except ValueError as error:
            raise AuditUnavailable(f"a record of {record.event} cannot be written: {error}") from error
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((body, done))
        if self._commit is None:
            self._start()
        try:
            async with asyncio.timeout(PATIENCE):
                await done
        except TimeoutError as error:
            raise AuditUnavailable(f"the audit did not answer in {PATIENCE:.0f} s") from error

    def _start(self) -> None:
        batch, self._waiting = self._waiting, []
        bodies = [body for body, _ in batch]
        self._commit = asyncio.get_running_loop().run_in_executor(self._thread, self._ledger.append, bodies)
        self._commit.add_done_callback(lambda commit: self._finish(commit, [done for _, done in batch]))

    def _finish(self, commit: asyncio.Future[None], waiters: list[asyncio.Future[None]]) -> None:
        cause = asyncio.CancelledError("interrupted") if commit.cancelled() else commit.exception()
        if cause is not None:
            logger.error("audit log %s: %d records were not written: %s", self._ledger.path, len(waiters), cause)
        for waiter in waiters:
            if waiter.done():  # its writer was cancelled, or has lost patience
                continue
            if cause is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(self._unavailable(cause))
        self._commit = None
        if cause is None:
            self._notary.written(len(waiters))
        if self._waiting:
            self._start()

    def _unavailable(self, cause: BaseException) -> AuditUnavailable:
        # One error per waiter: an exception raised in several tasks would mix their tracebacks.
        why = cause.strerror if isinstance(cause, OSError) else str(cause)
        error = AuditUnavailable(f"the audit cannot be written: {why}")
        error.__cause__ = cause
        return error

    async def _settle(self) -> tuple[Position, str]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._ledger.settle)

    async def _close(self) -> None:
        self._closed = True
        try:
            async with asyncio.timeout(PATIENCE):
                while self._commit is not None:
                    await asyncio.wait([self._commit])
            await self._notary.aclose()
        except TimeoutError:
            logger.error("audit log %s: the last records were not acknowledged in %.0f s", self._ledger.path, PATIENCE)
        finally:
            if self._commit is None:  # else the thread hangs in the disk, and the descriptor is still its own
                self._ledger.close()
            self._thread.shutdown(wait=False)


def _open(config: AuditConfig, gateway: str, now: Callable[[], str], encoded: Callable[[Record], bytes]) -> tuple[Ledger, Seal]:
    """The audit's files, compared with the last checkpoint. Raises AuditUnavailable."""
    ledger = Ledger(
        config.file,
        fsync=config.fsync,
        limit=config.rotate,
        opening=lambda detail: encoded(Record(Event.AUDIT_ROTATED, detail=detail)),
    )
    try:
        key = config.key or config.file.with_suffix(".key")
        seal = Seal(config.checkpoints or config.file.with_suffix(".checkpoints"), key, gateway, now)
        seal.compare(ledger.position)
    except BaseException:
        ledger.close()
        raise
    return ledger, seal
