import os
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

import keyring
import pytest
from keyring.backend import KeyringBackend
from keyring.backends import chainer, fail, null
from keyring.errors import InitError, KeyringError, KeyringLocked, PasswordDeleteError

from airtunnel.errors import AirtunnelError, ConfigError, Unreachable
from airtunnel.identity.store import BACKENDS, FileStore, KeyringStore, MemoryStore, StoreKey, TokenStore, open_store

KEY = StoreKey("gateway.example.com", "https://login.example.com", "00u1")
LONG = "ünïcode 北京 " * 500


class Honest(KeyringBackend):
    """A keyring that keeps what it gets, in memory."""

    priority: ClassVar[float] = -1  # so that keyring itself never chooses it

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # keyring has no annotation there
        self.entries: dict[tuple[str, str], str] = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.entries.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.entries[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        if self.entries.pop((service, username), None) is None:
            raise PasswordDeleteError("no such password")


class Small(Honest):
    """As on Windows: entries are small, there is one per service, and errors are not keyring's."""

    left: int = 1_000_000

    def set_password(self, service: str, username: str, password: str) -> None:
        self.left -= 1
        if self.left < 0:
            raise SystemError("the machine was switched off")
        if len(password) > 1280:
            raise ValueError(1783, "CredWrite", "The stub received bad data.")
        assert all(one == (service, username) or one[0] != service for one in self.entries)
        super().set_password(service, username, password)


class Hanging(Honest):
    """As a locked Secret Service with a screen and nobody before it: no answer, ever."""

    def get_password(self, service: str, username: str) -> str | None:
        while True:
            time.sleep(3600)


class Failing(Honest):
    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    def get_password(self, service: str, username: str) -> str | None:
        raise self.error


TRUSTED = {f"{one.__module__}.{one.__qualname__}": None for one in (Honest, Hanging, Failing)} | {
    f"{Small.__module__}.Small": 1200
}


@pytest.fixture
def use() -> Iterator[Callable[[KeyringBackend], KeyringStore]]:
    """Makes a backend the machine's keyring for one test, and gives a store on it."""
    before = keyring.get_keyring()

    def use(backend: KeyringBackend) -> KeyringStore:
        keyring.set_keyring(backend)
        return KeyringStore(backends=TRUSTED, limit=timedelta(seconds=5))

    yield use
    keyring.set_keyring(before)


@pytest.fixture(params=["memory", "file", "keyring", "keyring with small entries"])
def store(request: pytest.FixtureRequest, tmp_path: Path, use: Callable[[KeyringBackend], KeyringStore]) -> TokenStore:
    match request.param:
        case "memory":
            return MemoryStore()
        case "file":
            return FileStore(tmp_path / "state" / "tokens")
        case "keyring":
            return use(Honest())
    return use(Small())


class TestEveryStore:
    """What holds for each kind of store."""

    def test_what_was_put_is_there(self, store: TokenStore) -> None:
        for value in ("first", "", LONG, "second"):
            store.put(KEY, value)
            assert store.get(KEY) == value

    def test_what_was_never_put_is_not_there(self, store: TokenStore) -> None:
        assert store.get(KEY) is None

    def test_what_was_dropped_is_gone(self, store: TokenStore) -> None:
        store.put(KEY, LONG)
        store.drop(KEY)
        assert store.get(KEY) is None

    def test_dropping_nothing_is_no_error(self, store: TokenStore) -> None:
        store.drop(KEY)

    def test_keys_that_differ_in_anything_are_kept_apart(self, store: TokenStore) -> None:
        keys = [
            KEY,
            StoreKey("gateway.example.com:8443", KEY.issuer, KEY.user),
            StoreKey(KEY.gateway, "https://login.example.com/", KEY.user),
            StoreKey(KEY.gateway, KEY.issuer, "00u2"),
            StoreKey(KEY.gateway, KEY.issuer, "users"),
            StoreKey(KEY.gateway, KEY.issuer, "../../x\n"),
            StoreKey(KEY.gateway, KEY.issuer),
        ]
        for key in keys:
            store.put(key, repr(key))
        assert [store.get(key) for key in keys] == [repr(key) for key in keys]


def test_a_kind_is_opened_by_name(tmp_path: Path) -> None:
    assert isinstance(open_store("memory"), MemoryStore)
    assert isinstance(open_store("keyring"), KeyringStore)
    open_store("file", tmp_path / "here").put(KEY, "x")
    assert len(list((tmp_path / "here").iterdir())) == 1


def test_the_state_directory_is_where_files_go_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    open_store("file").put(KEY, "x")
    assert len(list((tmp_path / "airtunnel" / "tokens").iterdir())) == 1


@pytest.fixture
def files(tmp_path: Path) -> tuple[FileStore, Path]:
    """A store with one entry, and the file of it."""
    store = FileStore(tmp_path / "tokens")
    store.put(KEY, "secret")
    (file,) = (tmp_path / "tokens").iterdir()
    return store, file


def test_files_and_their_directory_are_their_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        FileStore(tmp_path / "tokens").put(KEY, "secret")
    finally:
        os.umask(before)
    (file,) = (tmp_path / "tokens").iterdir()
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o602, 0o620, 0o644, 0o666])
def test_a_file_that_others_may_use_is_refused(files: tuple[FileStore, Path], mode: int) -> None:
    store, file = files
    file.chmod(mode)
    with pytest.raises(ConfigError, match=f"others may use it \\(mode {mode:o}\\)") as caught:
        store.get(KEY)
    assert caught.value.hint == f"chmod 600 {file}"


