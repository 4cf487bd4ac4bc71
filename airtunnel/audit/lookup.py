"""Finds the record with a request's id, in as little of the audit as possible, however long it is.

A request's id begins with its time, and records stand in the order of their times: a file is cut in half until the piece in
which the record must be is small, and that piece is read.

                        |<- the id's time, and SLACK before and after ->|
    ... 09:12  ...  09:14:01  ... 09:14:05 ...  09:14:07 ...          09:14:11 ... 10:30
"""

import json
import os
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from airtunnel.audit.asked import text_of, time_of
from airtunnel.audit.chain import MAX_LINE
from airtunnel.errors import UsageError

SLACK = timedelta(seconds=10)
"""Between the time in an id and its record's: they are taken in one step, unless somebody sets the clock just then."""
PIECE = 64 * 1024
"""Bytes that are read rather than halved once more."""
MOST = 16 * 1024 * 1024
"""Bytes that are read for one id: what a busy gateway writes within SLACK is a tenth of it."""


def find_record(files: Iterable[Path], number: str, about: datetime) -> Mapping[str, Any] | None:  # Any: JSON
    """The record whose id is `number`, which was made at `about`; None if there is none.

    files: an audit's files, in the order of their records. Raises UsageError if one cannot be read.
    """
    for path in reversed(list(files)):
        try:
            with path.open("rb") as file:
                first = _time_at(file, 0)
                if first is not None and first > about + SLACK:
                    continue
                found = _search(file, number, about)
        except FileNotFoundError:  # it was renamed to its final name just now
            continue
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}") from error
        if found is not None or (first is not None and first < about - SLACK):
            return found
    return None


def _search(file: BinaryIO, number: str, about: datetime) -> Mapping[str, Any] | None:  # Any: JSON
    low, high = 0, os.fstat(file.fileno()).st_size
    while high - low > PIECE:
        middle = (low + high) // 2
        moment = _time_at(file, middle)
        if moment is not None and moment < about - SLACK:
            low = middle
        else:
            high = middle
    return _scan(file, low, number, about)


def _scan(file: BinaryIO, start: int, number: str, about: datetime) -> Mapping[str, Any] | None:  # Any: JSON
    _seek(file, start)
    wanted = number.encode()
    while file.tell() < start + MOST and (line := file.readline(MAX_LINE)):
        record = _read(line)
        if wanted in line and text_of(record, "id") == number:
            return record
        moment = time_of(record)
        if moment is not None and moment > about + SLACK:
            return None
    return None


def _time_at(file: BinaryIO, offset: int) -> datetime | None:
    """The time of the first whole line from an offset on."""
    _seek(file, offset)
    return time_of(_read(file.readline(MAX_LINE)))


def _seek(file: BinaryIO, offset: int) -> None:
    """Go to the first beginning of a line at or after an offset."""
    file.seek(max(offset - 1, 0))
    if offset:
        file.readline(MAX_LINE)


def _read(line: bytes) -> Mapping[str, Any]:  # Any: JSON
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}
