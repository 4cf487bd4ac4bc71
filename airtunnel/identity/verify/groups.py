"""Who is in which group, from a file: for providers whose tokens do not say it.

data-eng: [ana@example.com, bob@example.com]
on-call: [ana@example.com]

A change of the file counts within a second; a broken one never replaces a good one.
"""

import logging
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

from airtunnel.config.document import Node, Scalar, fault, read_document
from airtunnel.config.table import Table, each, text
from airtunnel.errors import ConfigError

logger = logging.getLogger(__name__)

LOOK = timedelta(seconds=1)
"""Between two looks at the file."""

Stamp: TypeAlias = tuple[int, int, int]
Members: TypeAlias = Mapping[str, tuple[str, ...]]


def read_groups(path: Path) -> Members:
    """Each member's groups, in the file's order. Raises ConfigError, `file:line:column: reason`.

    A member is a principal's name or its subject, to the letter: whether ANA@example.com is somebody else, the provider knows.
    """
    found: dict[str, list[str]] = {}
    for key, node in Table(read_document(path)).entries():
        for member in _members(node):
            groups = found.setdefault(member, [])
            if (group := text(key)) in groups:
                raise fault(node, f"{member} stands in {group} twice")
            groups.append(group)
    return {member: tuple(groups) for member, groups in found.items()}


def _members(node: Node) -> tuple[str, ...]:
    # One alone needs no brackets; `[]` is a group that exists and has nobody in it.
    return (text(node),) if isinstance(node, Scalar) else each(text)(node)


class GroupsFile:
    """The groups in the file as it is now. Raises ConfigError if it is wrong at the start.

    clock: seconds that never go back
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._looked = clock()
        self._seen = _stamp(path)
        self._members = read_groups(path)
        self._fault = ""

    def of(self, name: str, subject: str) -> tuple[str, ...]:
        """The groups of who has this name and this subject, from the file as it was at most a second ago."""
        self._look()
        groups = self._members.get(name, ()) + self._members.get(subject, ())
        return tuple(dict.fromkeys(groups))

    def _look(self) -> None:
        if self._clock() - self._looked < LOOK.total_seconds():
            return
        self._looked = self._clock()
        now = _stamp(self._path)  # before it is read: a change in between is seen at the next look
        if now == self._seen and now is not None:
            return
        try:
            self._members = read_groups(self._path)
        except ConfigError as error:
            # Tried again at the next look, as it may be only half written; told once.
            self._seen = None
            if error.message != self._fault:
                logger.error("the new groups are not taken, the old ones still hold: %s", error.message)
            self._fault = error.message
            return
        self._seen, self._fault = now, ""
        logger.info("groups: %s is read again, %d members", self._path.name, len(self._members))


def _stamp(path: Path) -> Stamp | None:
    """What tells one state of the file from another. None if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
