"""Full files and the next ones: one chain, at whichever moment the gateway dies."""

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from airtunnel.audit.chain import Position
from airtunnel.audit.file import ChainFile, verify_file
from airtunnel.audit.files import find_files
from airtunnel.audit.verify import verify_audits
from airtunnel.errors import AuditUnavailable
from tests.audit.journal import BODY, ledger, records


def untouched(directory: Path) -> int:
    """How many records there are, in a chain without a fault."""
    (audit,) = verify_audits([directory])
    assert audit.finding is None, audit.finding
    return audit.count


def names(directory: Path) -> list[str]:
    return [file.name for file in find_files([directory])]


def test_a_full_file_gets_a_name_that_sorts_and_the_next_one_names_it(tmp_path: Path) -> None:
    with ledger(tmp_path / "audit.jsonl") as opened:
        opened.append([BODY, BODY])
        opened.append([BODY])
        opened.append([BODY])
    assert names(tmp_path) == ["audit-000000000000.jsonl", "audit-000000000002.jsonl", "audit.jsonl"]
    assert untouched(tmp_path) == 6
    first = records(tmp_path / "audit.jsonl")[0]
    end = verify_file(tmp_path / "audit-000000000002.jsonl", None).end
    assert (first["seq"], first["prev"], first["event"]) == (end.seq, end.head, "new")
    assert first["detail"] == f"goes on from audit-000000000002.jsonl: record {end.seq - 1}, {end.head}"


def test_a_batch_is_never_divided(tmp_path: Path) -> None:
    with ledger(tmp_path / "audit.jsonl", limit=len(BODY)) as opened:
        opened.append([BODY] * 50)
    assert names(tmp_path) == ["audit.jsonl"]


def test_a_restart_goes_on_in_the_same_file_until_it_is_full(tmp_path: Path) -> None:
    for _ in range(6):
        with ledger(tmp_path / "audit.jsonl", limit=500) as opened:
            opened.append([BODY])
    assert names(tmp_path) == ["audit-000000000000.jsonl", "audit.jsonl"]
    assert untouched(tmp_path) == 7


def test_a_file_whose_full_name_is_taken_goes_on_growing_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ledger(tmp_path / "audit.jsonl") as opened:
        opened.append([BODY])
        (tmp_path / "audit-000000000000.jsonl").touch()
        opened.append([BODY])
        opened.append([BODY])
        assert verify_file(tmp_path / "audit.jsonl").count == 3
        assert [entry.levelno for entry in caplog.records] == [logging.ERROR]
        assert "there is a audit-000000000000.jsonl already" in caplog.text
        (tmp_path / "audit-000000000000.jsonl").unlink()
        opened.append([BODY])
    assert untouched(tmp_path) == 5


def test_while_the_next_file_cannot_be_made_the_full_one_takes_the_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def no_more(path: str, flags: int, *rest: int) -> int:
        if flags & os.O_CREAT:
            raise OSError(24, "Too many open files")
        return real(path, flags, *rest)

    with ledger(tmp_path / "audit.jsonl") as opened:
        opened.append([BODY])
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", no_more)
            opened.append([BODY])
            opened.append([BODY])
        assert names(tmp_path) == ["audit-000000000000.jsonl"]
        opened.append([BODY])
    assert names(tmp_path) == ["audit-000000000000.jsonl", "audit.jsonl"]
    assert untouched(tmp_path) == 5


def test_only_the_last_file_and_its_link_are_looked_at_when_opened(tmp_path: Path) -> None:
    path, full = tmp_path / "audit.jsonl", tmp_path / "audit-000000000000.jsonl"
    with ledger(path) as opened:
        opened.append([BODY, BODY])
        opened.append([BODY])
    full.write_bytes(full.read_bytes().replace(b"test", b"tost", 1))
    with ledger(path, limit=10_000) as opened:
        opened.append([BODY])
    full.write_bytes(full.read_bytes().replace(b"test", b"tost", 1))  # the line that the next file is chained to
    with pytest.raises(AuditUnavailable, match=r"audit\.jsonl is broken at line 0: the last line of the file before") as caught:
        ledger(path).__enter__()
    assert caught.value.hint == f"airtunnel audit verify {tmp_path}"


