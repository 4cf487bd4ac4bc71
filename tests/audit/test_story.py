"""A run in words."""

from datetime import UTC, timedelta, timezone
from pathlib import Path

import pytest

from airtunnel.audit.search import Query
from airtunnel.audit.story import amount, length, tell
from airtunnel.model import Tags
from tests.audit.runs import ANA, Audit, eventful, task, timeline_of

TOLD = """\
the run, 2026-11-22 03:00:04 to 03:13:24 UTC (13 min 20 s).
worker-billing reached warehouse and payroll with 9 connections in 7 sessions: 7.0 kB sent, 14.0 MB received.
Allowed by workers-may-load (policy/prod.yaml:12); policy at commit 4f2a9c1be77d.
Ends: 5 by client or target, 1 ended by the gateway (idle once), 1 failed, 1 lost in a crash of the gateway, \
1 still open where the audit ends.
Refused twice:
  03:01:54 worker-billing was refused payroll by payroll-is-for-finance (policy/prod.yaml:42): needs group finance (request \
r0021)
  03:01:56 worker-billing was refused payroll by payroll-is-for-finance (policy/prod.yaml:42): needs group finance (request \
r0022)
03:10:04 gateway crashed: gw-1 started again without having stopped.
Meanwhile the policy was reloaded once."""


def test_a_story_says_who_under_which_rule_how_much_and_how_it_ended(tmp_path: Path) -> None:
    assert "\n".join(tell(timeline_of(eventful(), tmp_path), UTC)) == TOLD


def test_what_people_gave_as_their_reason_is_told(tmp_path: Path) -> None:
    audit = Audit()
    audit.session(0, Tags(reason="incident 42", ticket="OPS-1"), (0, 5), who=ANA)
    assert "Reason given: incident 42 and OPS-1." in tell(timeline_of(audit, tmp_path, Query(who="ana")), UTC)


def test_a_run_that_was_only_refused_says_that_nothing_was_opened(tmp_path: Path) -> None:
    audit = Audit()
    for seconds in range(12):
        audit.refuse(seconds, task("load"))
    told = tell(timeline_of(audit, tmp_path), UTC)
    assert told[1:3] == ("No connection was opened.", "Refused 12 times:")
    assert told[-1] == "  and 2 more"


def test_times_are_told_in_the_readers_zone_and_over_midnight_with_the_date(tmp_path: Path) -> None:
    audit = Audit()
    audit.session(0, task("load"), (0, 5))
    assert "2026-11-21 23:00:04 to 2026-11-22 00:00:00" not in tell(timeline_of(audit, tmp_path))[0]
    audit.session(10, task("load"), (10, 4000))
    told = tell(timeline_of(audit, tmp_path), timezone(-timedelta(hours=4), "AST"))[0]
    assert told == "the run, 2026-11-21 23:00:04 to 2026-11-22 00:06:44 AST (1 h 7 min)."


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-1, "0 ms"),
        (0.04, "40 ms"),
        (3, "3 s"),
        (3.25, "3.2 s"),
        (60, "1 min"),
        (845, "14 min 5 s"),
        (3600, "1 h"),
        (28920, "8 h 2 min"),
    ],
)
def test_a_length_is_told_as_fine_as_it_is_short(seconds: float, told: str) -> None:
    assert length(timedelta(seconds=seconds)) == told


def test_bytes_that_nobody_counted_are_not_zero() -> None:
    assert [amount(count) for count in (None, 0, 812, 3_400_000, 10**12)] == ["-", "0 B", "812 B", "3.4 MB", "1000.0 GB"]
