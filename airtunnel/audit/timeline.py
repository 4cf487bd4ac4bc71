"""What happened in one DAG run, one session or one person's day, as lanes of connections: for pictures and for words.

    load_invoices     |====warehouse====|      |==payroll==>      a lane per task, a bar per connection
                      ^ granted         x refused                 marks
    everywhere                   | policy reloaded                moments

Pure: records come in, in any order that files have them; a Timeline goes out. Ends that are missing are said to be missing.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum

from airtunnel.audit.record import Event
from airtunnel.audit.search import Entry, Query
from airtunnel.model import EndReason


class State(StrEnum):
    """How a connection ended, as far as it is known."""

    DONE = "done"
    """By the client or by the target."""
    CUT = "cut"
    """By the gateway: expired, idle, revoked, draining, or the policy changed."""
    FAILED = "failed"
    CRASHED = "crashed"
    """The gateway died; the end is the latest that is possible."""
    UNKNOWN = "end not recorded"
    OPEN = "open"


class Kind(StrEnum):
    """What a mark stands for."""

    GRANTED = "granted"
    REFUSED = "refused"
    ENDED = "session ended"
    """By the gateway, before its user was done."""
    KILLED = "session killed"
    """By order of somebody, who stands in the mark."""
    STUCK = "lease stuck"
    LOCKED = "lock set"
    UNLOCKED = "lock lifted"
    RELOADED = "policy reloaded"
    STARTED = "gateway started"
    STOPPED = "gateway stopped"
    CRASHED = "gateway crashed"


SHARED = {
    Event.POLICY_RELOADED: Kind.RELOADED,
    Event.GATEWAY_STARTED: Kind.STARTED,
    Event.GATEWAY_STOPPED: Kind.STOPPED,
    Event.LOCK_SET: Kind.LOCKED,
    Event.LOCK_LIFTED: Kind.UNLOCKED,
}
"""Events that belong to nobody and touch everybody."""
WAITING = 1000
"""How many of those are kept until it is known whether the run went on after them."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One connection. `end` is where a picture stops it: for an open one, where the audit ends."""

    connection: str
    session: str
    who: str
    target: str
    start: datetime
    end: datetime
    state: State = State.OPEN
    reason: str = ""
    rule: str = ""
    lease: str = ""
    database: str = ""
    source: str = ""
    up: int | None = None
    down: int | None = None
    detail: str = ""
    gateway: str = ""
    started_before: bool = False
    """Its beginning stands in an older file: `start` is reckoned from its duration."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at a moment."""

    time: datetime
    kind: Kind
    who: str = ""
    target: str = ""
    rule: str = ""
    text: str = ""
    request: str = ""
    session: str = ""


@dataclass(frozen=True, slots=True)
class Lane:
    """A task's attempt, or a session without one. `rows`: its bars, so placed that none covers another."""

    label: str
    rows: tuple[tuple[Bar, ...], ...] = ()
    marks: tuple[Mark, ...] = ()

    @property
    def people(self) -> tuple[str, ...]:
        """Whose it is: one, but for refusals and orders of others."""
        found = (*(bar.who for bar in self.bars), *(mark.who for mark in self.marks if mark.kind is not Kind.KILLED))
        return tuple(dict.fromkeys(one for one in found if one))

    @property
    def bars(self) -> tuple[Bar, ...]:
        """All bars, by their start."""
        return tuple(sorted((bar for row in self.rows for bar in row), key=lambda bar: (bar.start, bar.connection)))


@dataclass(frozen=True, slots=True)
class Timeline:
    """All of it, from the first thing that happened to the last. `moments` are the marks that belong to no lane."""

    title: str
    start: datetime
    end: datetime
    lanes: tuple[Lane, ...]
    moments: tuple[Mark, ...]
    dags: tuple[str, ...]
    commits: tuple[str, ...]
    said: tuple[str, ...] = ()
    """The reasons and tickets that were given."""

    @property
    def bars(self) -> tuple[Bar, ...]:
        """All connections, by their start."""
        found = (bar for lane in self.lanes for bar in lane.bars)
        return tuple(sorted(found, key=lambda bar: (bar.start, bar.connection)))

    @property
    def marks(self) -> tuple[Mark, ...]:
        """All marks, those that belong to no lane among them, by their time."""
        found = (*self.moments, *(mark for lane in self.lanes for mark in lane.marks))
        return tuple(sorted(found, key=lambda mark: mark.time))


def build_timeline(entries: Iterable[Entry], query: Query, title: str) -> Timeline | None:
    """The timeline of what `query` picks, and of the sessions it belongs to; None if it picks nothing.

    Reads the entries once, and keeps only what the timeline needs.
    """
    selection, builder = _Selection(query), _Builder()
    for entry in entries:
        for one in selection.take(entry):
            builder.add(one)
    for one in selection.waiting:
        builder.add(one)
    return builder.finish(title, selection.last) if selection.last is not None and builder.lanes else None