@pytest.mark.parametrize("mode", [0o750, 0o711, 0o777, 0o701])
def test_a_directory_that_others_may_use_is_refused(files: tuple[FileStore, Path], mode: int) -> None:
    store, file = files
    file.parent.chmod(mode)
    with pytest.raises(ConfigError, match="others may use it") as caught:
        store.get(KEY)
    assert caught.value.hint == f"chmod 700 {file.parent}"
    with pytest.raises(ConfigError, match="others may use it"):
        store.put(KEY, "x")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_or_directory_of_another_user_is_refused(files: tuple[FileStore, Path]) -> None:
    store, file = files
    for path in (file, file.parent):
        os.chown(path, 12345, -1)
        with pytest.raises(ConfigError, match="belongs to another user"):
            store.get(KEY)
        os.chown(path, os.geteuid(), -1)
    assert store.get(KEY) == "secret"


def test_a_symbolic_link_is_not_followed(files: tuple[FileStore, Path], tmp_path: Path) -> None:
    store, file = files
    file.rename(tmp_path / "elsewhere")
    file.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="cannot be read"):
        store.get(KEY)
    linked = tmp_path / "linked"
    linked.symlink_to(file.parent)
    with pytest.raises(ConfigError, match="is a symbolic link"):
        FileStore(linked).get(KEY)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", "7"])
def test_a_file_cut_short_is_no_login(files: tuple[FileStore, Path], content: str) -> None:
    store, file = files
    file.write_text(content)
    assert store.get(KEY) is None


