"""Which files are an audit's, and in which order."""

from pathlib import Path

import pytest

from airtunnel.audit.files import find_files, full_files, full_name, is_full, stem
from airtunnel.errors import UsageError


def touch(directory: Path, *names: str) -> None:
    for name in names:
        (directory / name).touch()


@pytest.mark.parametrize(("first", "name"), [(0, "a-000000000000.jsonl"), (10**13, "a-10000000000000.jsonl")])
def test_a_full_file_is_named_after_its_first_record(first: int, name: str) -> None:
    full = full_name(Path("d/a.jsonl"), first)
    assert (full, is_full(full), stem(full)) == (Path("d") / name, True, "a")
    assert full_name(full, first) == full
    assert not is_full(Path("d/a.jsonl"))


def test_a_directory_is_its_files_in_the_order_of_their_records(tmp_path: Path) -> None:
    in_order = ["a-000000000000.jsonl", "a-999999999999.jsonl", "a-1000000000000.jsonl", "a.jsonl", "b.jsonl"]
    touch(tmp_path, *reversed(in_order), "a.checkpoints", "a.pub")
    assert [file.name for file in find_files([tmp_path])] == in_order
    assert [file.name for file in full_files(tmp_path / "a.jsonl")] == in_order[:3]
    assert full_files(tmp_path / "none" / "a.jsonl") == []
    touch(tmp_path, "plain", "plain.key", "plain-000000000000")
    assert [file.name for file in full_files(tmp_path / "plain")] == ["plain-000000000000"]


def test_files_keep_the_order_in_which_they_are_named(tmp_path: Path) -> None:
    touch(tmp_path, "b.jsonl", "a.jsonl")
    given = [tmp_path / "b.jsonl", tmp_path / "a.jsonl"]
    assert find_files(given) == given


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no audit file .* in"):
        find_files([tmp_path])
    with pytest.raises(UsageError, match="no audit file"):
        find_files([tmp_path / "a.jsonl"])
