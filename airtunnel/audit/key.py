"""The key that signs the audit's checkpoints: ed25519, in OpenSSH's format, the gateway's own.

    audit.key   0600, made when it is not there
    audit.pub   for auditors: take a copy before you need it, from the file that nobody could have touched yet

Who has the private key can sign another history; a copy of the checkpoints, kept where the gateway cannot write, still tells.
"""

import base64
import hashlib
import os
import stat
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from airtunnel.errors import AuditUnavailable, UsageError

MAX_SIZE = 64 * 1024
"""Bytes. A key is short; a path that leads elsewhere by mistake must not be read into memory."""


def open_key(path: Path) -> Ed25519PrivateKey:
    """The private key in the file; a new one, with its public half in `.pub` beside it, if there is none.

    Raises AuditUnavailable, naming the file, if it is broken, others may read it, or it cannot be made.
    """
    try:
        try:
            return _read(path)
        except FileNotFoundError:
            return _make(path)
    except OSError as error:
        raise AuditUnavailable(f"the audit's key {path} cannot be used: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise AuditUnavailable(f"the audit's key {path} is not an ed25519 key in OpenSSH's format: {error}") from error


def read_public(path: Path) -> tuple[Ed25519PublicKey, ...]:
    """The public keys in a file, one a line: the present one, and those before it. Raises UsageError."""
    try:
        lines = [line for line in path.read_bytes().splitlines() if line.strip()]
        keys = tuple(serialization.load_ssh_public_key(line) for line in lines)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"{path} holds no public key in OpenSSH's format") from error
    found = tuple(key for key in keys if isinstance(key, Ed25519PublicKey))
    if not found or len(found) != len(keys):
        raise UsageError(f"{path}: the audit's keys are ed25519 keys")
    return found


def fingerprint(key: Ed25519PublicKey) -> str:
    """As `ssh-keygen -l -f audit.pub` shows it: `SHA256:...`."""
    line = key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    digest = hashlib.sha256(base64.b64decode(line.split()[1])).digest()
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def _read(path: Path) -> Ed25519PrivateKey:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        # Of what was opened, and not of its name. Root's files may be read by a group: so Kubernetes mounts secrets.
        found = os.fstat(fd)
        if found.st_mode & (0o037 if found.st_uid == 0 != os.geteuid() else 0o077) or not stat.S_ISREG(found.st_mode):
            raise AuditUnavailable(f"the audit's key {path} may be read by others", hint=f"chmod 600 {path}")
        data = os.read(fd, MAX_SIZE)
    finally:
        os.close(fd)
    key = serialization.load_ssh_private_key(data, password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise ValueError("it is of another kind")
    return key


def _make(path: Path) -> Ed25519PrivateKey:
    key = Ed25519PrivateKey.generate()
    ssh = serialization.PrivateFormat.OpenSSH
    private = key.private_bytes(serialization.Encoding.PEM, ssh, serialization.NoEncryption())
    public = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # The public half first: a private key without one would sign for nobody.
    _write(path.with_suffix(".pub"), public + b" airtunnel audit\n", 0o644)
    _write(path, private, 0o600)
    return key


def _write(path: Path, data: bytes, mode: int) -> None:
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)  # what an interrupted one left
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.rename(path)
