"""Who is found, and what is said of lines that are none of ours."""

import json
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from airtunnel.audit.chain import MAX_LINE
from airtunnel.audit.record import Event
from airtunnel.audit.search import Entry, Query, known_event, parse_time, read_entries, whole_audit
from airtunnel.errors import ConfigError, UsageError
from airtunnel.model import Place, Principal, PrincipalKind, Tags
from tests.audit.runs import ANA, RUN, WORKER, Audit, at, eventful, read, task

NOW = datetime(2026, 11, 22, 15, 30, tzinfo=timezone(timedelta(hours=1)))
DIANA = Principal(PrincipalKind.PERSON, "https://id.example.com", "u-2", "diana@example.com")


def four(directory: Path) -> list[Entry]:
    """Ana was refused, diana logged out, a worker was refused twice."""
    audit = Audit()
    audit.refuse(0, Tags(), who=ANA)
    audit.put(10, Event.LOGOUT, principal=DIANA, source="192.0.2.1")
    audit.refuse(20, task("load", run="manual__1"), "crm")
    audit.refuse(30, task("load_more", dag="other"), "crm-eu")
    return read(audit.write(directory / "audit.jsonl"))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (Query(), [0, 1, 2, 3]),
        (Query(who="ana@example.com"), [0]),
        (Query(who="ANA@example.COM"), [0]),
        (Query(who="ana"), [0, 1]),
        (Query(who="u-1"), [0]),
        (Query(who="u-"), []),
        (Query(who=""), []),
        (Query(who="worker-billing"), []),
        (Query(workload="worker"), [2, 3]),
        (Query(workload="system:serviceaccount:airflow:worker"), [2, 3]),
        (Query(target="crm"), [2]),
        (Query(target="crm*"), [2, 3]),
        (Query(dag="other"), [3]),
        (Query(task="load*"), [2, 3]),
        (Query(run=RUN), [3]),
        (Query(run="*"), [2, 3]),
        (Query(event="refused"), [0, 2, 3]),
        (Query(event="logout", who="diana"), [1]),
        (Query(event="session"), []),
        (Query(request="r0002"), [1]),
        (Query(session="s1"), []),
        (Query(source="192.0.2.1"), [1]),
        (Query(since=at(10)), [1, 2, 3]),
        (Query(until=at(10)), [0]),
        (Query(since=at(10), until=at(20)), [1]),
        (Query(target="crm", dag="other"), []),
    ],
    ids=str,
)
def test_all_that_is_asked_for_must_hold(tmp_path: Path, query: Query, found: list[int]) -> None:
    assert [number for number, entry in enumerate(four(tmp_path)) if query.matches(entry)] == found


def test_a_whole_address_is_not_found_within_a_longer_one(tmp_path: Path) -> None:
    assert not Query(who="ana@example.com").matches(four(tmp_path)[1])


def test_a_grant_for_several_targets_is_found_by_each(tmp_path: Path) -> None:
    audit = Audit()
    audit.put(0, Event.GRANT_ISSUED, principal=ANA, target="warehouse crm")
    (entry,) = read(audit.write(tmp_path / "audit.jsonl"))
    assert Query(target="crm").matches(entry)
    assert Query(target="warehouse").matches(entry)
    assert not Query(target="warehouse crm").matches(entry)


def test_an_entry_says_who_why_and_how_long(tmp_path: Path) -> None:
    entries = read(eventful().write(tmp_path / "audit.jsonl"))
    refused = next(one for one in entries if one.event == "refused")
    assert (refused.who, refused.rule, refused.reasons) == (
        WORKER.name,
        "payroll-is-for-finance (policy/prod.yaml:42)",
        "needs group finance",
    )
    closed = next(one for one in entries if one.event == "connection.closed")
    assert (closed.duration, closed.number("bytes_down")) == (timedelta(seconds=57), 2_000_000)
    assert json.loads(closed.line)["conn_id"] == closed.text("conn_id")


def test_full_files_are_read_before_the_one_that_is_written_to(tmp_path: Path) -> None:
    audit = four(tmp_path)
    last = tmp_path / "audit.jsonl"
    full = [tmp_path / f"audit-{number:012}.jsonl" for number in (0, 90)]
    for path in full:
        path.write_bytes(last.read_bytes())
    (tmp_path / "audit.checkpoints").write_text("no audit")
    assert whole_audit([tmp_path]) == whole_audit([last]) == (*full, last)
    assert whole_audit([tmp_path, last]) == (*full, last)
    assert whole_audit([full[0]]) == (full[0],)
    assert len(list(read_entries(whole_audit([tmp_path]), lambda _: None))) == 3 * len(audit)


