"""The key that signs checkpoints."""

import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from airtunnel.audit.key import fingerprint, open_key, read_public
from airtunnel.errors import AuditUnavailable, UsageError


def test_a_key_is_made_once_private_with_its_public_half_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "audit.key"
    first, second = open_key(path), open_key(path)
    assert first.private_bytes_raw() == second.private_bytes_raw()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert read_public(path.with_suffix(".pub")) == (first.public_key(),)
    assert sorted(file.name for file in path.parent.iterdir()) == ["audit.key", "audit.pub"]


def test_the_fingerprint_is_the_one_that_openssh_shows(tmp_path: Path) -> None:
    if not shutil.which("ssh-keygen"):
        pytest.skip("no ssh-keygen here")
    key = open_key(tmp_path / "audit.key")
    shown = subprocess.run(["ssh-keygen", "-l", "-f", str(tmp_path / "audit.key")], capture_output=True, check=True).stdout
    assert fingerprint(key.public_key()) in shown.decode()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_may_read_is_not_used(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "audit.key"
    open_key(path)
    path.chmod(mode)
    with pytest.raises(AuditUnavailable, match="may be read by others") as caught:
        open_key(path)
    assert caught.value.hint == f"chmod 600 {path}"


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"]
)
def test_what_is_no_key_is_refused_by_name_and_kept(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "audit.key"
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(AuditUnavailable, match=r"audit\.key is not an ed25519 key"):
        open_key(path)
    assert path.read_bytes() == content


def test_a_key_of_another_kind_is_refused(tmp_path: Path) -> None:
    other, path = ec.generate_private_key(ec.SECP256R1()), tmp_path / "audit.key"
    path.touch(mode=0o600)
    path.write_bytes(
        other.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    )
    with pytest.raises(AuditUnavailable, match="of another kind"):
        open_key(path)
    public = other.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    (tmp_path / "audit.pub").write_bytes(public)
    with pytest.raises(UsageError, match="ed25519"):
        read_public(tmp_path / "audit.pub")


def test_a_place_where_no_key_can_be_is_refused_by_name() -> None:
    with pytest.raises(AuditUnavailable, match=r"/proc/none/audit\.key cannot be used"):
        open_key(Path("/proc/none/audit.key"))


def test_a_former_key_may_stand_beside_the_present_one(tmp_path: Path) -> None:
    keys = [open_key(tmp_path / name / "audit.key").public_key() for name in ("a", "b")]
    both = tmp_path / "both.pub"
    both.write_bytes(b"\n".join((tmp_path / name / "audit.pub").read_bytes() for name in ("a", "b")))
    assert list(read_public(both)) == keys


@pytest.mark.parametrize("content", [b"", b"hello\n", b"ssh-ed25519 AAAA\n"])
def test_what_is_no_public_key_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "audit.pub").write_bytes(content)
    with pytest.raises(UsageError, match=r"audit\.pub"):
        read_public(tmp_path / "audit.pub")
