"""The only file that prints. Data to stdout, everything for people to stderr; nothing is told by colour alone.

An error reads: what, why, and the next command to type.

    error: ana@example.com may not reach payroll
      rule: payroll-is-for-finance (policy/shop.yaml:42), needs group finance; you are in: data-eng
    hint: airtunnel connect warehouse
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO

from airtunnel.errors import AirtunnelError, Refused

VERSION = 1
"""Of the JSON that commands print: `v` in each object. Fields may come; none goes or changes its meaning."""
PIPE_CLOSED = 141
"""128 + SIGPIPE: what a shell shows for a program that the closed pipe has ended."""


def data(text: str) -> None:
    """A line of what was asked for."""
    _print(text, sys.stdout)


def event(name: str, fields: Mapping[str, Any]) -> None:  # Any: JSON
    """One JSON object on a line of its own, as soon as it happens."""
    _print(json.dumps({"v": VERSION, "event": name, **fields}), sys.stdout)


def document(body: Mapping[str, Any]) -> None:  # Any: JSON
    """The whole answer of a command as JSON: one line, as events are."""
    _print(json.dumps({"v": VERSION, **body}), sys.stdout)


def note(text: str = "") -> None:
    """A line for a person."""
    _print(clean(text), sys.stderr)


def fail(error: BaseException, *, as_json: bool = False) -> int:
    """Say what went wrong; the exit code to end with. With JSON, stdout has the error as an event, too."""
    if isinstance(error, BaseExceptionGroup):
        codes = [fail(one, as_json=as_json) for one in error.exceptions]
        return codes[0]
    if not isinstance(error, AirtunnelError):
        return _fail_unexpected(error, as_json=as_json)
    if as_json:
        event("error", error.as_json() | {"exit_code": error.exit_code})
    _label("error:", 31, error.message)
    for line in error.details:
        note(f"  {line}")
    if isinstance(error, Refused) and error.request:
        note(f"  request: {error.request}")
    if error.hint:
        _label("hint:", 36, error.hint)
    return error.exit_code


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns on stdout, as wide as their widest cell; the last one is not padded."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    for row in (head, *rows):
        data(clean("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()))


def clean(text: str) -> str:
    """Text without control characters: what a provider, a gateway or a file says must not steer the terminal."""
    return "".join(one if one.isprintable() or one == "\n" else "\N{REPLACEMENT CHARACTER}" for one in text)


def clock(moment: datetime) -> str:
    """A time as a person reads it here: `17:42`, with the date if it is not today."""
    local = moment.astimezone()
    return local.strftime("%H:%M" if local.date() == datetime.now(UTC).astimezone().date() else "%Y-%m-%d %H:%M")


def span(length: timedelta) -> str:
    """A duration as a person reads it: `45 s`, `10 min`, `2 h 30 min`."""
    seconds = max(0, round(length.total_seconds()))
    if seconds < 90:
        return f"{seconds} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min".replace(" 0 min", "")


def size(count: int) -> str:
    """Bytes as a person reads them: `812 B`, `3.4 MB`."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def interactive() -> bool:
    """Whether a person can be asked: a terminal at both ends, and no CI."""
    return sys.stdin.isatty() and sys.stderr.isatty() and not os.environ.get("CI")


def _label(word: str, colour: int, text: str) -> None:
    if sys.stderr.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb":
        word = f"\033[{colour}m{word}\033[0m"
    _print(f"{word} {clean(text)}", sys.stderr)


def _print(line: str, stream: TextIO) -> None:
    """One line, at once. Ends the program where nobody reads any more, as in `airtunnel targets | head -1`."""
    try:
        stream.write(f"{line}\n")  # in one piece: several commands may write to one terminal
        stream.flush()
    except BrokenPipeError:
        # What is still in the buffer would fail again when the interpreter ends (its documentation, on SIGPIPE).
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
        raise SystemExit(PIPE_CLOSED) from None


def _fail_unexpected(error: BaseException, *, as_json: bool) -> int:
    if os.environ.get("AIRTUNNEL_DEBUG"):
        raise error
    message = f"this is a fault of airtunnel's own: {type(error).__name__}: {error}"
    return fail(AirtunnelError(message, hint="AIRTUNNEL_DEBUG=1 shows where; please report it"), as_json=as_json)
