"""The audit's files as one chain: when the file that is written to is full, it gets its final name, and the next one begins.

    1. audit.jsonl  ->  audit-000000000000.jsonl       renamed, never deleted
    2. audit.jsonl                                     created, empty
    3. {"seq":131072,"prev":<hash of the last line in 1>,"event":"audit.rotated",...}   with the first batch

A crash after 1 or 2 leaves no file, or an empty one, beside a full one: the next start goes on with 2 or 3. What fails at 1
or 2 is tried again at each batch, and until then the full file, under whichever name, takes what comes: no record is lost.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from airtunnel.audit.chain import START, Position
from airtunnel.audit.file import ChainFile
from airtunnel.audit.files import full_files, full_name
from airtunnel.errors import AuditUnavailable

logger = logging.getLogger(__name__)


class Ledger:
    """The open audit. All calls block, and are made by one thread at a time.

    limit: bytes after which a file is full; a batch is never divided
    opening: the first record of a new file, encoded, from a sentence that names the old one

    Raises AuditUnavailable as ChainFile does, and if the last file's chain, or its link to the file before, does not hold.
    """

    def __init__(self, path: Path, *, fsync: bool, limit: int, opening: Callable[[str], bytes]) -> None:
        self.path = path
        self._fsync = fsync
        self._limit = limit
        self._opening = opening
        self._trouble = ""
        self._file = ChainFile(path, fsync=fsync)
        self.torn = self._file.torn
        """How many bytes of an unfinished last line are cut off."""
        self._before = ""
        try:
            self._first = self._go_on()
        except BaseException:
            self._file.close()
            raise

    @property
    def position(self) -> Position:
        """Where the chain stands."""
        return self._file.position

    def append(self, bodies: Sequence[bytes]) -> None:
        """Writes encoded records; when this returns they are on disk. Raises OSError, and then none of them is."""
        if self._file.size >= self._limit:
            self._rotate()
        if self._file.size == 0 and self.position != START:
            last = self.position.seq - 1
            bodies = [self._opening(f"goes on from {self._before}: record {last}, {self.position.head}"), *bodies]
        self._file.append(bodies)

    def settle(self) -> tuple[Position, str]:
        """Where the chain stands, and in which file, once all of it is on disk. Raises OSError."""
        self._file.settle()
        return self.position, self._file.path.name

    def close(self) -> None:
        """Releases the file and its lock."""
        self._file.close()

    def _go_on(self) -> int:
        """The number of the file's first record, once its chain is verified, and its link to the file before."""
        full, file = full_files(self.path), self._file
        after = None
        if full:
            self._before = full[-1].name
            # Its lock, too: a gateway that is between two files has locked the one before.
            before = ChainFile(full[-1], fsync=self._fsync)
            try:
                after = before.position
                if file.size == 0:
                    file.position = after
                    self.torn += before.torn
                    before.check()  # cuts off what is torn
            finally:
                before.close()
        if file.size == 0:
            return file.position.seq
        found = file.verify(after)
        if found.broken is not None:
            raise AuditUnavailable(
                f"the audit log {self.path} is broken at line {found.broken.line}: {found.broken.message}",
                hint=f"airtunnel audit verify {self.path.parent}",
            )
        return found.first

    def _rotate(self) -> None:
        try:
            self._file.check()
            if self._file.path == self.path:
                self._name_full()
            file = ChainFile(self.path, fsync=self._fsync, after=self.position)
            if file.size:
                file.close()
                raise AuditUnavailable(f"{self.path} was made by someone else")
        except (OSError, AuditUnavailable) as error:
            if str(error) != self._trouble:
                logger.error("audit log %s is full, and the next one cannot begin: %s", self._file.path, error)
            self._trouble = str(error)
            return
        self._trouble = ""
        before, self._file = self._file, file
        self._before, self._first = before.path.name, self.position.seq
        before.close()

    def _name_full(self) -> None:
        name = full_name(self.path, self._first)
        if name.exists():
            raise AuditUnavailable(f"there is a {name.name} already")
        self.path.rename(name)
        self._file.path = name