def test_an_edited_last_file_is_not_continued(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with ledger(path, limit=10_000) as opened:
        opened.append([BODY] * 3)
    before = path.read_bytes().replace(b"test", b"tost", 1)
    path.write_bytes(before)
    with pytest.raises(AuditUnavailable, match="broken at line 1"):
        ledger(path).__enter__()
    assert path.read_bytes() == before
    ChainFile(path, fsync=False).close()  # and its lock is free again


def test_full_files_may_be_moved_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "a" / "audit.jsonl"
    with ledger(path) as opened:
        opened.append([BODY])
        opened.append([BODY])
    (tmp_path / "archive").mkdir()
    (tmp_path / "a" / "audit-000000000000.jsonl").rename(tmp_path / "archive" / "audit-000000000000.jsonl")
    with ledger(path, limit=10_000) as opened:
        opened.append([BODY])
    (audit,) = verify_audits([tmp_path / "archive", path])
    assert (audit.count, audit.finding) == (4, None)


def test_a_gateway_between_two_files_still_keeps_others_out(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with ledger(path) as opened:
        opened.append([BODY])
        path.rename(tmp_path / "audit-000000000000.jsonl")  # as it does itself, a moment before the next file is there
        with pytest.raises(AuditUnavailable, match="in use by another gateway"):
            ledger(path).__enter__()


def test_a_torn_line_of_a_file_that_was_just_named_full_is_cut_off(tmp_path: Path) -> None:
    full = tmp_path / "audit-000000000000.jsonl"
    with ledger(full, limit=10_000) as opened:
        opened.append([BODY, BODY])
        end = opened.position
    with full.open("ab") as file:
        file.write(b'{"v":1,"se')
    with ledger(tmp_path / "audit.jsonl") as opened:
        assert (opened.torn, opened.position) == (10, end)
        opened.append([BODY])
    assert untouched(tmp_path) == 4


ROTATION = """
import os, sys
from pathlib import Path
from tests.audit.journal import BODY, open_ledger

left = int(sys.argv[2])

def deadly(name, real):
    def call(*arguments, **named):
        global left
        left -= 1
        if left == 0:
            if name == "write":  # half of it arrives
                real(arguments[0], bytes(arguments[1])[:20])
            os.kill(os.getpid(), 9)
        return real(*arguments, **named)
    return call

ledger = open_ledger(Path(sys.argv[1]))
ledger.append([BODY])
for name in ("open", "rename", "write", "fdatasync", "fsync", "close"):
    setattr(os, name, deadly(name, getattr(os, name)))
ledger.append([BODY])
os.write(1, b"done")
"""


def test_whenever_a_gateway_dies_between_two_files_the_chain_goes_on(tmp_path: Path) -> None:
    seen = set()
    for steps in range(1, 100):
        directory = tmp_path / str(steps)
        program = [sys.executable, "-c", ROTATION, str(directory / "audit.jsonl"), str(steps)]
        ended = subprocess.run(program, capture_output=True, check=False)
        state = tuple((name, (directory / name).stat().st_size) for name in names(directory))
        seen.add(state)
        with ledger(directory / "audit.jsonl", limit=10_000) as opened:
            opened.append([BODY])
        # One record was acknowledged, and one now; the file that follows has its opening; what was under way may be there.
        assert untouched(directory) in (2, 3, 4), state
        if ended.stdout:
            break
        assert ended.returncode == -9, ended.stderr.decode()
    # Before it, renamed only, created empty, half a line, both lines.
    assert steps >= 7
    assert len(seen) >= 5, seen


def test_a_directory_copied_while_it_rotates_is_an_audit(tmp_path: Path) -> None:
    with ledger(tmp_path / "a" / "audit.jsonl") as opened:
        opened.append([BODY])
        opened.append([BODY])
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with ledger(tmp_path / "b" / "audit.jsonl") as opened:
        opened.append([BODY])
        assert opened.settle() == (opened.position, "audit.jsonl")
    assert untouched(tmp_path / "b") == 5
    assert json.loads((tmp_path / "b" / "audit.jsonl").read_bytes().splitlines()[0])["seq"] == 3
    assert opened.position != Position(0, "")
