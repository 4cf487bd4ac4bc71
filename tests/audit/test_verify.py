"""Verifying an audit of several files: whatever was done to it is found, where it was done, and called what it is."""

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from airtunnel.audit.chain import Fault, Position, encode, link
from airtunnel.audit.files import find_files, full_name
from airtunnel.audit.verify import Audit, Finding, verify_audits
from airtunnel.errors import UsageError
from tests.audit.journal import write_audit

Lines = list[bytes]


def only(*paths: Path, checkpoints: Path | None = None, public_key: Path | None = None) -> Audit:
    (audit,) = verify_audits(paths, checkpoints, public_key)
    return audit


def finding(*paths: Path, **named: Path) -> Finding:
    found = only(*paths, **named).finding
    assert found is not None
    return found


def change(file: Path, how: Callable[[Lines], object]) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    how(lines)
    file.write_bytes(b"".join(lines))


def seq(line: bytes) -> int:
    number: int = json.loads(line)["seq"]
    return number


def chain_anew(files: list[Path]) -> None:
    """What somebody does who knows the format: every hash fits again."""
    at = Position(0, "0" * 64)
    for file in files:
        lines = []
        for line in file.read_bytes().splitlines():
            fields = {name: value for name, value in json.loads(line).items() if name not in ("v", "seq", "prev")}
            new, head = link(encode(fields), at.seq, at.head)
            lines.append(new)
            at = Position(at.seq + 1, head)
        file.write_bytes(b"".join(lines))


async def test_an_untouched_audit_is_told_file_by_file(tmp_path: Path) -> None:
    files = await write_audit(tmp_path, 40)
    audit = only(tmp_path)
    assert len(files) >= 4
    assert [file for file, _ in audit.files] == files
    assert (audit.finding, audit.count) == (None, 40 + len(files) - 1)
    assert audit.signed is not None
    assert audit.signed.last is not None
    assert audit.signed.last.seq == audit.count - 1
    assert only(*files).finding is None


@pytest.mark.parametrize("which", [0, 1, -1])
@pytest.mark.parametrize(
    ("how", "fault", "at"),
    [
        (lambda lines: lines.__setitem__(1, lines[1].replace(b"session.opened", b"session.closed")), Fault.EDITED, 1),
        (lambda lines: lines.pop(1), Fault.REMOVED, 1),
        (lambda lines: lines.insert(1, lines[0].replace(b"gw-1", b"gw-2")), Fault.INSERTED, 1),
        (lambda lines: lines.__setitem__(slice(1, 3), [lines[2], lines[1]]), Fault.SWAPPED, 1),
        (lambda lines: lines.__setitem__(1, b"hello\n"), Fault.NOT_JSON, 1),
    ],
)
async def test_a_touched_line_is_named_by_file_line_and_number(
    tmp_path: Path, which: int, how: Callable[[Lines], object], fault: Fault, at: int
) -> None:
    file = (await write_audit(tmp_path, 40))[which]
    number = seq(file.read_bytes().splitlines()[at])
    change(file, how)
    found = finding(tmp_path)
    assert (found.file, found.line, found.seq, found.fault) == (file, at + 1, number, fault)
    assert str(found).startswith(f"{file}:{at + 1}:{number}: ")


async def test_the_last_line_of_a_full_file_is_found_by_the_file_that_follows(tmp_path: Path) -> None:
    files = await write_audit(tmp_path, 40)
    lines = files[1].read_bytes().splitlines()
    change(files[1], lambda lines: lines.__setitem__(-1, lines[-1].replace(b"session.opened", b"session.closed")))
    found = finding(tmp_path)
    assert (found.file, found.line, found.seq, found.fault) == (files[1], len(lines), seq(lines[-1]), Fault.EDITED)
    assert only(tmp_path).count == seq(lines[-1])


async def test_the_last_line_of_all_is_found_by_the_checkpoint(tmp_path: Path) -> None:
    files = await write_audit(tmp_path, 40)
    change(files[-1], lambda lines: lines.__setitem__(-1, lines[-1].replace(b"session.opened", b"session.closed")))
    assert finding(tmp_path).fault is Fault.REWRITTEN


@pytest.mark.parametrize("which", [0, 1])
async def test_a_missing_file_is_found(tmp_path: Path, which: int) -> None:
    files = await write_audit(tmp_path, 40)
    files[which].unlink()
    found = finding(tmp_path)
    assert (found.file, found.line, found.fault) == (files[which + 1], 1, Fault.REMOVED)


async def test_a_cut_tail_is_found_by_the_checkpoint_and_by_nothing_else(tmp_path: Path) -> None:
    files = await write_audit(tmp_path, 40)
    lines = files[-1].read_bytes().splitlines()
    change(files[-1], lambda lines: lines.pop())
    found = finding(tmp_path)
    assert (found.file, found.line, found.seq, found.fault) == (files[-1], len(lines), seq(lines[-1]), Fault.CUT)
    (tmp_path / "audit.checkpoints").unlink()
    assert only(tmp_path).finding is None


async def test_a_missing_last_file_is_a_cut_tail(tmp_path: Path) -> None:
    files = await write_audit(tmp_path, 40)
    files[-1].unlink()
    assert finding(tmp_path).fault is Fault.CUT


