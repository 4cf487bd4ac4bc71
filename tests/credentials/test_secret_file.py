"""Secrets in files."""

import os
from pathlib import Path

import pytest

from airtunnel.credentials.secret_file import MAX_SIZE, SecretFile
from airtunnel.errors import CredentialUnavailable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.touch(mode=0o600)
    path.write_text("canary\n")
    return path


def test_a_secret_is_the_text_without_its_newline(path: Path) -> None:
    assert SecretFile(path).read() == "canary"


def test_a_secret_is_not_in_the_repr(path: Path) -> None:
    file = SecretFile(path)
    assert file.read() not in repr(file)


def test_a_link_is_followed_as_kubernetes_mounts_secrets(path: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(path)
    assert SecretFile(tmp_path / "link").read() == "canary"


def test_a_replaced_file_is_read_again(path: Path, tmp_path: Path) -> None:
    file = SecretFile(path)
    assert file.read() == "canary"
    other = tmp_path / "other"
    other.touch(mode=0o600)
    other.write_text("second\n")
    other.replace(path)
    assert file.read() == "second"


@pytest.mark.parametrize("mode", [0o604, 0o620, 0o640, 0o644, 0o660, 0o601])
def test_a_secret_that_others_can_reach_is_refused(path: Path, mode: int) -> None:
    path.chmod(mode)
    with pytest.raises(CredentialUnavailable, match="may be read by others"):
        SecretFile(path).read()


def test_permissions_that_loosen_later_are_seen(path: Path) -> None:
    file = SecretFile(path)
    file.read()
    path.chmod(0o644)
    with pytest.raises(CredentialUnavailable, match="may be read by others"):
        file.read()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_a_secret_of_another_user_is_refused(path: Path) -> None:
    os.chown(path, 12345, -1)
    with pytest.raises(CredentialUnavailable, match="belongs to another user"):
        SecretFile(path).read()


@pytest.mark.parametrize("data", [b"", b"\n", b"canary\xff", b"x" * (MAX_SIZE + 1)])
def test_what_is_no_secret_is_refused_without_being_quoted(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    with pytest.raises(CredentialUnavailable) as caught:
        SecretFile(path).read()
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None  # a UnicodeDecodeError holds the bytes


def test_a_pipe_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(CredentialUnavailable, match="not a plain file"):
        SecretFile(tmp_path / "pipe").read()
