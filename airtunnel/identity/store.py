"""Where tokens are kept: the operating system's keyring, a file of the user's own, or memory."""

import hashlib
import json
import os
import queue
import secrets
import stat
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn, Protocol, TypeVar

from airtunnel.config.client import state_directory
from airtunnel.errors import AirtunnelError, ConfigError, Unreachable

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

T = TypeVar("T")

# The backends that are a real, encrypted store of the operating system, and how many characters fit into one entry.
# All others are refused: they keep plain text, ask for a password on stdin, or keep nothing at all.
BACKENDS: Mapping[str, int | None] = {
    "keyring.backends.macOS.Keyring": None,
    "keyring.backends.SecretService.Keyring": None,
    "keyring.backends.kwallet.DBusKeyring": None,
    # CRED_MAX_CREDENTIAL_BLOB_SIZE is 2,560 bytes: 1,280 characters of UTF-16.
    "keyring.backends.Windows.WinVaultKeyring": 1200,
}
CHAINER = "keyring.backends.chainer.ChainerBackend"
MAX_FILE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoreKey:
    """Whose tokens. Without a `user` (a subject) it names the list of those who logged in at this gateway."""

    gateway: str
    issuer: str
    user: str = ""


class TokenStore(Protocol):
    """Keeps texts by key. Each call may block, for seconds at most, and raises an AirtunnelError that says what to do."""

    def get(self, key: StoreKey) -> str | None: ...

    def put(self, key: StoreKey, value: str) -> None: ...

    def drop(self, key: StoreKey) -> None:
        """Forget it. Nothing happens if it is not there."""


def open_store(kind: Literal["keyring", "file", "memory"], directory: Path | None = None) -> TokenStore:
    """The store of that kind. `directory` is where a FileStore keeps its files, by default below the state directory."""
    match kind:
        case "keyring":
            return KeyringStore()
        case "file":
            return FileStore(directory or state_directory() / "tokens")
        case "memory":
            return MemoryStore()


class MemoryStore:
    """Tokens for as long as the process lives."""

    def __init__(self) -> None:
        self._values: dict[StoreKey, str] = {}

    def get(self, key: StoreKey) -> str | None:
        return self._values.get(key)

    def put(self, key: StoreKey, value: str) -> None:
        self._values[key] = value

    def drop(self, key: StoreKey) -> None:
        self._values.pop(key, None)


class FileStore:
    """One file of mode 0600 per key, in a directory of mode 0700; replaced in one step. Wider modes are refused, not mended."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def get(self, key: StoreKey) -> str | None:
        """The text; None if there is none. Raises ConfigError if others could read or write it."""
        path = self._path(key)
        try:
            self._check(self._directory.stat(follow_symlinks=False), self._directory, "700")
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
        with os.fdopen(file, "rb") as opened:
            self._check(os.fstat(file), path, "600")
            text = opened.read(MAX_FILE)
        try:
            return str(json.loads(text)["value"])
        except (ValueError, KeyError, TypeError, RecursionError):
            return None

    def put(self, key: StoreKey, value: str) -> None:
        """Keep the text. Raises ConfigError if it cannot be kept safely."""
        path = self._path(key)
        fresh = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._check(self._directory.stat(follow_symlinks=False), self._directory, "700")
            try:
                with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as opened:
                    json.dump({"gateway": key.gateway, "issuer": key.issuer, "user": key.user, "value": value}, opened)
                    opened.flush()
                    os.fsync(opened.fileno())
                fresh.replace(path)
            finally:
                fresh.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be written: {error.strerror}") from error

    def drop(self, key: StoreKey) -> None:
        path = self._path(key)
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(f"{path}: cannot be removed: {error.strerror}") from error

    def _path(self, key: StoreKey) -> Path:
        # A hash, because a subject may hold any character, and a gateway's name a port.
        name = hashlib.sha256(json.dumps([key.gateway, key.issuer, key.user]).encode()).hexdigest()
        return self._directory / f"{name[:32]}.json"

    def _check(self, found: os.stat_result, path: Path, mode: str) -> None:
        if found.st_uid != os.geteuid():
            raise ConfigError(f"{path}: belongs to another user (uid {found.st_uid})", hint=f"ls -ld {path}")
        if stat.S_ISLNK(found.st_mode):
            raise ConfigError(f"{path}: is a symbolic link", hint=f"ls -ld {path}")
        if (found_mode := stat.S_IMODE(found.st_mode)) & 0o077:
            raise ConfigError(f"{path}: others may use it (mode {found_mode:03o})", hint=f"chmod {mode} {path}")


class KeyringStore:
    """The operating system's keyring: one entry per key, or several where entries are small.

    backends: which are trusted, and how many characters fit into an entry of each (None: as many as one likes)
    limit: how long one call may take. A keyring that is locked asks on the screen, and without one it hangs for ever.
    """

    def __init__(self, *, backends: Mapping[str, int | None] = BACKENDS, limit: timedelta = timedelta(seconds=10)) -> None:
        self._backends = backends
        self._limit = limit

    def get(self, key: StoreKey) -> str | None:
        return self._call(key, lambda backend, size: _read(backend, size, key))

    def put(self, key: StoreKey, value: str) -> None:
        self._call(key, lambda backend, size: _write(backend, size, key, value))

    def drop(self, key: StoreKey) -> None:
        self._call(key, lambda backend, size: _remove(backend, size, key))

    def _call(self, key: StoreKey, work: "Callable[[KeyringBackend, int | None], T]") -> T:
        """What `work` gives, done in a thread that is left behind when it hangs. All of keyring's errors end here."""
        outcome: queue.SimpleQueue[Callable[[], T]] = queue.SimpleQueue()

        def run() -> None:
            try:
                result = work(*self._backend(key))
            except Exception as error:  # backends raise their own libraries' errors, too: D-Bus's, pywin32's, EOFError
                outcome.put(_raiser(error))
            else:
                outcome.put(lambda: result)

        threading.Thread(target=run, name="keyring", daemon=True).start()
        try:
            return outcome.get(timeout=self._limit.total_seconds())()
        except queue.Empty:
            message = f"the keyring does not answer within {self._limit.total_seconds():g} s: perhaps it waits to be unlocked"
            raise Unreachable(message, hint=_by_file(key)) from None
        except AirtunnelError:
            raise
        except Exception as error:
            raise Unreachable(_words(error), hint=_by_file(key)) from error

    def _backend(self, key: StoreKey) -> "tuple[KeyringBackend, int | None]":
        import keyring

        backend = keyring.get_keyring()
        # With several keyrings at hand, keyring reads from all and writes to the first: take the first that is trusted.
        chained: list[KeyringBackend] = [backend]
        if _path_of(backend) == CHAINER:
            chained = backend.backends  # type: ignore[attr-defined]  # of this subclass only
        for one in chained:
            if (path := _path_of(one)) in self._backends:
                if path.endswith(".WinVaultKeyring"):
                    # Else it roams to other machines of the domain.
                    one.persist = "local machine"  # type: ignore[attr-defined]  # of this subclass only
                return one, self._backends[path]
        if _path_of(backend).startswith("keyring.backends.fail."):
            raise ConfigError("this machine has no keyring to keep your login in", hint=_by_file(key))
        raise ConfigError(f"the keyring {_path_of(backend)} is not one that keeps secrets safely", hint=_by_file(key))


