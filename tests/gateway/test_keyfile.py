"""Keys in files: who may touch them, and how they are written."""

import os
from collections.abc import Callable
from pathlib import Path

import asyncssh
import pytest

from airtunnel.errors import ConfigError
from airtunnel.gateway.keyfile import read_private, read_public, write_private, write_public

KEY = asyncssh.generate_private_key("ssh-ed25519", comment="a key")
Read = Callable[[Path], asyncssh.SSHKey]


def test_what_is_written_is_read_again_and_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_private(tmp_path / "key", KEY)
        os.umask(0o077)
        write_public(tmp_path / "key.pub", KEY)
    finally:
        os.umask(before)
    assert read_private(tmp_path / "key") == KEY
    assert read_public(tmp_path / "key.pub") == KEY.convert_to_public()
    assert read_public(tmp_path / "key.pub").get_comment() == "a key"
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("key", "key.pub")] == [0o600, 0o644]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["key", "key.pub"]


def test_an_interrupted_write_is_no_obstacle(tmp_path: Path) -> None:
    (tmp_path / ".key.new").write_text("half a k")
    write_private(tmp_path / "key", KEY)
    assert read_private(tmp_path / "key") == KEY


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o777])
def test_a_private_key_that_others_may_touch_is_not_used(tmp_path: Path, mode: int) -> None:
    write_private(tmp_path / "key", KEY)
    (tmp_path / "key").chmod(mode)
    with pytest.raises(ConfigError, match="key: others may read this private key") as caught:
        read_private(tmp_path / "key")
    assert caught.value.hint == f"chmod 600 {tmp_path / 'key'}"


@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_public_key_that_others_may_change_is_not_trusted(tmp_path: Path, mode: int) -> None:
    write_public(tmp_path / "key.pub", KEY)
    (tmp_path / "key.pub").chmod(mode)
    with pytest.raises(ConfigError, match=r"key\.pub: others may write this public key") as caught:
        read_public(tmp_path / "key.pub")
    assert caught.value.hint == f"chmod 644 {tmp_path / 'key.pub'}"


def test_behind_a_link_the_file_itself_counts(tmp_path: Path) -> None:
    write_private(tmp_path / "real", KEY)
    (tmp_path / "link").symlink_to("real")
    assert read_private(tmp_path / "link") == KEY
    (tmp_path / "real").chmod(0o640)
    with pytest.raises(ConfigError, match="link: others may read") as caught:
        read_private(tmp_path / "link")
    assert caught.value.hint == f"chmod 600 {tmp_path / 'real'}", "the link's own mode is nothing one could change"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_another_users_file_is_not_used(tmp_path: Path) -> None:
    write_private(tmp_path / "key", KEY)
    os.chown(tmp_path / "key", 65_534, 65_534)
    with pytest.raises(ConfigError, match="belongs to another user"):
        read_private(tmp_path / "key")


@pytest.mark.parametrize("read", [read_private, read_public])
def test_what_is_no_key_is_named(tmp_path: Path, read: Read) -> None:
    path = tmp_path / "key"
    with pytest.raises(ConfigError, match="there is no such key"):
        read(path)
    for rubbish in (
        b"",
        b"rubbish",
        b"\xff\xfe",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
    ):
        path.write_bytes(rubbish)
        path.chmod(0o600)
        with pytest.raises(ConfigError, match="key: this is not a"):
            read(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match="this is not a file"):
        read(path)
    path.rmdir()
    os.mkfifo(path)
    with pytest.raises(ConfigError, match="this is not a file"):
        read(path)


def test_a_key_behind_a_passphrase_is_told_from_a_broken_one(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.touch(mode=0o600)
    path.write_bytes(KEY.export_private_key("pkcs8-pem", "secret"))
    with pytest.raises(ConfigError, match=r"not a usable private key: Passphrase"):
        read_private(path)
