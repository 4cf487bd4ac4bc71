"""A secret in a file: read with its permissions checked, and read again when it changes."""

import os
import stat
from pathlib import Path

from airtunnel.errors import CredentialUnavailable

MAX_SIZE = 64 * 1024
"""Bytes. A password is short; a path that leads elsewhere by mistake must not be read into memory."""


class SecretFile:
    """The text of one file, without the newline at its end."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int, int] | None = None
        self._text = ""

    def read(self) -> str:
        """The file's text as it is now. Blocks for a local read, which is short.

        Raises CredentialUnavailable, naming the file and never its contents, if it cannot be read, others may read it, or
        it is empty or no text.
        """
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise CredentialUnavailable(f"{self.path} cannot be read: {error.strerror}") from error
        try:
            found = os.fstat(fd)
            _check(self.path, found)
            version = (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size)
            if version != self._seen:
                self._text = _decode(self.path, os.read(fd, MAX_SIZE + 1))
                self._seen = version
        finally:
            os.close(fd)
        return self._text


def _check(path: Path, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise CredentialUnavailable(f"{path} is not a plain file")
    # libpq's rule for private keys (libpq-ssl): root's files may be read by a group, which is how Kubernetes mounts secrets.
    forbidden = 0o037 if found.st_uid == 0 and os.geteuid() != 0 else 0o077
    if found.st_uid not in (0, os.geteuid()):
        raise CredentialUnavailable(f"{path} belongs to another user", hint=f"chown {os.geteuid()} {path}")
    if found.st_mode & forbidden:
        raise CredentialUnavailable(f"{path} may be read by others", hint=f"chmod 600 {path}")


def _decode(path: Path, data: bytes) -> str:
    try:
        text = data.decode().rstrip("\r\n")
    except UnicodeDecodeError:
        # Not `from` the cause: a UnicodeDecodeError carries the bytes it failed on.
        raise CredentialUnavailable(f"{path} is not UTF-8 text") from None
    if not text or len(data) > MAX_SIZE:
        raise CredentialUnavailable(f"{path} is empty or longer than {MAX_SIZE} bytes")
    return text