class _Selection:
    """The records that a query picks, those of their sessions, and what touched everybody meanwhile."""

    def __init__(self, query: Query) -> None:
        self.waiting: deque[Entry] = deque(maxlen=WAITING)
        self.last: datetime | None = None
        """How far the audit goes."""
        self._query = query
        self._sessions: set[str] = set()

    def take(self, entry: Entry) -> tuple[Entry, ...]:
        """The next record: what of it, and of those that waited, belongs to the timeline."""
        self.last = entry.time if self.last is None else max(self.last, entry.time)
        if entry.event in SHARED:
            if self._sessions:
                self.waiting.append(entry)
            return ()
        if not self._query.matches(entry) and entry.session not in self._sessions:
            return ()
        if entry.session:
            self._sessions.add(entry.session)
        waited = tuple(self.waiting)
        self.waiting.clear()
        return (*waited, entry)


@dataclass(slots=True)
class _Open:
    """A lane while it is being filled. A session without a task is called by its targets in the end."""

    dag: str
    label: str
    bars: dict[str, Bar] = field(default_factory=dict)
    marks: list[Mark] = field(default_factory=list)


class _Builder:
    """Takes records one after the other."""

    def __init__(self) -> None:
        self.lanes: dict[tuple[str, ...], _Open] = {}
        self._of_session: dict[str, tuple[str, ...]] = {}
        self._moments: list[Mark] = []
        self._times: list[datetime] = []
        self._dags: dict[str, None] = {}
        self._commits: dict[str, None] = {}
        self._said: dict[str, None] = {}

    def add(self, entry: Entry) -> None:
        """One more record."""
        match entry.event:
            case _ if entry.event in SHARED:
                self._share(entry)
                return
            case _ if not entry.session and entry.event != Event.REFUSED:
                return  # a logout, a rejected token: of no run and no session
            case Event.CONNECTION_OPENED:
                self._open(entry)
            case Event.CONNECTION_CLOSED:
                self._close(entry)
            case Event.SESSION_CLOSED:
                self._end(entry)
            case Event.LEASE_LENT:
                self._lend(entry)
            case Event.GRANT_ISSUED:
                self._mark(entry, Kind.GRANTED)
            case Event.REFUSED:
                self._mark(entry, Kind.REFUSED)
            case Event.SESSION_KILLED:
                self._mark(entry, Kind.KILLED)
            case Event.LEASE_STUCK:
                self._mark(entry, Kind.STUCK)
        self._times.append(entry.time)
        self._lane(entry)
        found = (self._dags, ("tags", "dag_id")), (self._commits, ("policy", "commit"))
        for seen, path in (*found, (self._said, ("tags", "reason")), (self._said, ("tags", "ticket"))):
            seen.update({text: None} if (text := entry.text(*path)) else {})

    def finish(self, title: str, last: datetime) -> Timeline:
        """Everything, with what is still open drawn to where the audit ends."""
        is_open = any(bar.state is State.OPEN for lane in self.lanes.values() for bar in lane.bars.values())
        ends = (bar.end for lane in self.lanes.values() for bar in lane.bars.values())
        start, end = min(self._times), last if is_open else max([*self._times, *ends])
        lanes = [self._placed(lane, last, several=len(self._dags) > 1) for lane in self.lanes.values()]
        lanes.sort(key=lambda lane: min((*(bar.start for bar in lane.bars), *(mark.time for mark in lane.marks)), default=end))
        moments = tuple(mark for mark in self._moments if start <= mark.time <= end)
        start = min([start, *(bar.start for lane in lanes for bar in lane.bars)])
        return Timeline(title, start, end, tuple(lanes), moments, tuple(self._dags), tuple(self._commits), tuple(self._said))

    def _lane(self, entry: Entry) -> _Open:
        """The lane of an entry: of its task's attempt, or of its session, or (a refusal without either) of its person."""
        dag, task, index, attempt = (entry.text("tags", name) for name in ("dag_id", "task_id", "map_index", "try_number"))
        if entry.session in self._of_session:
            key = self._of_session[entry.session]
        elif task:
            key = ("task", dag, task, index, attempt)
        elif entry.session:
            key = ("session", entry.session)
        else:
            key = ("who", entry.who)
        if entry.session:
            self._of_session.setdefault(entry.session, key)
        if key not in self.lanes:
            self.lanes[key] = _Open(dag, _task(task, index, attempt) if key[0] == "task" else "")
        return self.lanes[key]

    def _open(self, entry: Entry) -> None:
        lane = self._lane(entry)
        lane.bars.setdefault(_number(entry), _bar(entry, entry.time))

    def _close(self, entry: Entry) -> None:
        bars, number = self._lane(entry).bars, _number(entry)
        opened = bars.get(number)
        start = opened.start if opened else entry.time - entry.duration if entry.duration else entry.time
        reason = entry.text("close_reason")
        bars[number] = replace(
            _bar(entry, min(start, entry.time)),
            end=entry.time,
            state=_state(reason),
            reason=reason,
            lease=entry.text("db_user_injected") or (opened.lease if opened else ""),
            started_before=opened is None,
        )

    def _lend(self, entry: Entry) -> None:
        """A connection is opened before it borrows: give the lease to those that stand without."""
        bars, target, user = self._lane(entry).bars, entry.text("target"), entry.text("db_user_injected")
        for number, bar in bars.items():
            if bar.session == entry.session and bar.target == target and bar.state is State.OPEN and not bar.lease:
                bars[number] = replace(bar, lease=user)

    def _end(self, entry: Entry) -> None:
        """A session is over: whatever of it has no end of its own ends here, at the latest."""
        reason, lane = entry.text("close_reason"), self._lane(entry)
        state = State.CRASHED if reason == EndReason.GATEWAY_CRASH else State.UNKNOWN
        for number, bar in lane.bars.items():
            if bar.session == entry.session and bar.state is State.OPEN:
                lane.bars[number] = replace(bar, end=entry.time, state=state, reason=reason)
        if _state(reason) in (State.CUT, State.CRASHED):
            self._mark(entry, Kind.ENDED, reason)

    def _share(self, entry: Entry) -> None:
        gateway, kind = entry.text("gateway"), SHARED[Event(entry.event)]
        if kind is Kind.STARTED and self._lose(gateway, entry.time):
            self._moments.append(Mark(entry.time, Kind.CRASHED, text=f"{gateway} started again without having stopped"))
        else:
            text = entry.text("detail") or f"gateway {gateway}"
            self._moments.append(Mark(entry.time, kind, entry.who, entry.text("target"), text=text))

    def _lose(self, gateway: str, time: datetime) -> bool:
        """Whether connections were open at a gateway that starts: it cannot have ended in order."""
        lost = False
        for lane in self.lanes.values():
            for number, bar in lane.bars.items():
                if bar.state is State.OPEN and bar.gateway == gateway:
                    lane.bars[number] = replace(bar, end=time, state=State.CRASHED, reason=EndReason.GATEWAY_CRASH)
                    lost = True
        return lost

    def _mark(self, entry: Entry, kind: Kind, text: str = "") -> None:
        said = text or (entry.reasons if kind is Kind.REFUSED else entry.text("detail"))
        target = " ".join(entry.targets)
        mark = Mark(entry.time, kind, entry.who, target, entry.rule, said, entry.text("id"), entry.session)
        self._lane(entry).marks.append(mark)

    def _placed(self, lane: _Open, last: datetime, *, several: bool) -> Lane:
        bars = [replace(bar, end=last) if bar.state is State.OPEN else bar for bar in lane.bars.values()]
        targets = dict.fromkeys(bar.target for bar in bars)
        label = lane.label or ", ".join(targets) or "no connection"
        label = f"{lane.dag}.{label}" if several and lane.dag else label
        return Lane(label, _rows(bars), tuple(sorted(lane.marks, key=lambda mark: mark.time)))


