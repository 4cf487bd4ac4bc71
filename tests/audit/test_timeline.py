"""What becomes of records: lanes, bars, marks, and ends that are missing."""

from datetime import timedelta
from pathlib import Path

import pytest

from airtunnel.audit.record import Event
from airtunnel.audit.search import Query
from airtunnel.audit.timeline import Bar, Kind, State, Timeline, build_timeline
from airtunnel.model import EndReason, Principal, PrincipalKind, Protocol, Tags
from tests.audit.runs import ALLOWED, ANA, RUN, WORKER, Audit, at, eventful, read, task, timeline_of


def only(timeline: Timeline) -> Bar:
    """The one connection."""
    (bar,) = timeline.bars
    return bar


def test_a_run_has_a_lane_per_attempt_and_a_bar_per_connection(tmp_path: Path) -> None:
    timeline = timeline_of(eventful(), tmp_path)
    assert [(lane.label, len(lane.bars)) for lane in timeline.lanes] == [
        ("extract_orders", 1),
        ("load_invoices", 3),
        ("enrich_customers", 0),
        ("enrich_customers, try 2", 1),
        ("reconcile", 1),
        ("archive", 1),
        ("notify_people_in_every_region_of_the_company", 1),
        ("verify", 1),
    ]
    assert (timeline.start, timeline.dags, timeline.commits) == (at(0), ("billing",), ("4f2a9c1be77d",))
    assert [bar.state for bar in timeline.bars][-4:] == [State.CUT, State.FAILED, State.CRASHED, State.OPEN]
    assert [mark.kind for mark in timeline.moments] == [Kind.RELOADED, Kind.CRASHED]
    assert sum(mark.kind is Kind.REFUSED for mark in timeline.marks) == 2


def test_a_connection_is_told_whole(tmp_path: Path) -> None:
    audit = Audit()
    audit.session(0, task("load"), (1, 11))
    bar = only(timeline_of(audit, tmp_path))
    assert (bar.start, bar.end, bar.who, bar.target, bar.database) == (at(1), at(11), WORKER.name, "warehouse", "shop")
    assert (bar.rule, bar.lease, bar.up, bar.down) == ("workers-may-load (policy/prod.yaml:12)", "at_e_01", 1000, 2_000_000)


def test_connections_of_one_time_stand_in_rows_of_their_own(tmp_path: Path) -> None:
    audit = Audit()
    audit.session(0, task("load"), (0, 10), (5, 15), (10, 20), (12, 13))
    (lane,) = timeline_of(audit, tmp_path).lanes
    assert [[(bar.start, bar.end) for bar in row] for row in lane.rows] == [
        [(at(0), at(10)), (at(10), at(20))],
        [(at(5), at(15))],
        [(at(12), at(13))],
    ]


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        (EndReason.CLIENT_CLOSED, State.DONE),
        (EndReason.TARGET_CLOSED, State.DONE),
        (EndReason.EXPIRED, State.CUT),
        (EndReason.IDLE, State.CUT),
        (EndReason.REVOKED, State.CUT),
        (EndReason.POLICY_CHANGED, State.CUT),
        (EndReason.DRAINING, State.CUT),
        (EndReason.FAILED, State.FAILED),
    ],
)
def test_an_end_is_the_peers_or_the_gateways_or_a_failure(tmp_path: Path, reason: EndReason, state: State) -> None:
    audit = Audit()
    audit.session(0, task("load"), (1, 11), reason=reason)
    timeline = timeline_of(audit, tmp_path)
    assert only(timeline).state is state
    assert [mark.kind for mark in timeline.marks] == [Kind.GRANTED, *([Kind.ENDED] if state is State.CUT else [])]


def test_what_has_no_end_is_open_until_the_audit_ends(tmp_path: Path) -> None:
    audit = Audit()
    audit.session(0, task("load"), (1, None), closed=False)
    audit.put(500, Event.LOGOUT, principal=ANA)
    timeline = timeline_of(audit, tmp_path)
    assert (only(timeline).state, only(timeline).end, timeline.end) == (State.OPEN, at(500), at(500))


def test_a_gateway_that_starts_has_lost_what_it_had_open(tmp_path: Path) -> None:
    audit = Audit()
    audit.session(0, task("load"), (1, None), closed=False)
    audit.put(60, Event.GATEWAY_STARTED, gateway="gw-2")
    audit.put(100, Event.GATEWAY_STARTED)
    timeline = timeline_of(audit, tmp_path)
    assert (only(timeline).state, only(timeline).end) == (State.CRASHED, at(100))
    assert [(mark.time, mark.kind) for mark in timeline.moments] == [(at(60), Kind.STARTED), (at(100), Kind.CRASHED)]


def test_a_session_that_a_crash_ended_says_so(tmp_path: Path) -> None:
    audit = Audit()
    session = audit.session(0, task("load"), (1, None), closed=False)
    audit.put(90, Event.SESSION_CLOSED, session=session, principal=WORKER, tags=task("load"), reason=EndReason.GATEWAY_CRASH)
    timeline = timeline_of(audit, tmp_path)
    assert (only(timeline).state, only(timeline).reason) == (State.CRASHED, "gateway_crash")
    assert Kind.ENDED in [mark.kind for mark in timeline.marks]


