"""The gateway's log: one line per thing that happened, on stderr, whatever a client put into it."""

import logging
from types import TracebackType
from typing import TypeAlias

Raised: TypeAlias = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]

LIBRARIES = logging.INFO
"""The most that libraries say, with `--verbose`. Never to be DEBUG: at its highest level asyncssh's holds packets, in clear."""


class OneLine(logging.Formatter):
    """Escapes control characters: a name that a client sent must not forge a line, nor steer a terminal.

    Only a traceback has several lines, and they are indented: none of them passes for a line of the log.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        return _plain(super().formatMessage(record))

    def formatException(self, ei: Raised) -> str:  # noqa: N802 - as above
        return _indented(super().formatException(ei))

    def formatStack(self, stack_info: str) -> str:  # noqa: N802 - as above
        return _indented(stack_info)


def start_logging(*, verbose: bool) -> None:
    """Log to stderr: airtunnel from INFO on, its libraries from WARNING on; with `verbose` one level more of both."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=LIBRARIES if verbose else logging.WARNING, handlers=[handler])
    logging.getLogger("airtunnel").setLevel(logging.DEBUG if verbose else logging.INFO)


def _plain(text: str) -> str:
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _indented(text: str) -> str:
    return "\n".join(f"    {_plain(line)}" for line in text.split("\n"))