def _task(task: str, index: str, attempt: str) -> str:
    mapped = f" [{index}]" if index not in ("", "-1") else ""
    return f"{task}{mapped}" + (f", try {attempt}" if attempt not in ("", "1") else "")


def _rows(bars: list[Bar]) -> tuple[tuple[Bar, ...], ...]:
    """Each bar in the first row where it is free."""
    rows: list[list[Bar]] = []
    for bar in sorted(bars, key=lambda bar: (bar.start, bar.connection)):
        row = next((row for row in rows if row[-1].end <= bar.start), None)
        if row is None:
            rows.append([bar])
        else:
            row.append(bar)
    return tuple(tuple(row) for row in rows)


def _bar(entry: Entry, start: datetime) -> Bar:
    return Bar(
        connection=entry.text("conn_id"),
        session=entry.session,
        who=entry.who,
        target=entry.text("target"),
        start=start,
        end=start,
        rule=entry.rule,
        lease=entry.text("db_user_injected"),
        database=entry.text("db_name"),
        source=entry.text("client_ip"),
        up=entry.number("bytes_up"),
        down=entry.number("bytes_down"),
        detail=entry.text("detail"),
        gateway=entry.text("gateway"),
    )


def _number(entry: Entry) -> str:
    # A damaged record may have none; it still happened.
    return entry.text("conn_id") or str(entry.place)


def _state(reason: str) -> State:
    match reason:
        case EndReason.CLIENT_CLOSED | EndReason.TARGET_CLOSED:
            return State.DONE
        case EndReason.FAILED:
            return State.FAILED
        case EndReason.GATEWAY_CRASH:
            return State.CRASHED
        case "":
            return State.UNKNOWN
        case _:  # every other reason is the gateway's own, also one that is newer than this program
            return State.CUT
