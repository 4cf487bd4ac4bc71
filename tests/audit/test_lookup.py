"""One record out of many, by its request's id."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airtunnel.audit.lookup import MOST, find_record
from airtunnel.errors import UsageError
from airtunnel.gateway.ids import id_time, new_id

START = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)


def write(path: Path, times: Sequence[datetime], size: int = 100) -> list[str]:
    """An audit file with a record at each of the times; their ids."""
    numbers = [new_id(moment) for moment in times]
    lines = [
        json.dumps({"v": 1, "time": moment.isoformat(), "event": "refused", "id": number, "detail": "x" * size})
        for moment, number in zip(times, numbers, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
    return numbers


def find(files: Sequence[Path], number: str) -> str | None:
    record = find_record(files, number, id_time(number))
    return None if record is None else record["id"]


@pytest.mark.parametrize("step", [timedelta(milliseconds=1), timedelta(seconds=3), timedelta(hours=5)], ids=str)
@pytest.mark.parametrize("count", [1, 2, 7, 3000])
def test_each_record_is_found_by_its_id(tmp_path: Path, count: int, step: timedelta) -> None:
    path = tmp_path / "audit.jsonl"
    numbers = write(path, [START + step * at for at in range(count)])
    for number in {*numbers[:3], *numbers[count // 2 : count // 2 + 2], *numbers[-3:]}:
        assert find([path], number) == number
    for moment in (START - timedelta(days=1), START + step * count / 2, START + step * count + timedelta(days=1)):
        assert find([path], new_id(moment)) is None


def test_records_of_all_sizes_are_found_where_a_file_is_cut_in_half(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for size in (0, 5_000, 100_000):
        numbers = write(path, [START + timedelta(seconds=20) * at for at in range(60)], size)
        assert [find([path], number) for number in numbers] == numbers


def test_full_files_are_looked_into_as_well(tmp_path: Path) -> None:
    files = [tmp_path / f"{name}.jsonl" for name in ("first", "second", "third")]
    hours = timedelta(hours=1)
    numbers = [write(file, [START + hours * (10 * at), START + hours * (10 * at + 5)]) for at, file in enumerate(files)]
    for pair in numbers:
        assert [find(files, number) for number in pair] == pair
    (tmp_path / "empty.jsonl").touch()
    assert find([*files, tmp_path / "empty.jsonl"], numbers[0][0]) == numbers[0][0]


def test_a_record_on_either_side_of_a_rotation_is_found(tmp_path: Path) -> None:
    files = [tmp_path / "full.jsonl", tmp_path / "audit.jsonl"]
    before = write(files[0], [START - timedelta(seconds=2), START])
    after = write(files[1], [START, START + timedelta(seconds=2)])
    for number in (*before, *after):
        assert find(files, number) == number


def test_an_id_that_stands_elsewhere_in_a_record_is_not_its_own(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    number = new_id(START)
    path.write_text(json.dumps({"time": START.isoformat(), "id": "another", "detail": number}) + "\n")
    assert find([path], number) is None


def test_lines_that_are_no_records_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    numbers = write(path, [START, START + timedelta(seconds=1)])
    lines = path.read_text().splitlines()
    path.write_text("\n".join(["not JSON", "[]", "[" * 5000, lines[0], "\x00", lines[1], '{"torn":']))
    assert [find([path], number) for number in numbers] == numbers


def test_what_is_read_for_one_id_has_a_limit(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    numbers = write(path, [START] * 180, size=100_000)
    assert path.stat().st_size > MOST
    assert find([path], numbers[0]) == numbers[0]
    assert find([path], numbers[-1]) is None


def test_a_file_that_is_gone_has_nothing_and_one_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    assert find([tmp_path / "gone.jsonl"], new_id(START)) is None
    with pytest.raises(UsageError, match="cannot be read"):
        find([tmp_path], new_id(START))