def _read(backend: "KeyringBackend", size: int | None, key: StoreKey) -> str | None:
    head = backend.get_password(*_entry(key))
    if size is None or head is None:
        return head
    chunks = [backend.get_password(*one) for one in _chunks(key, head)]
    text = "".join(one for one in chunks if one is not None)
    return text if _digest(text) == head.partition(" ")[2] else None


def _write(backend: "KeyringBackend", size: int | None, key: StoreKey, value: str) -> None:
    """Chunks first, under names of their own, then the head that names them: a write cut short leaves the old value whole."""
    if size is None:
        backend.set_password(*_entry(key), value)
        return
    before = backend.get_password(*_entry(key))
    pieces = [value[start : start + size] for start in range(0, len(value), size)]
    head = f"{len(pieces)} {_digest(value)}"
    for entry, piece in zip(_chunks(key, head), pieces, strict=True):
        backend.set_password(*entry, piece)
    backend.set_password(*_entry(key), head)
    if before is not None and before != head:
        _forget(backend, _chunks(key, before))


def _remove(backend: "KeyringBackend", size: int | None, key: StoreKey) -> None:
    head = backend.get_password(*_entry(key))
    if head is None:
        return
    backend.delete_password(*_entry(key))
    if size is not None:
        _forget(backend, _chunks(key, head))


def _forget(backend: "KeyringBackend", entries: list[tuple[str, str]]) -> None:
    for entry in entries:
        if backend.get_password(*entry) is not None:
            backend.delete_password(*entry)


def _entry(key: StoreKey) -> tuple[str, str]:
    """Service and user name, as keyring calls them. No subject can pass for the list of users.

    The user stands in the service, too: Windows keeps one entry per service, and moves the others about.
    """
    user = f"user {key.user}" if key.user else "users"
    return f"airtunnel/{key.gateway}/{key.issuer}#{user}", user


def _chunks(key: StoreKey, head: str) -> list[tuple[str, str]]:
    """The entries that a head names, each under a service of its own."""
    count, _, digest = head.partition(" ")
    service, user = _entry(key)
    number = int(count) if count.isascii() and count.isdigit() and len(count) < 4 else 0
    return [(f"{service}#{digest[:16]}#{index}", user) for index in range(number)]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _raiser(error: Exception) -> Callable[[], NoReturn]:
    def again() -> NoReturn:
        raise error

    return again


def _words(error: Exception) -> str:
    from keyring.errors import InitError, KeyringLocked, NoKeyringError

    match error:
        case NoKeyringError():
            return "this machine has no keyring to keep your login in"
        case KeyringLocked():
            return "the keyring is locked, and was not unlocked"
        case InitError():
            return "the keyring cannot be opened, perhaps because there is no screen to ask for its password on"
    return f"the keyring failed: {type(error).__name__}"


def _path_of(backend: "KeyringBackend") -> str:
    return f"{type(backend).__module__}.{type(backend).__qualname__}"


def _by_file(key: StoreKey) -> str:
    return f"airtunnel login {key.gateway} --store file"
