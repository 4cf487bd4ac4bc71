"""What was asked, read back from the audit: the same request, and the same refusal."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from airtunnel.audit.asked import asked_in, principal_of, told_in
from airtunnel.audit.record import Event, Record, as_fields
from airtunnel.model import Decision, Limits, Outcome, Place, Principal, PrincipalKind, Request, Tags
from airtunnel.policy.diff import Asked

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
ANA = Principal(PrincipalKind.PERSON, "https://login.example.com", "id-1", "ana@example.com", ("data-eng",), {"level": 3})
JOB = Principal(PrincipalKind.WORKLOAD, "https://kube.example", "sa", "worker", (), {"namespace": ["airflow"]})
TAGS = Tags(dag_id="billing", try_number=2, reason="look")
NO = Decision(Outcome.UNMET, "on-call", Place("policy/prod.yaml", 14), ("needs group on-call",), commit="abc")
YES = Decision(Outcome.ALLOWED, "engineers", Place("policy/prod.yaml", 20), limits=Limits(timedelta(hours=1)))


def fields(event: Event, **more: Any) -> dict[str, Any]:  # Any: a record's own fields, and JSON
    return as_fields(Record(event, request="01m81j18g08wrcbt7rwfmy0r7a", **more), NOW, "gw")


@pytest.mark.parametrize("who", [ANA, JOB], ids=["person", "workload"])
def test_a_refused_request_comes_back_as_it_was(who: Principal) -> None:
    record = fields(Event.REFUSED, principal=who, target="db one", tags=TAGS, decision=NO, source="10.1.2.3")
    assert list(asked_in(record)) == [Asked(Request(who, "db one", TAGS, "10.1.2.3"), NOW)]


def test_a_grant_is_a_request_for_each_of_its_targets() -> None:
    record = fields(Event.GRANT_ISSUED, principal=ANA, target="warehouse payroll", tags=Tags(), decision=YES)
    assert list(asked_in(record)) == [
        Asked(Request(ANA, "warehouse", Tags(), None), NOW),
        Asked(Request(ANA, "payroll", Tags(), None), NOW),
    ]


@pytest.mark.parametrize("event", [one for one in Event if one not in (Event.REFUSED, Event.GRANT_ISSUED)])
def test_of_other_events_nothing_was_asked(event: Event) -> None:
    record = fields(event, principal=ANA, target="warehouse", tags=Tags(), decision=NO)
    assert list(asked_in(record)) == []
    assert told_in(record) is None


def test_a_refusal_comes_back_as_it_was_told() -> None:
    told = told_in(fields(Event.REFUSED, principal=ANA, target="db", tags=TAGS, decision=NO, source="10.1.2.3"))
    assert told is not None
    assert (told.at, told.groups, told.tags, told.source, told.commit) == (NOW, ("data-eng",), TAGS, "10.1.2.3", "abc")
    refusal = told.refusal
    assert (refusal.who, refusal.target, refusal.request) == ("ana@example.com", "db", "01m81j18g08wrcbt7rwfmy0r7a")
    assert refusal.because == "on-call (policy/prod.yaml:14), needs group on-call"


@pytest.mark.parametrize(
    "damage",
    [
        {"user": "ana"},
        {"user": {"name": 3, "groups": "data-eng", "claims": []}, "time": "yesterday"},
        {"time": "2026-11-22T03:00:00"},
        {"time": "9999-12-31T23:59:59-12:00"},
        {"tags": {"dag_id": ["a"]}, "policy": []},
        {"tags": "no", "policy": None},
    ],
    ids=str,
)
def test_a_record_that_somebody_damaged_is_no_request_and_no_refusal(damage: dict[str, Any]) -> None:  # Any: JSON
    record = fields(Event.REFUSED, principal=ANA, target="db", tags=TAGS, decision=NO) | damage
    assert list(asked_in(record)) == []
    assert told_in(record) is None


def test_a_principal_without_a_name_is_still_one() -> None:
    assert principal_of({"user": {"sub": "1"}}) == Principal(PrincipalKind.PERSON, "", "1", "")
    assert principal_of({}) is None