def test_a_write_that_fails_leaves_the_old_file_and_no_other(
    files: tuple[FileStore, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    store, file = files

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ConfigError, match="cannot be written: No space left on device"):
        store.put(KEY, "new")
    assert store.get(KEY) == "secret"
    assert list(file.parent.iterdir()) == [file]


def failure(store: TokenStore) -> AirtunnelError:
    with pytest.raises(AirtunnelError) as caught:
        store.get(KEY)
    assert caught.value.hint == "airtunnel login gateway.example.com --store file"
    return caught.value


def test_only_keyrings_of_the_operating_system_are_trusted() -> None:
    assert set(BACKENDS) == {
        "keyring.backends.macOS.Keyring",
        "keyring.backends.SecretService.Keyring",
        "keyring.backends.kwallet.DBusKeyring",
        "keyring.backends.Windows.WinVaultKeyring",
    }


@pytest.mark.parametrize(
    ("backend", "words"),
    [
        (null.Keyring, r"keyring\.backends\.null\.Keyring is not one that keeps secrets safely"),
        (fail.Keyring, "this machine has no keyring"),
        (chainer.ChainerBackend, "is not one that keeps secrets safely"),
    ],
)
def test_a_keyring_that_is_not_trusted_is_refused(
    use: Callable[[KeyringBackend], KeyringStore], backend: Callable[[], KeyringBackend], words: str
) -> None:
    store = use(backend())
    with pytest.raises(ConfigError, match=words):
        store.put(KEY, "secret")
    failure(store)


def test_a_keyring_outside_the_list_never_sees_a_token(use: Callable[[KeyringBackend], KeyringStore]) -> None:
    backend = Honest()
    use(backend)
    with pytest.raises(ConfigError, match="is not one that keeps secrets safely"):
        KeyringStore().put(KEY, "secret")
    assert backend.entries == {}


def test_of_several_keyrings_the_first_trusted_one_is_used(
    use: Callable[[KeyringBackend], KeyringStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    trusted = Honest()
    untrusted: Callable[[], KeyringBackend] = null.Keyring
    chain: Callable[[], KeyringBackend] = chainer.ChainerBackend
    monkeypatch.setattr(chainer.ChainerBackend, "backends", [untrusted(), trusted, Small()])
    use(chain()).put(KEY, "secret")
    assert list(trusted.entries.values()) == ["secret"]


def test_a_keyring_that_hangs_is_given_up(use: Callable[[KeyringBackend], KeyringStore]) -> None:
    use(Hanging())
    error = failure(KeyringStore(backends=TRUSTED, limit=timedelta(milliseconds=50)))
    assert error.message == "the keyring does not answer within 0.05 s: perhaps it waits to be unlocked"


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (KeyringLocked("x"), "the keyring is locked"),
        (InitError("x"), "the keyring cannot be opened"),
        (KeyringError("x"), "the keyring failed: KeyringError"),
        (EOFError(), "the keyring failed: EOFError"),
        (ValueError(1783, "CredRead"), "the keyring failed: ValueError"),
        (OSError("D-Bus is gone"), "the keyring failed: OSError"),
    ],
)
def test_whatever_a_keyring_raises_says_what_to_do(
    use: Callable[[KeyringBackend], KeyringStore], cause: Exception, words: str
) -> None:
    error = failure(use(Failing(cause)))
    assert error.message.startswith(words)
    assert error.__cause__ is cause


def test_where_entries_are_small_a_long_token_takes_several(use: Callable[[KeyringBackend], KeyringStore]) -> None:
    backend = Small()
    store = use(backend)
    store.put(KEY, LONG)
    assert len(backend.entries) == 1 + -(-len(LONG) // 1200)
    store.put(KEY, "short")
    assert len(backend.entries) == 2
    store.drop(KEY)
    assert backend.entries == {}


@pytest.mark.parametrize("writes", range(6))
def test_a_write_cut_short_leaves_the_old_token_or_the_new_one(
    use: Callable[[KeyringBackend], KeyringStore], writes: int
) -> None:
    backend = Small()
    store = use(backend)
    store.put(KEY, "o" * 3000)
    backend.left = writes
    new = "n" * 3000
    if writes < 4:
        with pytest.raises(Unreachable):
            store.put(KEY, new)
    else:
        store.put(KEY, new)
    assert store.get(KEY) == (new if writes >= 4 else "o" * 3000)


def test_a_chunk_that_is_lost_or_changed_is_no_login(use: Callable[[KeyringBackend], KeyringStore]) -> None:
    backend = Small()
    store = use(backend)
    for harm in ("lost", "changed"):
        store.put(KEY, LONG)
        entry = next(one for one, value in backend.entries.items() if len(value) == 1200)
        if harm == "lost":
            del backend.entries[entry]
        else:
            backend.entries[entry] = "x" * 1200
        assert store.get(KEY) is None
        store.drop(KEY)


@pytest.mark.parametrize("head", ["", "x", "-1 a", "9999 a", "\u0663 a"])
def test_a_head_that_makes_no_sense_is_no_login(use: Callable[[KeyringBackend], KeyringStore], head: str) -> None:
    backend = Small()
    store = use(backend)
    store.put(KEY, "x")
    backend.entries = {one: head for one, value in backend.entries.items() if value != "x"}
    assert store.get(KEY) is None
