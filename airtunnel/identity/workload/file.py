"""A small file with something secret in it, read as it is now."""

import os
import stat
from pathlib import Path

from airtunnel.errors import ConfigError, LoginRequired

MAX_FILE = 16 * 1024
"""Bytes: identity.compact takes no larger token, and no key is larger. A path that leads elsewhere is not read into memory."""


def read_secret(path: Path, what: str, *, private: bool) -> str:
    """The text in the file, without blanks around it. Blocks for a local read, which is short.

    what: what should be there, for errors; private: refuse a file that others may read
    Raises LoginRequired if there is no such file; ConfigError, naming it and never its contents, if it cannot be used.
    """
    try:
        # Not blocking: at a path that is a pipe, nobody may ever write.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LoginRequired(f"{what} is missing: there is no file {path}", hint=f"ls -l {path.parent}") from error
    except (OSError, ValueError) as error:  # a name with a NUL in it is a ValueError
        why = error.strerror if isinstance(error, OSError) else "that is no name of a file"
        raise ConfigError(f"{path}: {what} cannot be read: {why}", hint=f"ls -l {path}") from error
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{path}: {what} cannot be read: that is not a plain file", hint=f"ls -l {path}")
        if private:
            _check_private(path, found, what)
        data = os.read(fd, MAX_FILE + 1)
    finally:
        os.close(fd)
    if len(data) > MAX_FILE:
        raise ConfigError(f"{path}: {what} is larger than {MAX_FILE} bytes", hint=f"ls -l {path}")
    try:
        text = data.decode().strip()
    except UnicodeDecodeError:
        # Not `from` the cause, which carries the bytes.
        raise ConfigError(f"{path}: {what} is not a text") from None
    if not text:
        raise ConfigError(f"{path}: {what} is missing: the file is empty", hint=f"ls -l {path}")
    return text


def _check_private(path: Path, found: os.stat_result, what: str) -> None:
    # libpq's rule for private keys (libpq-ssl): root's files may be read by a group, which is how Kubernetes mounts secrets.
    forbidden = 0o037 if found.st_uid == 0 and os.geteuid() != 0 else 0o077
    if found.st_uid not in (0, os.geteuid()):
        raise ConfigError(f"{path}: {what} belongs to another user", hint=f"chown {os.geteuid()} {path}")
    if found.st_mode & forbidden:
        raise ConfigError(f"{path}: {what} may be read by others", hint=f"chmod 600 {path}")
