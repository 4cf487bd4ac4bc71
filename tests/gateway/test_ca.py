"""One CA: which keys are trusted, who signs, and what its files may not be."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncssh
import pytest

from airtunnel.config.authority import Holder, Kms
from airtunnel.errors import ConfigError, Temporary
from airtunnel.gateway.ca import Ca, Files, left_of, load_ca
from airtunnel.gateway.certificate import Kind, Statement
from airtunnel.gateway.keyfile import write_private, write_public
from airtunnel.gateway.signer import AgentSigner, FileSigner, KmsSigner

KEYS = [asyncssh.generate_private_key("ssh-ed25519", comment=f"key {number}") for number in range(3)]
ECDSA = asyncssh.generate_private_key("ecdsa-sha2-nistp256", comment="arn:aws:kms:eu-central-1:1:key/a")
RSA = asyncssh.generate_private_key("ssh-rsa", key_size=2048)


def line(key: asyncssh.SSHKey) -> str:
    return " ".join(key.export_public_key().decode().split()[:2])


def place(directory: Path, *roles: str) -> Files:
    """The files of a CA in which each role has a key."""
    files = Files(directory / "user_ca")
    for role, key in zip(roles, KEYS, strict=False):
        match role:
            case "signs":
                write_private(files.path, key)
                write_public(files.public, key)
            case "next":
                write_private(files.next, key)
                write_public(files.next_public, key)
            case "old":
                write_public(files.old_public, key)
    return files


def test_all_three_keys_are_trusted_and_one_signs(tmp_path: Path) -> None:
    files = place(tmp_path, "signs", "next", "old")
    ca = load_ca(files.path, None)
    assert ca.trusted == {line(KEYS[0]): "signs", line(KEYS[1]): "next", line(KEYS[2]): "old"}
    assert ca.signer.public == KEYS[0].convert_to_public()
    assert str(ca) == ", ".join(
        f"{key.get_fingerprint()} ({role})" for key, role in zip(KEYS, ("signs", "next", "old"), strict=True)
    )


def test_a_key_with_two_roles_is_told_once(tmp_path: Path) -> None:
    files = place(tmp_path, "signs")
    write_public(files.old_public, KEYS[0])
    write_public(files.next_public, KEYS[0])
    assert load_ca(files.path, None).trusted == {line(KEYS[0]): "signs"}


@dataclass
class Liar:
    """Signs with another key than it says."""

    public: asyncssh.SSHKey
    key: asyncssh.SSHKey

    async def sign(self, data: bytes) -> bytes:
        return self.key.sign(data, self.key.algorithm)


async def test_a_signature_by_another_key_goes_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    now = datetime.now(UTC)
    said = Statement(Kind.USER, KEYS[2].public_data, 1, "a", ("b",), now, now + timedelta(minutes=1))
    with pytest.raises(Temporary, match="cannot sign at the moment"):
        await Ca(Liar(KEYS[0].convert_to_public(), KEYS[1])).certify(said)
    assert f"not a signature of {KEYS[0].get_fingerprint()}" in caplog.text


def test_a_holder_signs_with_the_key_of_its_public_half(tmp_path: Path) -> None:
    public = tmp_path / "user_ca.pub"
    write_public(public, KEYS[0])
    signer = load_ca(tmp_path / "user_ca", Holder(public, agent=tmp_path / "agent.sock")).signer
    assert signer == AgentSigner(KEYS[0].convert_to_public(), tmp_path / "agent.sock")
    write_public(public, ECDSA)
    kms = load_ca(tmp_path / "user_ca", Holder(public, kms=Kms.AWS)).signer
    assert isinstance(kms, KmsSigner)
    assert kms.public == ECDSA.convert_to_public()


def test_a_public_half_that_no_key_service_can_have_is_refused(tmp_path: Path) -> None:
    public, nameless = tmp_path / "user_ca.pub", asyncssh.generate_private_key("ecdsa-sha2-nistp256")
    for key in (KEYS[0], nameless):
        write_public(public, key)
        with pytest.raises(ConfigError, match=r"user_ca\.pub: this is not the public half of a key in AWS KMS"):
            load_ca(tmp_path / "user_ca", Holder(public, kms=Kms.AWS))


@pytest.mark.parametrize("role", ["path", "next", "next_public", "old_public"])
def test_a_weak_key_is_no_ca_in_any_role(tmp_path: Path, role: str) -> None:
    files = place(tmp_path, "signs")
    where: Path = getattr(files, role)
    (write_public if where.suffix == ".pub" else write_private)(where, RSA)
    with pytest.raises(ConfigError, match=f"{where.name}: a key of type ssh-rsa cannot be a CA here"):
        load_ca(files.path, None)


def test_a_key_in_the_place_of_another_is_found_by_its_public_half(tmp_path: Path) -> None:
    files = place(tmp_path, "signs")
    write_private(files.path, KEYS[1])
    with pytest.raises(ConfigError, match=r"user_ca\.pub: this is not the public half of"):
        load_ca(files.path, None)
    files.public.unlink()
    assert isinstance(load_ca(files.path, None).signer, FileSigner)


def test_a_broken_key_that_does_not_sign_yet_is_a_fault_already(tmp_path: Path) -> None:
    files = place(tmp_path, "signs", "next", "old")
    for where in (files.next, files.next_public, files.old_public):
        before = where.read_bytes()
        where.write_bytes(b"rubbish")
        with pytest.raises(ConfigError, match=where.name):
            load_ca(files.path, None)
        where.write_bytes(before)


def test_what_is_left_of_a_broken_ca_are_the_keys_in_its_files(tmp_path: Path) -> None:
    files = place(tmp_path, "signs", "next", "old")
    before = load_ca(files.path, None)
    files.next_public.write_bytes(b"rubbish")
    assert left_of(before, files.path, None) == before
    files.old_public.unlink()
    assert set(left_of(before, files.path, None).trusted) == {line(KEYS[0]), line(KEYS[1])}
    write_public(files.old_public, KEYS[0])
    files.path.unlink()
    files.public.unlink()
    assert line(KEYS[0]) in left_of(before, files.path, None).trusted, "in another place it is still in a file"


def test_a_key_that_may_be_in_a_broken_file_is_left(tmp_path: Path) -> None:
    files = place(tmp_path, "signs", "next", "old")
    before = load_ca(files.path, None)
    files.old_public.write_bytes(b"rubbish")
    files.public.chmod(0o666)
    files.path.chmod(0o644)
    assert left_of(before, files.path, None) == before
    files.public.chmod(0o644)
    write_public(files.public, RSA)
    assert left_of(before, files.path, None) == before, "a key that cannot be a CA's is none"
    write_public(files.public, KEYS[1])
    assert line(KEYS[0]) not in left_of(before, files.path, None).trusted, "another key is in its place"


def test_a_key_is_not_left_because_it_is_in_the_place_of_a_broken_one(tmp_path: Path) -> None:
    files = place(tmp_path, "signs", "next", "old")
    before = load_ca(files.path, None)
    files.old_public.unlink()
    for one in (files.next, files.next_public):
        one.write_bytes(b"rubbish")
    assert set(left_of(before, files.path, None).trusted) == {line(KEYS[0]), line(KEYS[1])}


async def test_a_signer_in_no_file_is_not_trusted_and_signs_nothing(tmp_path: Path) -> None:
    files = place(tmp_path, "signs", "next")
    before = load_ca(files.path, None)
    files.path.unlink()
    files.public.unlink()
    left = left_of(before, files.path, None)
    assert left.trusted == {line(KEYS[1]): "next"}
    now = datetime.now(UTC)
    said = Statement(Kind.USER, KEYS[2].public_data, 1, "a", ("b",), now, now + timedelta(minutes=1))
    with pytest.raises(Temporary, match="cannot sign at the moment"):
        await left.certify(said)
    assert str(left_of(Ca(before.signer), files.path, None)) == "no key"
