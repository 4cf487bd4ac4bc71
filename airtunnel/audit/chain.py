"""The hash chain that makes a change in the audit visible: how a line is linked to the one before, and how a file is verified.

    {"v":1,"seq":0,"prev":"000...0","time":...}\\n
    {"v":1,"seq":1,"prev":sha256(line 0),"time":...}\\n      hashes are hex, of the line's bytes without its newline

What is edited, removed, put in or swapped is found. What was written anew from some line on, or cut off at the end, is not:
that takes signed heads, kept somewhere else (audit/checkpoint.py).
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
    """What is wrong, at a line."""

    EDITED = "edited"
    REMOVED = "removed"
    INSERTED = "inserted"
    SWAPPED = "swapped"
    TORN = "torn last line"
    NOT_JSON = "not JSON"
    REWRITTEN = "rewritten"
    """The lines agree with each other, and not with what was signed."""
    CUT = "cut tail"
    FORGED = "forged checkpoint"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a chain stands: the number that its next record will have, and the hash of its last one."""

    seq: int
    head: str


START = Position(0, GENESIS)


@dataclass(frozen=True, slots=True)
class Broken:
    """The first place where the chain does not hold. Lines count from 1; 0 is the last line of the file before.

    seq: the number of the record there, or of the one that should be there
    """

    line: int
    seq: int
    fault: Fault
    message: str


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification found: how much is sound, from when to when, the hash of its last line, and where it breaks.

    Sound only if `broken` is None; the other fields speak of the lines before the break. `first`: the first line's number.
    """

    count: int
    first_time: str | None
    last_time: str | None
    head: str
    broken: Broken | None = None
    first: int = 0

    @property
    def end(self) -> Position:
        """Where the chain stands after the last sound line."""
        return Position(self.first + self.count, self.head)


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


def verify(lines: Iterable[bytes], after: Position | None = START, signed: Mapping[int, str] | None = None) -> Verified:
    """What the lines of a file (each with its newline) amount to, up to the first broken place.

    after: where the chain stood before them; None if that is not known, and the first line is believed
    signed: the hashes that some records must have, by number
    """
    signed = signed or {}
    first, head = (after.seq, after.head) if after else (0, GENESIS)
    count, first_time, last_time, broken = 0, None, None, None
    before: tuple[int, str, str | None] | None = None
    for line, following in pairwise(chain(lines, [None])):
        assert line is not None  # None stands for the end, on the right of the last pair only
        number, due = count + 1, first + count
        if not line.endswith(b"\n"):
            broken = _unfinished(number, due, is_last=following is None)
            break
        try:
            this = read_link(line)
        except ValueError:
            broken = Broken(number, due, Fault.NOT_JSON, f"line {number} is not a record of the audit")
            break
        if after is None and count == 0 and this.seq > 0:
            first, head, due = this.seq, this.prev, this.seq
        if (this.seq, this.prev) != (due, head):
            broken = _diagnose(this, following, Position(due, head), number)
            if broken.fault is not Fault.INSERTED and before is not None and before[:2] == (this.seq, this.prev):
                broken = Broken(number - 1, due - 1, Fault.INSERTED, f"line {number - 1} was put in before line {number}")
            if before is not None and broken.line < number:
                count, head, last_time = number - 2, before[1], before[2]  # what was believed was not sound
            break
        if signed.get(due, this.hash) != this.hash:
            broken = Broken(number, due, Fault.REWRITTEN, f"record {due}, or one before it, is not the one that was signed")
            break
        before = due, head, last_time
        count, head, last_time, first_time = number, this.hash, this.time, first_time or this.time
    return Verified(count, first_time, last_time, head, broken, first)


def _unfinished(number: int, due: int, *, is_last: bool) -> Broken:
    if is_last:
        return Broken(number, due, Fault.TORN, f"line {number} has no end: it was being written when the gateway died")
    return Broken(number, due, Fault.NOT_JSON, f"line {number} is longer than {MAX_LINE} bytes")


def _diagnose(this: Link, following: bytes | None, at: Position, number: int) -> Broken:
    """What happened to a line whose number or hash is not the expected one."""
    after = _read(following)
    if this.prev == at.head:
        return Broken(number, at.seq, Fault.EDITED, f"line {number} has number {this.seq} instead of {at.seq}")
    if after is not None and (after.seq, after.prev) == (at.seq, at.head) and this.prev != after.hash:
        return Broken(number, at.seq, Fault.INSERTED, f"line {number} was put in between two records that belong together")
    if this.seq == at.seq:
        return _edited(this, after, at, number)
    later = this.seq if after is None else after.seq
    if this.seq < at.seq or later < this.seq:
        message = f"line {number} has number {this.seq} instead of {at.seq}: lines were moved"
        return Broken(number, at.seq, Fault.SWAPPED, message)
    return Broken(number, at.seq, Fault.REMOVED, f"{this.seq - at.seq} records are missing before line {number}")


def _edited(this: Link, after: Link | None, at: Position, number: int) -> Broken:
    """Two neighbours do not fit. The line after them tells which of the two is still as it was written."""
    if at == START or (after is not None and after.prev != this.hash):
        return Broken(number, at.seq, Fault.EDITED, f"line {number} is not as it was written")
    where = f"line {number - 1}" if number > 1 else "the last line of the file before"
    return Broken(number - 1, at.seq - 1, Fault.EDITED, f"{where} is not the one that line {number} was chained to")


def _read(line: bytes | None) -> Link | None:
    try:
        return None if line is None else read_link(line)
    except ValueError:
        return None
