"""Keys in files: read with their permissions checked, written whole or not at all.

Whoever can read a private key is the gateway; whoever can write a public one says whom the gateway trusts.
"""

import os
import stat
from pathlib import Path

import asyncssh

from airtunnel.errors import ConfigError

MAX_SIZE = 64 * 1024
"""Bytes. A key is short; a path that leads elsewhere by mistake must not be read into memory."""


def read_private(path: Path) -> asyncssh.SSHKey:
    """The private key in the file. Raises ConfigError if it is not there, broken, or others may read or change it."""
    # libpq's rule for private keys: root's files may be read by a group, which is how Kubernetes mounts secrets.
    data = _read(path, "read", 0o077, ours=0o037)
    try:
        return asyncssh.import_private_key(data)
    except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError) as error:
        raise ConfigError(f"{path}: this is not a usable private key: {error}") from error


def read_public(path: Path) -> asyncssh.SSHKey:
    """The public key in the file. Raises ConfigError if it is not there, broken, or others may change it."""
    data = _read(path, "write", 0o022, ours=0o022)
    try:
        return asyncssh.import_public_key(data)
    except (asyncssh.KeyImportError, ValueError) as error:
        raise ConfigError(f"{path}: this is not a public key in OpenSSH's format: {error}") from error


def write_private(path: Path, key: asyncssh.SSHKey) -> None:
    """Write a private key, 0600 from its first moment on. Raises OSError."""
    _write(path, key.export_private_key(), 0o600)


def write_public(path: Path, key: asyncssh.SSHKey) -> None:
    """Write a public key, which all may read. Raises OSError."""
    _write(path, key.export_public_key(), 0o644)


def _read(path: Path, what: str, forbidden: int, *, ours: int) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such key", hint="airtunnel gateway init") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from error
    try:
        # Of what was opened, and not of its name: the name may be a link, and lead elsewhere a moment later.
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"{path}: this is not a file")
        if found.st_uid not in (0, os.geteuid()):
            raise ConfigError(f"{path}: it belongs to another user", hint=f"chown {os.geteuid()} {path.resolve()}")
        if found.st_mode & (ours if found.st_uid == 0 and os.geteuid() != 0 else forbidden):
            kind, mode = ("private", "600") if what == "read" else ("public", "644")
            raise ConfigError(f"{path}: others may {what} this {kind} key", hint=f"chmod {mode} {path.resolve()}")
        return os.read(descriptor, MAX_SIZE)
    finally:
        os.close(descriptor)


def _write(path: Path, data: bytes, mode: int) -> None:
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)  # what an interrupted one left
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        os.fchmod(file.fileno(), mode)  # whatever the umask says
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
