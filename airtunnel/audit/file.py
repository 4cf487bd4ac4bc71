"""One file of the audit on disk: one writer, appended to in batches, each batch wholly there or not at all.

All calls block: audit/log.py makes them in its own thread. A batch is acknowledged when fdatasync has returned. After a
failure (no space, I/O error) the file is cut back to the last acknowledged byte, so that it can go on when space returns.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from airtunnel.audit.chain import MAX_LINE, START, Link, Position, Verified, link, read_link, verify
from airtunnel.errors import AuditUnavailable, UsageError


class ChainFile:
    """The open file and where its chain stands. `torn` is how many bytes of an unfinished last line were cut off.

    after: where the chain stands if the file is empty

    Raises AuditUnavailable, naming the file, if it cannot be opened, is held by another gateway, or does not end in a record.
    """

    def __init__(self, path: Path, *, fsync: bool, after: Position = START) -> None:
        self.path = path
        self._fsync = fsync
        try:
            self._fd = _open(path, fsync=fsync)
        except OSError as error:
            raise AuditUnavailable(f"the audit log {path} cannot be opened: {error.strerror}") from error
        try:
            self._claim()
            self.size, self.torn, last = _tail(self._fd, path)
            self._dirty = self.torn > 0
            self.position = after if last is None else Position(last.seq + 1, last.hash)
        except BaseException:
            self.close()
            raise

    def append(self, bodies: Sequence[bytes]) -> None:
        """Writes encoded records; when this returns they are on disk. Raises OSError, and then none of them is."""
        seq, head, lines = self.position.seq, self.position.head, []
        for body in bodies:
            line, head = link(body, seq, head)
            lines.append(line)
            seq += 1
        data = b"".join(lines)
        self.check()
        try:
            _write(self._fd, data)
            if self._fsync:
                os.fdatasync(self._fd)
        except OSError:
            # fdatasync may have failed after the bytes arrived: they were not acknowledged, so they must not stay.
            self._dirty = True
            with suppress(OSError):  # the next append tries again before it writes
                self._cut_back()
            raise
        self.position, self.size = Position(seq, head), self.size + len(data)

    def check(self) -> None:
        """Nobody but us may have touched the file: a chain that goes on where nobody looks convinces nobody. Raises OSError."""
        if self._dirty:
            self._cut_back()
        found = os.fstat(self._fd)
        if found.st_nlink == 0:
            raise OSError(errno.ENOENT, "the file was deleted while in use")
        if found.st_size != self.size:
            raise OSError(errno.EIO, "the file was changed by someone else")
        try:
            named = self.path.lstat()
        except FileNotFoundError:
            named = None
        if named is None or (named.st_dev, named.st_ino) != (found.st_dev, found.st_ino):
            raise OSError(errno.ENOENT, "the file was moved away while in use")

    def settle(self) -> None:
        """Brings to the disk what is written, also where the configuration does without. Raises OSError."""
        if not self._fsync:
            os.fdatasync(self._fd)
            sync_directory(self.path.parent)

    def verify(self, after: Position | None) -> Verified:
        """Whether the chain in the file holds, from `after` on. A torn last line is not looked at: it will be cut off."""
        with self.path.open("rb") as file:
            return verify(_upto(_lines(file.readline), self.size), after)

    def close(self) -> None:
        """Releases the file and its lock."""
        os.close(self._fd)

    def _claim(self) -> None:
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            raise AuditUnavailable(f"the audit log {self.path} is not a plain file")
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise AuditUnavailable(
                f"the audit log {self.path} is in use by another gateway",
                hint="stop that gateway, or give this one an audit file of its own",
            ) from error

    def _cut_back(self) -> None:
        os.ftruncate(self._fd, self.size)
        self._dirty = False


def verify_file(path: Path, after: Position | None = START, signed: Mapping[int, str] | None = None) -> Verified:
    """Whether the chain in a file holds; the arguments are `verify`'s. Raises UsageError if the file cannot be read."""
    try:
        with path.open("rb") as file:
            return verify(_lines(file.readline), after, signed)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def sync_directory(path: Path) -> None:
    """A new file's name is as perishable as its bytes until its directory is synced (fsync(2), notes)."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _lines(readline: Callable[[int], bytes]) -> Iterator[bytes]:
    # Not `for line in file`: one damaged file without a newline would be read into memory whole.
    while line := readline(MAX_LINE):
        yield line


def _upto(lines: Iterator[bytes], size: int) -> Iterator[bytes]:
    for line in lines:
        if size <= 0:
            return
        size -= len(line)
        yield line


def _open(path: Path, *, fsync: bool) -> int:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    if fsync:
        sync_directory(path.parent)
    return fd


def _write(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


def _tail(fd: int, path: Path) -> tuple[int, int, Link | None]:
    """Where the last whole line ends, how many bytes follow it, and its link. Reads no more than the end of the file."""
    size = os.fstat(fd).st_size
    start = max(0, size - 2 * MAX_LINE)
    end = os.pread(fd, size - start, start)
    whole = end.rfind(b"\n") + 1
    if whole == 0 and start == 0:
        return 0, size, None
    line = end[end.rfind(b"\n", 0, max(whole - 1, 0)) + 1 : whole]
    try:
        return start + whole, len(end) - whole, read_link(line)
    except ValueError as error:
        raise AuditUnavailable(
            f"the audit log {path} does not end in a record", hint=f"airtunnel audit verify {path}"
        ) from error