def test_what_is_not_there_is_a_wrong_command_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        whole_audit([tmp_path / "nosuch"])
    with pytest.raises(UsageError):
        whole_audit([tmp_path])


@pytest.mark.parametrize("torn", [b'{"v":1,"seq":', b"{}", b"\xff\x00"])
def test_a_torn_last_line_is_left_out_and_told(tmp_path: Path, torn: bytes) -> None:
    path = eventful().write(tmp_path / "audit.jsonl")
    whole = len(read(path))
    eventful().write(path, torn=torn)
    places: list[Place] = []
    assert len(list(read_entries([path, path], places.append))) == 2 * whole
    assert places == [Place(str(path), whole + 1)] * 2


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"not JSON",
        b'{"time":"2026-11-22T03:00:00Z"}',
        b'{"event":"refused"}',
        b'{"time":1,"event":"refused"}',
        b'{"time":"yesterday","event":"refused"}',
        b'{"time":"2026-11-22T03:00:00","event":"refused"}',
        b'{"time":"0001-01-01T00:00:00+14:00","event":"refused"}',
        b'{"time":"2026-11-22T03:00:00Z","event":"refused","target":"\xc2\x9b2J"}',
        b'{"time":"2026-11-22T03:00:00Z","event":"refused","target":"\x1b[2J"}',
        b'{"time":"2026-11-22T03:00:00Z","event":"refused","bytes_up":' + b"9" * 5000 + b"}",
        b"[" * 100_000,
        b"x" * 300_000,
    ],
    ids=lambda line: repr(line[:40]),
)
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: bytes) -> None:
    path = eventful().write(tmp_path / "audit.jsonl", torn=line + b"\n")
    count = path.read_bytes().count(b"\n")
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert caught.value.message.startswith(f"{path}:{count}: ")
    assert caught.value.hint == f"airtunnel audit verify {path}"


def test_a_line_without_an_end_is_not_read_into_memory_whole(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(ConfigError, match=f"1: a line of more than {MAX_LINE} bytes"):
            read(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


ODD: list[Any] = [
    None,
    True,
    -1,
    10**30,
    1.5,
    [],
    {},
    ["x", None],
    {"name": []},
    {"rule": "r", "reasons": "r"},
    "\ud800",
]  # Any: JSON


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_a_field_of_any_shape_breaks_nothing(tmp_path: Path, odd: Any) -> None:  # Any: as above
    names = (
        "user",
        "workload",
        "tags",
        "policy",
        "target",
        "sid",
        "bytes_up",
        "duration_ms",
        "close_reason",
        "client_ip",
        "id",
    )
    path = tmp_path / "audit.jsonl"
    path.write_text(json.dumps({"time": "2026-11-22T03:00:00Z", "event": "refused"} | dict.fromkeys(names, odd)) + "\n")
    (entry,) = read(path)
    assert entry.number("bytes_up") is None
    assert (entry.duration, entry.number("duration_ms")) == (None, None)
    assert isinstance(entry.who + entry.rule + entry.reasons + "".join(entry.targets), str)
    assert not Query(who="ana", run=RUN).matches(entry)


def test_reading_holds_one_line_at_a_time(tmp_path: Path) -> None:
    path = eventful().write(tmp_path / "audit.jsonl", torn=b"not a record\n")
    entries: Iterator[Entry] = iter(read_entries([path], lambda _: None))
    assert next(entries).event == "grant.issued"  # the bad line at the end has not been looked at


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("now", NOW),
        ("-2h", NOW - timedelta(hours=2)),
        ("-1d12h", NOW - timedelta(hours=36)),
        ("today", NOW.replace(hour=0, minute=0)),
        ("yesterday", NOW.replace(day=21, hour=0, minute=0)),
        ("2026-11-21", NOW.replace(day=21, hour=0, minute=0)),
        ("2026-11-22T03:00", NOW.replace(hour=3, minute=0)),
        ("2026-11-22T03:00Z", datetime(2026, 11, 22, 3, tzinfo=UTC)),
    ],
)
def test_times_are_written_as_people_think_of_them(text: str, moment: datetime) -> None:
    assert parse_time(text, NOW) == moment


@pytest.mark.parametrize("text", ["", "-", "-2x", "2 hours ago", "2026-13-01", "-999999999d"])
def test_what_is_no_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_time(text, NOW)
    assert "-2h" in (caught.value.hint or "")


def test_events_are_known_by_name_and_by_group() -> None:
    assert [known_event(word) for word in ("refused", "connection.closed", "connection", "refusd", "")] == [True] * 3 + [
        False
    ] * 2
