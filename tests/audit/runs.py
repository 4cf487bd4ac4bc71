"""Audit files as a gateway writes them, of runs that never were: the same bytes each time."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airtunnel.audit.chain import GENESIS, encode, link
from airtunnel.audit.record import Event, Record, as_fields
from airtunnel.audit.search import Entry, Query, read_entries
from airtunnel.audit.timeline import Timeline, build_timeline
from airtunnel.model import Decision, EndReason, Outcome, Place, Principal, PrincipalKind, Protocol, Tags

RUN = "scheduled__2026-11-22T03:00:00+00:00"
START = datetime(2026, 11, 22, 3, 0, 4, tzinfo=UTC)
WORKER = Principal(PrincipalKind.WORKLOAD, "https://k8s.example.com", "system:serviceaccount:airflow:worker", "worker-billing")
ANA = Principal(
    PrincipalKind.PERSON, "https://id.example.com", "u-1", "ana@example.com", ("data-eng",), {"email": "ana@example.com"}
)
ALLOWED = Decision(Outcome.ALLOWED, "workers-may-load", Place("policy/prod.yaml", 12), commit="4f2a9c1be77d")
REFUSED = Decision(
    Outcome.UNMET, "payroll-is-for-finance", Place("policy/prod.yaml", 42), ("needs group finance",), commit="4f2a9c1be77d"
)


def at(seconds: float) -> datetime:
    """So long after the beginning."""
    return START + timedelta(seconds=seconds)


def task(name: str, *, dag: str = "billing", run: str = RUN, **more: Any) -> Tags:  # Any: other tags
    """What a task says of itself."""
    return Tags(dag_id=dag, task_id=name, run_id=run, **more)


@dataclass(slots=True)
class Audit:
    """Records in the making. Each method appends what the gateway would."""

    records: list[tuple[datetime, Record, str]] = field(default_factory=list)
    count: int = 0

    def put(self, seconds: float, event: Event, *, gateway: str = "gw-1", **fields: Any) -> None:  # Any: a record's fields
        """One record."""
        self.records.append((at(seconds), Record(event, request=self.number("r"), **fields), gateway))

    def number(self, kind: str) -> str:
        """An id of its own."""
        self.count += 1
        return f"{kind}{self.count:04}"

    # Any: a record's fields, in all of it.
    def session(
        self,
        start: float,
        tags: Tags,
        *spans: tuple[float, float | None],
        target: str = "warehouse",
        who: Principal = WORKER,
        reason: EndReason = EndReason.CLIENT_CLOSED,
        closed: bool = True,
    ) -> str:
        """A session with a connection for each span (in seconds from the beginning; None: no end); its id."""
        session = self.number("s")
        common: dict[str, Any] = {"session": session, "principal": who, "tags": tags, "source": "10.4.1.17"}  # Any: fields
        self.put(start, Event.GRANT_ISSUED, target=target, decision=ALLOWED, **common)
        self.put(start, Event.SESSION_OPENED, **common)
        last = start
        for begin, end in spans:
            own = {"connection": self.number("c"), "target": target, "protocol": Protocol.POSTGRES, "decision": ALLOWED}
            one: dict[str, Any] = {**own, **common}
            self.put(begin, Event.CONNECTION_OPENED, **one)
            if end is not None:
                took = timedelta(seconds=end - begin)
                sums: dict[str, Any] = {"bytes_up": 1000, "bytes_down": 2_000_000, "lease": "at_e_01", "database": "shop"}
                self.put(end, Event.CONNECTION_CLOSED, reason=reason, duration=took, **sums, **one)
                last = max(last, end)
        if closed:
            self.put(last, Event.SESSION_CLOSED, reason=reason, duration=timedelta(seconds=last - start), **common)
        return session

    def refuse(self, seconds: float, tags: Tags, target: str = "payroll", who: Principal = WORKER) -> None:
        """A grant that was not given."""
        self.put(seconds, Event.REFUSED, principal=who, tags=tags, target=target, decision=REFUSED, source="10.4.1.17")

    def write(self, path: Path, *, torn: bytes = b"") -> Path:
        """The file, in the order of time; the chain begins with it."""
        head, lines = GENESIS, []
        for number, (time, record, gateway) in enumerate(sorted(self.records, key=lambda one: one[0])):
            line, head = link(encode(as_fields(record, time, gateway)), number, head)
            lines.append(line)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(lines) + torn)
        return path


def eventful() -> Audit:
    """One run in which everything happens that can."""
    audit = Audit()
    audit.session(0, task("extract_orders", try_number=1), (0, 95))
    audit.session(3, task("load_invoices", try_number=1), (3, 60), (68, 130), (135, 200))
    audit.refuse(110, task("enrich_customers", try_number=1))
    audit.refuse(112, task("enrich_customers", try_number=1))
    audit.session(172, task("enrich_customers", try_number=2), (172, 210), target="payroll")
    audit.session(280, task("reconcile"), (280, 470), reason=EndReason.IDLE)
    audit.put(420, Event.POLICY_RELOADED, detail="12 targets, 9 rules, 77ab01")
    audit.session(500, task("archive"), (500, 560), reason=EndReason.FAILED)
    audit.session(520, task("notify_people_in_every_region_of_the_company"), (520, None), closed=False)
    audit.put(600, Event.GATEWAY_STARTED, detail="airtunnel 0.4")
    audit.session(610, task("verify"), (610, None), closed=False)
    audit.session(650, task("other", run="manual__2"), (650, 790))
    audit.put(800, Event.LOGOUT, principal=ANA)
    return audit


def read(path: Path) -> list[Entry]:
    """All records of a file."""
    return list(read_entries([path], lambda _: None))


def timeline_of(audit: Audit, directory: Path, query: Query | None = None, title: str = "the run") -> Timeline:
    """The timeline of its run."""
    found = build_timeline(read(audit.write(directory / "audit.jsonl")), query or Query(run=RUN), title)
    assert found is not None
    return found
