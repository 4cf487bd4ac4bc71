import contextlib
import os
from pathlib import Path

import pytest

from airtunnel.errors import ConfigError, LoginRequired
from airtunnel.identity.workload.file import MAX_FILE, _check_private, read_secret


def test_the_text_comes_without_the_blanks_around_it(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("  secret\r\n\n")
    assert read_secret(path, "the token", private=False) == "secret"


def test_a_missing_file_is_a_missing_identity(tmp_path: Path) -> None:
    with pytest.raises(LoginRequired, match="the token is missing: there is no file") as caught:
        read_secret(tmp_path / "nowhere" / "token", "the token", private=False)
    assert caught.value.hint == f"ls -l {tmp_path / 'nowhere'}"


@pytest.mark.timeout(5)
def test_what_is_no_plain_file_is_named_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(ConfigError, match=f"{path}: the token cannot be read: that is not a plain file"):
            read_secret(path, "the token", private=False)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "the file is empty"),
        (b" \n\n", "the file is empty"),
        (b"secret\xff", "is not a text"),
        (b"x" * (MAX_FILE + 1), "is larger than 16384 bytes"),
    ],
)
def test_contents_that_cannot_be_used_are_named_and_never_shown(tmp_path: Path, content: bytes, why: str) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_secret(path, "the token", private=False)
    assert caught.value.message.startswith(f"{path}: the token")
    assert why in caught.value.message
    assert "secret" not in repr(caught.value) + repr(caught.value.__cause__)


def test_the_largest_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_bytes(b"x" * MAX_FILE)
    assert len(read_secret(path, "the token", private=False)) == MAX_FILE


def test_a_name_that_no_file_has_is_an_error_of_the_configuration(tmp_path: Path) -> None:
    for path in (Path("a\0b"), tmp_path / ("x" * 300)):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_secret(path, "the token", private=False)


def test_a_file_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch(mode=0)
    before = os.geteuid()
    if before == 0:
        os.seteuid(12345)  # root may read everything
    try:
        with pytest.raises(ConfigError, match=f"{path}: the token cannot be read: Permission denied"):
            read_secret(path, "the token", private=False)
    finally:
        os.seteuid(before)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o644, 0o666])
def test_a_private_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    path.write_text("secret")
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"{path}: the key may be read by others") as caught:
        read_secret(path, "the key", private=True)
    assert caught.value.hint == f"chmod 600 {path}"
    assert read_secret(path, "the key", private=False) == "secret"


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_a_private_file_of_ones_own_is_read(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "key"
    path.write_text("secret")
    path.chmod(mode)
    assert read_secret(path, "the key", private=True) == "secret"


@pytest.mark.parametrize(
    ("owner", "mode", "why"),
    [
        (1000, 0o600, None),
        (0, 0o440, None),  # as Kubernetes mounts a secret with fsGroup
        (0, 0o444, "may be read by others"),
        (0, 0o460, "may be read by others"),
        (1000, 0o440, "may be read by others"),
        (1001, 0o600, "belongs to another user"),
    ],
)
def test_a_private_file_is_ones_own_or_roots(owner: int, mode: int, why: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    found = os.stat_result((mode, 0, 0, 1, owner, 0, 0, 0, 0, 0))
    with pytest.raises(ConfigError, match=why) if why else contextlib.nullcontext():
        _check_private(Path("/a/key"), found, "the key")
