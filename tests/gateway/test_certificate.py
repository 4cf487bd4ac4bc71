"""Certificates as bytes: asyncssh and OpenSSH read in them what was said."""

import base64
import secrets
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncssh
import pytest
from asyncssh.packet import String
from hypothesis import given, settings
from hypothesis import strategies as st

from airtunnel.errors import ProtocolError
from airtunnel.gateway.certificate import PORTS, TYPES, Kind, Statement, as_line, to_sign
from tests.gateway.grants import opened

CA_KEYS = {kind: asyncssh.generate_private_key(kind) for kind in ("ssh-ed25519", "ecdsa-sha2-nistp256")}
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def security_key() -> bytes:
    """The public blob of a FIDO key (PROTOCOL.u2f), which only its hardware could use."""
    public = asyncssh.generate_private_key("ssh-ed25519").public_data[-32:]
    return String("sk-ssh-ed25519@openssh.com") + String(public) + String("ssh:")


KEYS = {kind: asyncssh.generate_private_key(kind).public_data for kind in CA_KEYS} | {"sk": security_key()}


def signed(said: Statement, ca: asyncssh.SSHKey) -> str:
    data = to_sign(said, authority=ca.public_data, nonce=secrets.token_bytes(32))
    return as_line(data, ca.sign(data, ca.algorithm))


texts = st.text(st.characters(codec="utf-8"), max_size=40)
moments = st.integers(0, 2**32).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
statements = st.builds(
    Statement,
    kind=st.sampled_from(Kind),
    key=st.sampled_from(sorted(KEYS.values())),
    serial=st.integers(0, 2**64 - 1),
    key_id=texts,
    principals=st.lists(texts, max_size=4).map(tuple),
    valid_after=moments,
    valid_before=moments,
    options=st.fixed_dictionaries({}, optional={"force-command": texts}),
    extensions=st.sampled_from([(), (PORTS,)]),
)


@settings(deadline=None)  # a busy machine, not a slow certificate
@given(statements, st.sampled_from(list(CA_KEYS.values())))
def test_asyncssh_reads_what_was_said(said: Statement, ca: asyncssh.SSHKey) -> None:
    if said.kind is Kind.HOST and said.options:
        with pytest.raises(asyncssh.KeyImportError, match="Invalid OpenSSH certificate"):
            opened(signed(said, ca))
        return
    read = opened(signed(said, ca))
    assert read.key.public_data == said.key
    assert read.signing_key == ca.convert_to_public()
    assert (read._serial, read._cert_type, read._key_id) == (said.serial, said.kind, said.key_id)
    assert tuple(read.principals) == said.principals
    assert (read._valid_after, read._valid_before) == (
        int(said.valid_after.timestamp()),
        int(said.valid_before.timestamp()),
    )
    assert read.options.get("force-command") == said.options.get("force-command")
    assert read.options.get(PORTS, False) == (PORTS in said.extensions and said.kind is Kind.USER)


@settings(deadline=None)
@given(statements, st.data())
def test_a_changed_byte_breaks_the_signature(said: Statement, data: st.DataObject) -> None:
    kind, line = signed(said, CA_KEYS["ssh-ed25519"]).split()
    body = bytearray(base64.b64decode(line))
    at = data.draw(st.integers(0, len(body) - 1))
    body[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(asyncssh.KeyImportError):
        asyncssh.import_certificate(f"{kind} {base64.b64encode(body).decode()}")


@pytest.mark.parametrize("ca", CA_KEYS)
@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("kind", Kind)
@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="there is no ssh-keygen")
def test_openssh_reads_what_was_said(tmp_path: Path, ca: str, key: str, kind: Kind) -> None:
    user = kind is Kind.USER
    said = Statement(
        kind,
        KEYS[key],
        2**63 + 1,
        "ana@example.com a session",
        ("one", "two"),
        NOW,
        NOW + timedelta(minutes=5),
        {"force-command": "airtunnel-grant abc"} if user else {},
        (PORTS,) if user else (),
    )
    (tmp_path / "cert.pub").write_text(signed(said, CA_KEYS[ca]) + "\n")
    told = subprocess.run(["ssh-keygen", "-L", "-f", tmp_path / "cert.pub"], capture_output=True, text=True, env={"TZ": "UTC"})
    assert told.returncode == 0, told.stderr
    words = " ".join(told.stdout.split())
    assert f"{TYPES[key_type(key)].decode()} {'user' if user else 'host'} certificate" in words
    assert f"Signing CA: {'ED25519' if ca == 'ssh-ed25519' else 'ECDSA'} {CA_KEYS[ca].get_fingerprint()} (using {ca})" in words
    assert 'Key ID: "ana@example.com a session" Serial: 9223372036854775809' in words
    assert "Valid: from 2026-11-22T12:00:00 to 2026-11-22T12:05:00 Principals: one two" in words
    options = (
        "Critical Options: force-command airtunnel-grant abc Extensions: permit-port-forwarding"
        if user
        else "Critical Options: (none) Extensions: (none)"
    )
    assert words.endswith(options)


def key_type(name: str) -> bytes:
    return b"sk-ssh-ed25519@openssh.com" if name == "sk" else name.encode()


@pytest.mark.parametrize("kind", ["ssh-rsa", "ecdsa-sha2-nistp384", "ssh-ed448"])
def test_another_kind_of_key_is_not_certified(kind: str) -> None:
    key = asyncssh.generate_private_key(kind)
    with pytest.raises(ProtocolError, match=f"{kind}: ssh-ed25519 is needed"):
        to_sign(Statement(Kind.USER, key.public_data, 1, "", (), NOW, NOW), authority=b"", nonce=b"")
