"""Checkpoints: how far the audit was at a time, signed, in a file of its own. They make visible what a chain cannot show.

    {"v":1,"seq":1041,"head":<hash of record 1041>,"time":...,"gateway":...,"file":"audit.jsonl","key":"SHA256:...","sig":"..."}

A chain whose tail was cut off, or that was written anew from some record on, is a good chain; a checkpoint remembers the
other one. Who cuts the tail and the checkpoints that speak of it is not found out, unless a copy of them is elsewhere: let
`checkpoints:` be another disk, or ship the file as it grows. What follows the last checkpoint is not covered, either.

The signature (ed25519, base 64) is over CONTEXT and the line's bytes before `,"sig"`.
"""

import base64
import errno
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from airtunnel.audit.file import sync_directory
from airtunnel.audit.key import fingerprint
from airtunnel.errors import UsageError

CONTEXT = b"airtunnel audit checkpoint 1\n"
"""So that no signature made for something else passes for one of these."""
MAX_LINE = 4096
_MARK = b',"sig":"'


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """`seq` and `head`: the last record's number and hash; file: where it stood then."""

    seq: int
    head: str
    time: str
    gateway: str
    file: str


def sign(checkpoint: Checkpoint, key: Ed25519PrivateKey) -> bytes:
    """The checkpoint as a line, newline included."""
    said = {
        "v": 1,
        "seq": checkpoint.seq,
        "head": checkpoint.head,
        "time": checkpoint.time,
        "gateway": checkpoint.gateway,
        "file": checkpoint.file,
        "key": fingerprint(key.public_key()),
    }
    body = json.dumps(said, separators=(",", ":")).encode("ascii")[:-1]
    return body + _MARK + base64.b64encode(key.sign(CONTEXT + body)) + b'"}\n'


def check(line: bytes, keys: Sequence[Ed25519PublicKey]) -> Checkpoint:
    """The checkpoint in a line that one of the keys signed. Raises ValueError, with a phrase about the line, for any other."""
    body, mark, rest = line.rstrip(b"\n").rpartition(_MARK)
    if not mark or not rest.endswith(b'"}'):
        raise ValueError("is not a checkpoint")
    try:
        signature = base64.b64decode(rest[:-2], validate=True)
    except ValueError as error:
        raise ValueError("is not a checkpoint") from error
    for key in keys:
        try:
            key.verify(signature, CONTEXT + body)
        except InvalidSignature:
            continue
        return _read(body)
    raise ValueError("is not signed by this key")


def append_line(path: Path, line: bytes) -> None:
    """Adds a line to the file, made (0600) if it is not there, and syncs it. Raises OSError, and then it is as it was.

    Opened each time: the place may be a mount that comes and goes. What a crash has left of a line is cut off.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
    try:
        size = _whole(fd)
        os.ftruncate(fd, size)
        try:
            if os.write(fd, line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(fd)
        except OSError:
            os.ftruncate(fd, size)
            raise
    finally:
        os.close(fd)
    if size == 0:
        sync_directory(path.parent)


def last_line(path: Path) -> bytes | None:
    """The file's last whole line, None if there is none. Raises OSError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    try:
        size = _whole(fd)
        data = os.pread(fd, MAX_LINE, max(0, size - MAX_LINE))[: min(size, MAX_LINE)]
    finally:
        os.close(fd)
    lines = data.splitlines()
    return lines[-1] if lines else None


def read_lines(path: Path) -> list[bytes]:
    """All lines of a file of checkpoints. Raises UsageError if it cannot be read."""
    try:
        return path.read_bytes().splitlines(keepends=True)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def _whole(fd: int) -> int:
    """Bytes up to the end of the last whole line."""
    size = os.fstat(fd).st_size
    start = max(0, size - MAX_LINE)
    return start + os.pread(fd, MAX_LINE, start).rfind(b"\n") + 1


def _read(body: bytes) -> Checkpoint:
    match json.loads(body + b"}"):
        case {"v": 1, "seq": int(seq), "head": str(head), "time": str(time), "gateway": str(gateway), "file": str(file)}:
            return Checkpoint(seq, head, time, gateway, file)
        case _:
            raise ValueError("is of another version")