def test_an_end_that_could_not_be_written_down_is_not_made_up(tmp_path: Path) -> None:
    audit = Audit()
    session = audit.session(0, task("load"), (1, None), closed=False)
    audit.put(90, Event.SESSION_CLOSED, session=session, principal=WORKER, tags=task("load"), reason=EndReason.CLIENT_CLOSED)
    assert (only(timeline_of(audit, tmp_path)).state, only(timeline_of(audit, tmp_path)).end) == (State.UNKNOWN, at(90))


def test_a_beginning_in_an_older_file_is_reckoned_from_the_duration(tmp_path: Path) -> None:
    audit = Audit()
    audit.put(
        100,
        Event.CONNECTION_CLOSED,
        session="s",
        connection="c",
        principal=WORKER,
        tags=task("load"),
        target="warehouse",
        duration=timedelta(seconds=160),
        reason=EndReason.CLIENT_CLOSED,
    )
    timeline = timeline_of(audit, tmp_path)
    assert (only(timeline).start, only(timeline).started_before, timeline.start) == (at(-60), True, at(-60))


def test_a_lease_is_known_while_the_connection_is_still_open(tmp_path: Path) -> None:
    audit = Audit()
    session = audit.session(0, task("load"), (1, None), closed=False)
    audit.put(2, Event.LEASE_LENT, session=session, principal=WORKER, tags=task("load"), target="warehouse", lease="at_e_9")
    assert only(timeline_of(audit, tmp_path)).lease == "at_e_9"


def test_records_without_the_runs_tags_belong_to_it_by_their_session(tmp_path: Path) -> None:
    audit = Audit()
    session = audit.session(0, task("load"), (1, 5), closed=False)
    audit.put(6, Event.LEASE_STUCK, session=session, tags=Tags(), target="warehouse", detail="lease x: no answer")
    marks = timeline_of(audit, tmp_path).marks
    assert [mark.kind for mark in marks] == [Kind.GRANTED, Kind.STUCK]


def test_a_run_id_that_two_dags_use_names_the_dags(tmp_path: Path) -> None:
    audit = Audit()
    audit.session(0, task("load", dag="team.billing"), (0, 5))
    audit.session(1, task("load", dag="reports"), (1, 5))
    assert [lane.label for lane in timeline_of(audit, tmp_path).lanes] == ["team.billing.load", "reports.load"]
    (lane,) = timeline_of(audit, tmp_path, Query(run=RUN, dag="team.billing")).lanes
    assert lane.label == "load"


def test_mapped_tasks_are_told_apart(tmp_path: Path) -> None:
    audit = Audit()
    for index in (-1, 0, 1):
        audit.session(index, task("load", map_index=index), (index, 5))
    assert [lane.label for lane in timeline_of(audit, tmp_path).lanes] == ["load", "load [0]", "load [1]"]


def test_a_persons_day_has_a_lane_per_session(tmp_path: Path) -> None:
    audit = Audit()
    audit.session(0, Tags(reason="incident 42"), (0, 5), who=ANA)
    audit.session(9, Tags(ticket="OPS-1"), (9, 12), target="crm", who=ANA)
    audit.refuse(20, Tags(), who=ANA)
    audit.put(30, Event.LOGOUT, principal=ANA)
    audit.session(40, Tags(), (40, 50))
    timeline = timeline_of(audit, tmp_path, Query(who="ana@example.com"))
    assert [lane.label for lane in timeline.lanes] == ["warehouse", "crm", "no connection"]
    assert (timeline.said, timeline.end) == (("incident 42", "OPS-1"), at(20))


def test_a_session_is_shown_by_its_id(tmp_path: Path) -> None:
    audit = eventful()
    session = audit.session(900, task("late"), (900, 910))
    assert [lane.label for lane in timeline_of(audit, tmp_path, Query(session=session)).lanes] == ["late"]


def test_what_touched_everybody_before_and_after_is_left_out(tmp_path: Path) -> None:
    audit = Audit()
    audit.session(100, task("load"), (100, 200))
    for seconds in (50, 150, 250):
        audit.put(seconds, Event.POLICY_RELOADED)
    assert [mark.time for mark in timeline_of(audit, tmp_path).moments] == [at(150)]


def test_one_who_kills_a_session_stands_in_the_mark_and_not_in_the_lane(tmp_path: Path) -> None:
    audit = Audit()
    session = audit.session(0, task("load"), (1, 5), reason=EndReason.REVOKED)
    audit.put(4, Event.SESSION_KILLED, session=session, principal=ANA)
    timeline = timeline_of(audit, tmp_path)
    assert [(mark.kind, mark.who) for mark in timeline.marks][1] == (Kind.KILLED, "ana@example.com")
    assert timeline.lanes[0].people == (WORKER.name,)


def test_nothing_found_is_no_timeline(tmp_path: Path) -> None:
    entries = read(eventful().write(tmp_path / "audit.jsonl"))
    assert build_timeline(entries, Query(run="nosuch"), "x") is None
    assert build_timeline([], Query(), "x") is None


def test_connections_without_an_id_all_count(tmp_path: Path) -> None:
    audit = Audit()
    stranger = Principal(PrincipalKind.PERSON, "i", "s", "")
    for seconds in (1, 2):
        audit.put(
            seconds,
            Event.CONNECTION_CLOSED,
            session="s",
            principal=stranger,
            tags=task("load"),
            target="t",
            protocol=Protocol.TCP,
            decision=ALLOWED,
        )
    assert [(bar.state, bar.who) for bar in timeline_of(audit, tmp_path).bars] == [(State.UNKNOWN, "s")] * 2
