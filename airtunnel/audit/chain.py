"""The hash chain that makes a change in the audit visible: how a line is linked to the one before, and how a file is verified.

    {"v":1,"seq":0,"prev":"000...0","time":...}\\n
    {"v":1,"seq":1,"prev":sha256(line 0),"time":...}\\n      hashes are hex, of the line's bytes without its newline

What is edited, removed or swapped is found. A tail that was cut off is not: that takes a head kept somewhere else.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain, pairwise
from typing import Any

GENESIS = "0" * 64
"""What the first line has for `prev`."""

MAX_LINE = 256 * 1024
"""Bytes. A token is at most 16 KiB (its claims are the bulk of a record), so nothing honest comes near."""


class Fault(StrEnum):
    """What is wrong with a line."""

    EDITED = "edited"
    REMOVED = "removed"
    SWAPPED = "swapped"
    TORN = "torn last line"
    NOT_JSON = "not JSON"


@dataclass(frozen=True, slots=True)
class Broken:
    """The first place where the chain does not hold. Lines count from 1."""

    line: int
    fault: Fault
    message: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification found: how much is sound, from when to when, the hash of its last line, and where it breaks.

    Sound only if `broken` is None; the other fields speak of the lines before the break.
    """

    count: int
    first_time: str | None
    last_time: str | None
    head: str
    broken: Broken | None = None


@dataclass(frozen=True, slots=True)
class Link:
    """The chain's own fields of one line."""

    seq: int
    prev: str
    time: str
    hash: str


def encode(fields: Mapping[str, Any]) -> bytes:  # Any: JSON
    """The fields as compact ASCII JSON. Raises ValueError for what is not JSON, is empty, or is longer than MAX_LINE."""
    try:
        body = json.dumps(fields, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")
    except (TypeError, RecursionError) as error:
        raise ValueError(f"not JSON: {error}") from error
    if not fields or len(body) > MAX_LINE - 256:
        raise ValueError(f"a record of {len(body)} bytes is empty or too long")
    return body


def link(body: bytes, seq: int, prev: str) -> tuple[bytes, str]:
    """The line for an encoded record, newline included, and its hash."""
    line = b'{"v":1,"seq":%d,"prev":"%s",' % (seq, prev.encode("ascii")) + body[1:]
    return line + b"\n", hashlib.sha256(line).hexdigest()


def read_link(line: bytes) -> Link:
    """The chain's fields of a line, with or without its newline. Raises ValueError if it is not one of ours."""
    line = line.removesuffix(b"\n")
    try:
        match json.loads(line):
            case {"v": 1, "seq": int(seq), "prev": str(prev), "time": str(time)}:
                return Link(seq, prev, time, hashlib.sha256(line).hexdigest())
            case _:
                raise ValueError("not a record of the audit")
    except RecursionError as error:
        raise ValueError("not a record of the audit") from error


def verify(lines: Iterable[bytes]) -> Verified:
    """What the lines of a file (each with its newline) amount to, up to the first broken place."""
    found = Verified(0, None, None, GENESIS)
    for number, (line, following) in enumerate(pairwise(chain(lines, [None])), start=1):
        assert line is not None  # None stands for the end, on the right of the last pair only
        if not line.endswith(b"\n"):
            return _broken(found, *_unfinished(number, is_last=following is None))
        try:
            this = read_link(line)
        except ValueError:
            return _broken(found, number, Fault.NOT_JSON, f"line {number} is not a record of the audit")
        if (this.seq, this.prev) != (found.count, found.head):
            return _broken(found, *_diagnose(this, following, found, number))
        found = Verified(found.count + 1, found.first_time or this.time, this.time, this.hash)
    return found


def _unfinished(number: int, *, is_last: bool) -> tuple[int, Fault, str]:
    if is_last:
        return number, Fault.TORN, f"line {number} has no end: it was being written when the gateway died"
    return number, Fault.NOT_JSON, f"line {number} is longer than {MAX_LINE} bytes"


def _diagnose(this: Link, following: bytes | None, found: Verified, number: int) -> tuple[int, Fault, str]:
    """What happened to a line whose number or hash is not the expected one."""
    if this.prev == found.head:
        return number, Fault.EDITED, f"line {number} has number {this.seq} instead of {found.count}"
    if this.seq == found.count:
        edited = max(number - 1, 1)
        return edited, Fault.EDITED, f"line {edited} is not the line that line {number} was chained to"
    try:
        later = this.seq if following is None else read_link(following).seq
    except ValueError:
        later = this.seq
    if this.seq < found.count or later < this.seq:
        return number, Fault.SWAPPED, f"line {number} has number {this.seq} instead of {found.count}: lines were moved"
    return number, Fault.REMOVED, f"{this.seq - found.count} lines are missing before line {number}"


def _broken(found: Verified, line: int, fault: Fault, message: str) -> Verified:
    return Verified(found.count, found.first_time, found.last_time, found.head, Broken(line, fault, message))
