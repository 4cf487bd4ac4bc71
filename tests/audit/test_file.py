"""The audit's file: one writer, whole batches, its permissions."""

import os
import stat
from pathlib import Path

import pytest

from airtunnel.audit.chain import MAX_LINE, Fault, encode
from airtunnel.audit.file import ChainFile, verify_file
from airtunnel.errors import AuditUnavailable, UsageError

BODY = encode({"time": "t", "event": "test"})


def append(path: Path, *bodies: bytes) -> None:
    file = ChainFile(path, fsync=False)
    try:
        file.append(bodies)
    finally:
        file.close()


def test_a_new_file_and_its_directory_are_private(tmp_path: Path) -> None:
    path = tmp_path / "audit" / "audit.jsonl"
    append(path, BODY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_the_chain_goes_on_where_it_ended(tmp_path: Path) -> None:
    for _ in range(3):
        append(tmp_path / "a", BODY, BODY)
    verified = verify_file(tmp_path / "a")
    assert (verified.count, verified.broken) == (6, None)


def test_an_empty_file_begins_the_chain(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    append(tmp_path / "a", BODY)
    assert verify_file(tmp_path / "a").count == 1


def test_a_second_gateway_is_refused_with_the_name_of_the_file(tmp_path: Path) -> None:
    first = ChainFile(tmp_path / "a", fsync=False)
    try:
        with pytest.raises(AuditUnavailable, match=f"{tmp_path / 'a'} is in use by another gateway"):
            ChainFile(tmp_path / "a", fsync=False)
    finally:
        first.close()
    append(tmp_path / "a", BODY)


@pytest.mark.parametrize("keep", [1, 40, -1])
def test_a_torn_last_line_is_cut_off_before_the_next_is_written(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "a"
    append(path, BODY, BODY)
    whole = path.read_bytes()
    start = whole.index(b"\n") + 1
    path.write_bytes(whole[:start] + whole[start:][:keep])
    file = ChainFile(path, fsync=False)
    assert file.torn == len(whole[start:][:keep])
    file.append([BODY])
    file.close()
    assert path.read_bytes() == whole


def test_a_file_of_only_a_torn_line_begins_anew(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b'{"v":1,"seq"')
    append(tmp_path / "a", BODY)
    assert verify_file(tmp_path / "a").count == 1


@pytest.mark.parametrize("end", [b"\n", b"hello\n", b'{"v":1}\n', b"x" * (2 * MAX_LINE + 5)])
def test_a_file_that_does_not_end_in_a_record_is_refused_and_left_alone(tmp_path: Path, end: bytes) -> None:
    path = tmp_path / "a"
    append(path, BODY)
    before = path.read_bytes() + end
    path.write_bytes(before)
    with pytest.raises(AuditUnavailable, match="does not end in a record") as caught:
        ChainFile(path, fsync=False)
    assert caught.value.hint == f"airtunnel audit verify {path}"
    assert path.read_bytes() == before


def test_only_the_end_of_a_large_file_is_read_at_start(tmp_path: Path) -> None:
    path = tmp_path / "a"
    append(path, BODY)
    line = path.read_bytes()
    with path.open("wb") as file:
        file.seek(1 << 40)  # a hole: 1 TiB that could not be read in time
        file.write(b"\n" + line)
    opened = ChainFile(path, fsync=False)
    opened.append([BODY])
    opened.close()


def test_the_longest_record_can_be_read_back(tmp_path: Path) -> None:
    long = encode({"time": "t", "x": "y" * (MAX_LINE - 300)})
    for _ in range(2):
        append(tmp_path / "a", long)
    assert verify_file(tmp_path / "a").count == 2


def test_a_file_deleted_under_the_gateway_takes_no_more_records(tmp_path: Path) -> None:
    file = ChainFile(tmp_path / "a", fsync=False)
    (tmp_path / "a").unlink()
    with pytest.raises(OSError, match="deleted"):
        file.append([BODY])
    file.close()


@pytest.mark.parametrize("instead", [False, True])
def test_a_file_moved_away_under_the_gateway_takes_no_more_records(tmp_path: Path, instead: bool) -> None:
    file = ChainFile(tmp_path / "a", fsync=False)
    (tmp_path / "a").rename(tmp_path / "a.1")
    if instead:
        (tmp_path / "a").touch()
    with pytest.raises(OSError, match="moved away"):
        file.append([BODY])
    (tmp_path / "a.1").rename(tmp_path / "a")
    file.append([BODY])
    file.close()


@pytest.mark.parametrize("size", [0, 1000])
def test_a_file_changed_under_the_gateway_takes_no_more_records(tmp_path: Path, size: int) -> None:
    file = ChainFile(tmp_path / "a", fsync=False)
    file.append([BODY])
    os.truncate(tmp_path / "a", size)
    with pytest.raises(OSError, match="changed"):
        file.append([BODY])
    file.close()


@pytest.mark.parametrize("path", ["/dev/null", "/proc/no/audit"])
def test_what_cannot_hold_an_audit_is_refused_by_name(path: str) -> None:
    with pytest.raises(AuditUnavailable, match=path):
        ChainFile(Path(path), fsync=False)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to(tmp_path / "b")
    with pytest.raises(AuditUnavailable):
        ChainFile(tmp_path / "a", fsync=False)
    assert not (tmp_path / "b").exists()


def test_a_file_that_is_not_there_cannot_be_verified(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        verify_file(tmp_path / "a")


def test_a_file_without_newlines_is_not_read_whole(tmp_path: Path) -> None:
    with (tmp_path / "a").open("wb") as file:
        file.truncate(1 << 40)
    broken = verify_file(tmp_path / "a").broken
    assert broken is not None
    assert (broken.line, broken.fault) == (1, Fault.NOT_JSON)
