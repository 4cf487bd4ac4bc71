"""An audit as the tests open it, and what is in it."""

import json
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airtunnel.audit.chain import encode
from airtunnel.audit.files import find_files
from airtunnel.audit.ledger import Ledger
from airtunnel.audit.log import AuditLog
from airtunnel.audit.record import Event, Record
from airtunnel.config.audit import AuditConfig

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OPENED = Record(Event.SESSION_OPENED, session="s-1")
BODY = encode({"time": "t", "event": "test"})


def open_log(path: Path, **options: Any) -> AbstractAsyncContextManager[AuditLog]:  # Any: AuditConfig's fields
    return AuditLog.open(AuditConfig(path, **options), gateway="gw-1", clock=lambda: NOW)


def open_ledger(path: Path, limit: int = 1) -> Ledger:
    """By default every batch but the first finds its file full."""
    return Ledger(path, fsync=True, limit=limit, opening=lambda said: encode({"time": "t", "event": "new", "detail": said}))


@contextmanager
def ledger(path: Path, limit: int = 1) -> Iterator[Ledger]:
    opened = open_ledger(path, limit)
    try:
        yield opened
    finally:
        opened.close()


def records(path: Path) -> list[dict[str, Any]]:  # Any: JSON
    """All records of an audit, by its directory or one file."""
    return [json.loads(line) for file in find_files([path]) for line in file.read_bytes().splitlines()]


async def write_audit(directory: Path, count: int, rotate: int = 1000) -> list[Path]:
    """An audit of `count` events in several files, which it returns in order."""
    async with open_log(directory / "audit.jsonl", rotate=rotate, fsync=False) as log:
        for number in range(count):
            await log.write(Record(Event.SESSION_OPENED, session=f"s-{number}"))
    return find_files([directory])
