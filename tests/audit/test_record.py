"""What a line of the audit says."""

from datetime import UTC, datetime, timedelta, timezone

from airtunnel.audit.record import Event, Record, as_fields
from airtunnel.model import Decision, EndReason, Outcome, Place, Principal, PrincipalKind, Protocol, Tags

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
ANA = Principal(PrincipalKind.PERSON, "https://id.example.com", "u-1", "ana@example.com", ("data-eng",), {"dag_id": "claimed"})
ALLOWED = Decision(Outcome.ALLOWED, "prod-is-for-on-call", Place("policy/prod.yaml", 12), commit="abc123")

FULL = Record(
    Event.CONNECTION_CLOSED,
    request="r-1",
    session="s-1",
    connection="c-1",
    principal=ANA,
    target="postgres-prod",
    protocol=Protocol.POSTGRES,
    tags=Tags(dag_id="billing", try_number=2),
    decision=ALLOWED,
    source="192.0.2.7",
    lease="at_e_0123456789ab",
    database="billing",
    upstream="db.internal:5432",
    bytes_up=10,
    bytes_down=0,
    duration=timedelta(seconds=1.5),
    reason=EndReason.EXPIRED,
    detail="x",
    client_version="airtunnel/0.4 " + "x" * 500,
    login_until=NOW + timedelta(minutes=5),
    session_until=NOW + timedelta(hours=1),
)


def test_a_full_record_has_every_field_under_its_documented_name() -> None:
    assert as_fields(FULL, NOW, "gw-1") == {
        "time": "2026-03-01T12:00:00.123Z",
        "event": "connection.closed",
        "gateway": "gw-1",
        "id": "r-1",
        "sid": "s-1",
        "conn_id": "c-1",
        "client_ip": "192.0.2.7",
        "client_version": "airtunnel/0.4 " + "x" * 114,
        "token_exp": "2026-03-01T12:05:00.123Z",
        "session_exp": "2026-03-01T13:00:00.123Z",
        "actor": "human",
        "user": {
            "idp": "https://id.example.com",
            "sub": "u-1",
            "name": "ana@example.com",
            "groups": ["data-eng"],
            "claims": {"dag_id": "claimed"},
        },
        "tags": {"dag_id": "billing", "try_number": 2},
        "target": "postgres-prod",
        "db_protocol": "postgres",
        "db_name": "billing",
        "db_user_injected": "at_e_0123456789ab",
        "upstream": "db.internal:5432",
        "policy": {
            "file": "policy/prod.yaml",
            "line": 12,
            "rule": "prod-is-for-on-call",
            "effect": "allow",
            "outcome": "allowed",
            "reasons": [],
            "commit": "abc123",
        },
        "bytes_up": 10,
        "bytes_down": 0,
        "duration_ms": 1500,
        "close_reason": "expired",
        "detail": "x",
    }


def test_what_does_not_apply_is_not_written() -> None:
    assert set(as_fields(Record(Event.GATEWAY_STARTED), NOW, "gw-1")) == {"time", "event", "gateway"}


def test_a_workload_stands_under_its_own_name() -> None:
    workload = Principal(PrincipalKind.WORKLOAD, "https://k8s.example.com", "w-1", "worker")
    fields = as_fields(Record(Event.SESSION_OPENED, principal=workload), NOW, "gw-1")
    assert fields["actor"] == "workload"
    assert fields["workload"]["sub"] == "w-1"
    assert "user" not in fields


def test_a_refusal_says_why() -> None:
    decision = Decision(Outcome.UNMET, "prod", Place("p.yaml", 3), ("needs group on-call",))
    policy = as_fields(Record(Event.REFUSED, decision=decision), NOW, "gw-1")["policy"]
    assert (policy["effect"], policy["outcome"], policy["reasons"]) == ("deny", "unmet", ["needs group on-call"])
    assert "commit" not in policy


def test_times_are_written_in_utc() -> None:
    moment = NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert as_fields(FULL, moment, "gw-1")["time"] == "2026-03-01T12:00:00.123Z"


def test_no_field_of_a_record_is_for_a_secret() -> None:
    assert not [name for name in Record.__slots__ if "password" in name or "token" in name or "secret" in name]