async def test_a_tail_cut_together_with_its_checkpoints_is_found_by_the_copy_kept_elsewhere(tmp_path: Path) -> None:
    files = await write_audit(tmp_path / "a", 20)
    await write_audit(tmp_path / "a", 20)
    copy = tmp_path / "copy.checkpoints"
    copy.write_bytes((tmp_path / "a" / "audit.checkpoints").read_bytes())
    change(tmp_path / "a" / "audit.checkpoints", lambda lines: lines.pop())
    for file in (tmp_path / "a").glob("*.jsonl"):
        if file not in files[:-1]:
            file.unlink()
    (tmp_path / "a" / "audit.jsonl").touch()
    change(tmp_path / "a" / "audit.checkpoints", lambda lines: lines.clear())
    assert only(tmp_path / "a").finding is None
    assert finding(tmp_path / "a", checkpoints=copy, public_key=tmp_path / "a" / "audit.pub").fault is Fault.CUT


async def test_a_history_written_anew_is_found_by_the_checkpoint(tmp_path: Path) -> None:
    files = await write_audit(tmp_path, 40)
    change(files[0], lambda lines: lines.__setitem__(3, lines[3].replace(b"session.opened", b"session.closed")))
    chain_anew(files)
    found = finding(tmp_path)
    assert (found.file, found.fault) == (files[-1], Fault.REWRITTEN)
    (tmp_path / "audit.checkpoints").unlink()
    assert only(tmp_path).finding is None


async def test_an_audit_cut_and_continued_has_checkpoints_that_go_back(tmp_path: Path) -> None:
    (file,) = await write_audit(tmp_path, 9, rotate=10**6)
    change(file, lambda lines: lines.__delitem__(slice(5, None)))
    sealed = (tmp_path / "audit.checkpoints").read_bytes()
    (tmp_path / "audit.checkpoints").unlink()
    await write_audit(tmp_path, 2, rotate=10**6)
    with (tmp_path / "audit.checkpoints").open("r+b") as checkpoints:
        later = checkpoints.read()
        checkpoints.seek(0)
        checkpoints.write(sealed + later)
    found = finding(tmp_path)
    assert (found.file.name, found.line, found.fault) == ("audit.checkpoints", 2, Fault.CUT)


async def test_a_forged_checkpoint_is_found(tmp_path: Path) -> None:
    await write_audit(tmp_path, 3)
    change(tmp_path / "audit.checkpoints", lambda lines: lines.__setitem__(0, lines[0].replace(b'"seq":2', b'"seq":1')))
    found = finding(tmp_path)
    assert (found.file.name, found.line, found.fault) == ("audit.checkpoints", 1, Fault.FORGED)


async def test_checkpoints_of_another_key_are_not_believed(tmp_path: Path) -> None:
    await write_audit(tmp_path / "a", 3)
    await write_audit(tmp_path / "b", 3)
    found = finding(tmp_path / "a", public_key=tmp_path / "b" / "audit.pub")
    assert (found.fault, found.message) == (Fault.FORGED, "line 1 is not signed by this key")


async def test_a_checkpoint_that_was_being_written_is_no_fault(tmp_path: Path) -> None:
    await write_audit(tmp_path, 3)
    with (tmp_path / "audit.checkpoints").open("ab") as file:
        file.write(b'{"v":1,"seq"')
    assert only(tmp_path).finding is None


async def test_a_torn_last_line_is_told_from_a_cut_tail(tmp_path: Path) -> None:
    (file,) = await write_audit(tmp_path, 3)
    file.write_bytes(file.read_bytes() + b'{"v":1')
    assert finding(tmp_path).fault is Fault.TORN


async def test_one_full_file_alone_can_be_verified(tmp_path: Path) -> None:
    files = await write_audit(tmp_path, 40)
    audit = only(files[1])
    assert audit.finding is None
    assert audit.files[0][1].first > 0


async def test_files_in_an_archive_and_those_that_followed_are_one_audit(tmp_path: Path) -> None:
    files = await write_audit(tmp_path / "a", 40)
    (tmp_path / "archive").mkdir()
    for file in files[:2]:
        file.rename(tmp_path / "archive" / file.name)
    assert only(tmp_path / "archive", tmp_path / "a").finding is None
    # In its directory an audit begins with its first record; what was archived is named.
    assert finding(tmp_path / "a").fault is Fault.REMOVED
    assert only(*files[2:]).finding is None


async def test_two_gateways_have_two_audits(tmp_path: Path) -> None:
    await write_audit(tmp_path / "a", 20)
    second = await write_audit(tmp_path / "b", 30)
    change(second[1], lambda lines: lines.pop(1))
    one, other = verify_audits([tmp_path / "a", tmp_path / "b"])
    assert (one.finding, one.count > 20) == (None, True)
    assert other.finding is not None
    assert other.finding.file == second[1]


async def test_checkpoints_of_one_audit_are_not_for_two(tmp_path: Path) -> None:
    for name in ("a", "b"):
        await write_audit(tmp_path / name, 3)
    with pytest.raises(UsageError, match="several audits"):
        list(verify_audits([tmp_path / "a", tmp_path / "b"], tmp_path / "a" / "audit.checkpoints"))


async def test_a_rotation_during_the_verification_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = await write_audit(tmp_path, 8)
    first = len(files)
    listed = find_files([tmp_path])
    await write_audit(tmp_path, 12)
    monkeypatch.setattr("airtunnel.audit.verify.find_files", lambda _paths: listed)
    audit = only(tmp_path)
    assert audit.finding is None
    assert len(audit.files) > first


async def test_an_empty_new_file_is_no_fault(tmp_path: Path) -> None:
    files = await write_audit(tmp_path, 20)
    files[-1].rename(full_name(files[-1], seq(files[-1].read_bytes().splitlines()[0])))
    files[-1].touch()
    assert only(tmp_path).finding is None


async def test_the_head_is_the_hash_of_the_last_line(tmp_path: Path) -> None:
    files = await write_audit(tmp_path, 5)
    assert only(tmp_path).end.head == sha256(files[-1].read_bytes().splitlines()[-1]).hexdigest()
