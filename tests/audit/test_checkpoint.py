"""Checkpoints: what is signed, and how it is written."""

import base64
import json
import os
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from airtunnel.audit.checkpoint import Checkpoint, append_line, check, last_line, read_lines, sign
from airtunnel.audit.key import fingerprint
from airtunnel.errors import UsageError

KEY = Ed25519PrivateKey.from_private_bytes(b"k" * 32)
OTHER = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
SAID = Checkpoint(41, "ab" * 32, "2026-03-01T00:00:00.000Z", 'gw "1"', "audit.jsonl")
LINE = sign(SAID, KEY)


def test_a_checkpoint_is_one_line_of_json_that_says_who_signed_it() -> None:
    assert LINE.endswith(b"\n")
    body = json.loads(LINE)
    assert (body["seq"], body["head"], body["file"]) == (41, "ab" * 32, "audit.jsonl")
    assert body["key"] == fingerprint(KEY.public_key())
    assert check(LINE, [OTHER.public_key(), KEY.public_key()]) == SAID


def test_another_key_s_checkpoint_is_not_believed() -> None:
    with pytest.raises(ValueError, match="not signed by this key"):
        check(LINE, [OTHER.public_key()])
    with pytest.raises(ValueError, match="not signed by this key"):
        check(LINE, [])


@given(st.integers(0, len(LINE) - 2), st.integers(0, 255))
def test_no_changed_byte_goes_unseen(at: int, value: int) -> None:
    changed = LINE[:at] + bytes([value]) + LINE[at + 1 :]
    if changed != LINE:
        with pytest.raises(ValueError, match="is not"):
            check(changed, [KEY.public_key()])


@pytest.mark.parametrize("line", [b"", b"\n", b"{}\n", b'{"v":1,"sig":"!"}\n', b"\xff\xfe", LINE[:-3]])
def test_what_is_no_checkpoint_is_said_to_be_none(line: bytes) -> None:
    with pytest.raises(ValueError, match="is not a checkpoint"):
        check(line, [KEY.public_key()])


def test_the_same_words_signed_for_something_else_are_no_checkpoint() -> None:
    body = LINE[: LINE.index(b',"sig"')]
    bare = body + b',"sig":"' + base64.b64encode(KEY.sign(body)) + b'"}\n'
    with pytest.raises(ValueError, match="not signed by this key"):
        check(bare, [KEY.public_key()])


def test_lines_are_added_to_a_private_file(tmp_path: Path) -> None:
    path = tmp_path / "c"
    assert last_line(path) is None
    for seq in range(50):
        append_line(path, b"%d\n" % seq)
        assert last_line(path) == b"%d" % seq
    assert read_lines(path) == [b"%d\n" % seq for seq in range(50)]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("cut", [1, 20, len(LINE) - 1])
@pytest.mark.parametrize("before", [0, 40])
def test_a_torn_line_is_cut_off_by_the_next(tmp_path: Path, cut: int, before: int) -> None:
    path = tmp_path / "c"
    path.write_bytes(LINE * before + LINE[:cut])
    assert last_line(path) == (LINE[:-1] if before else None)
    append_line(path, LINE)
    assert path.read_bytes() == LINE * (before + 1)


def test_a_failed_line_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_fd: int) -> None:
        raise OSError(5, "Input/output error")

    append_line(tmp_path / "c", LINE)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="Input/output"):
            append_line(tmp_path / "c", LINE)
    assert (tmp_path / "c").read_bytes() == LINE


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "c").symlink_to(tmp_path / "d")
    with pytest.raises(OSError, match="symbolic links"):
        append_line(tmp_path / "c", LINE)


def test_checkpoints_that_are_not_there_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        read_lines(tmp_path / "c")
