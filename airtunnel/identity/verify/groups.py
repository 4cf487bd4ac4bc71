"""Who is in which group, from a file: for providers whose tokens do not say it.

data-eng: [ana@example.com, bob@example.com]    names
on-call: [ana@example.com, sub:00u1a2b3]        a subject is written `sub:VALUE`

Names and subjects are told apart, because at some providers people choose one of the two themselves.
A change of the file counts within a second; a broken one never replaces a good one, nor does one that others may change.
"""

import logging
import os
import stat
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import TypeAlias

from airtunnel.config import document
from airtunnel.config.document import MAX_BYTES, Node, Scalar, Source, fault, parse_document
from airtunnel.config.table import Table, each, text
from airtunnel.errors import ConfigError

logger = logging.getLogger(__name__)

LOOK = timedelta(seconds=1)
"""Between two looks at the file."""

SUBJECT = "sub:"
"""Before a subject in the file."""

Stamp: TypeAlias = tuple[int, ...]
Members: TypeAlias = Mapping[str, tuple[str, ...]]


def read_groups(path: Path) -> Members:
    """Each member's groups, in the file's order. Raises ConfigError: `file:line:column: reason`, or others may change the file.

    A member is a principal's name, or `sub:` and its subject, to the letter: whether ANA@example.com is somebody else, the
    provider knows.
    """
    found: dict[str, list[str]] = {}
    for key, node in Table(parse_document(_read(path), Source(path.name, path.absolute().parent))).entries():
        for member in _members(node):
            groups = found.setdefault(member, [])
            if (group := text(key)) in groups:
                raise fault(node, f"{member} stands in {group} twice")
            groups.append(group)
    return {member: tuple(groups) for member, groups in found.items()}


def _members(node: Node) -> tuple[str, ...]:
    # One alone needs no brackets; `[]` is a group that exists and has nobody in it.
    return (_member(node),) if isinstance(node, Scalar) else each(_member)(node)


def _member(node: Node) -> str:
    # With a blank behind the colon it is a table for YAML.
    if isinstance(node, document.Mapping) or (member := text(node)) == SUBJECT:
        raise fault(node, f"a member is a name, or a subject as {SUBJECT}VALUE, in one word")
    return member


def _read(path: Path) -> bytes:
    """What is in the file. Raises ConfigError if it is not there, or others may change it: they would be in every group."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise ConfigError(f"{path.name}: there is no such file") from error
    except OSError as error:
        raise ConfigError(f"{path.name}: cannot be read: {(error.strerror or str(error)).lower()}") from error
    try:
        # Of what was opened, and not of its name: the name may be a link, and lead elsewhere a moment later.
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{path}: this is not a file")
        if found.st_uid not in (0, os.geteuid()):
            raise ConfigError(f"{path}: it belongs to another user", hint=f"chown {os.geteuid()} {path.resolve()}")
        if found.st_mode & 0o022:
            raise ConfigError(f"{path}: others may write this file", hint=f"chmod 644 {path.resolve()}")
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path.name}: cannot be read: {(error.strerror or str(error)).lower()}") from error
    finally:
        os.close(descriptor)


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
        # Whoever is called `sub:...` is not the subject.
        named = () if name.startswith(SUBJECT) else self._members.get(name, ())
        return tuple(dict.fromkeys(named + self._members.get(SUBJECT + subject, ())))

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
            # Told once, and not read again before it changes: a large one takes its time each time, in which nobody is served.
            # What could not be read at all may be readable a moment later, though it looks the same.
            self._seen = None if isinstance(error.__cause__, OSError) else now
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
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_mode, status.st_uid
