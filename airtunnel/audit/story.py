"""A timeline in words: who, under which rules, how long, how much, how it ended, and what was refused and why."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta, tzinfo

from airtunnel.audit.timeline import Bar, Kind, Mark, State, Timeline

REFUSALS = 10
"""How many refusals are told one by one; the pictures and `audit search` have the others."""
TOLD = {
    State.DONE: "{} by client or target",
    State.CUT: "{} ended by the gateway",
    State.FAILED: "{} failed",
    State.CRASHED: "{} lost in a crash of the gateway",
    State.UNKNOWN: "{} with no end recorded",
    State.OPEN: "{} still open where the audit ends",
}


def tell(timeline: Timeline, zone: tzinfo | None = None) -> tuple[str, ...]:
    """The story, a sentence or two per line. zone: in which times are told; None is this machine's."""
    lines = [_when(timeline, zone), *_what(timeline), *_ends(timeline), *_refusals(timeline, zone)]
    lines += [f"{_moment(mark.time, zone)} {event(mark)}." for mark in timeline.moments if mark.kind is Kind.CRASHED]
    reloads = sum(mark.kind is Kind.RELOADED for mark in timeline.moments)
    if reloads:
        lines.append(f"Meanwhile the policy was reloaded {times(reloads)}.")
    return tuple(lines)


def event(mark: Mark) -> str:
    """A mark in words: `ana@example.com was refused payroll by payroll-is-for-finance (shop.yaml:42): needs group finance`."""
    match mark.kind:
        case Kind.REFUSED:
            return (
                f"{mark.who} was refused {mark.target} by {mark.rule or 'no rule'}: {mark.text or 'no reason was recorded'}"
                + (f" (request {mark.request})" if mark.request else "")
            )
        case Kind.GRANTED:
            return f"{mark.who} was granted {mark.target} by {mark.rule or 'an unknown rule'}"
        case Kind.STUCK:
            return f"a login at {mark.target} could not be taken back: {mark.text}"
        case Kind.ENDED:
            return f"the session of {mark.who} was ended: {ended(mark.text)}"
        case _ if mark.who:
            return f"{mark.kind} by {mark.who}" + (f": {mark.text}" if mark.text else "")
        case _:
            return f"{mark.kind}: {mark.text}" if mark.text else str(mark.kind)


def outcome(bar: Bar) -> str:
    """How a connection ended, in a few words."""
    match bar.state:
        case State.OPEN:
            return "still open"
        case State.CRASHED:
            return "gateway crashed, this late at most"
        case State.UNKNOWN:
            return "end not recorded"
        case _:
            return ended(bar.reason) + (f": {bar.detail}" if bar.detail else "")


def ended(reason: str) -> str:
    """An end reason as a person reads it: `policy changed`."""
    return reason.replace("_", " ") or "for no recorded reason"


def length(span: timedelta) -> str:
    """A duration, fine for short ones: `40 ms`, `3.2 s`, `14 min 5 s`, `8 h 2 min`."""
    seconds = max(0.0, span.total_seconds())
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s".replace(" 0 s", "")
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60} min".replace(" 0 min", "")


def amount(count: int | None) -> str:
    """Bytes: `812 B`, `3.4 MB`; `-` if nobody counted."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count is not None and count >= factor:
            return f"{count / factor:.1f} {unit}"
    return "-" if count is None else f"{count} B"


def times(count: int) -> str:
    """`once`, `twice`, `3 times`."""
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


def zone_name(timeline: Timeline, zone: tzinfo | None = None) -> str:
    """What the time zone calls itself then: `UTC`, `CET`."""
    return timeline.start.astimezone(zone).tzname() or ""


def _when(timeline: Timeline, zone: tzinfo | None) -> str:
    start, end = timeline.start.astimezone(zone), timeline.end.astimezone(zone)
    until = end.strftime("%H:%M:%S" if end.date() == start.date() else "%Y-%m-%d %H:%M:%S")
    took = length(timeline.end - timeline.start)
    return f"{timeline.title}, {start:%Y-%m-%d %H:%M:%S} to {until} {zone_name(timeline, zone)} ({took})."


def _what(timeline: Timeline) -> list[str]:
    bars = timeline.bars
    if not bars:
        return ["No connection was opened."]
    people, targets = _each(bar.who for bar in bars), _each(bar.target for bar in bars)
    connections = _count(len(bars), "connection")
    sessions = _count(len({bar.session for bar in bars}), "session")
    sent = amount(sum(bar.up or 0 for bar in bars))
    received = amount(sum(bar.down or 0 for bar in bars))
    commits = f"; policy at commit {_listed([one[:12] for one in timeline.commits])}" if timeline.commits else ""
    return [
        f"{_listed(people)} reached {_listed(targets)} with {connections} in {sessions}: {sent} sent, {received} received.",
        *([f"Reason given: {_listed(list(timeline.said))}."] if timeline.said else []),
        f"Allowed by {_listed(_each(bar.rule or 'an unknown rule' for bar in bars))}{commits}.",
    ]


def _ends(timeline: Timeline) -> list[str]:
    bars = timeline.bars
    counts = Counter(bar.state for bar in bars)
    told = []
    for state in State:
        if counts[state]:
            reasons = Counter(ended(bar.reason) for bar in bars if bar.state is state and state is State.CUT)
            why = f" ({', '.join(f'{reason} {times(count)}' for reason, count in reasons.items())})" if reasons else ""
            told.append(TOLD[state].format(counts[state]) + why)
    return [f"Ends: {', '.join(told)}."] if told else []


def _refusals(timeline: Timeline, zone: tzinfo | None) -> list[str]:
    refused = [mark for mark in timeline.marks if mark.kind is Kind.REFUSED]
    if not refused:
        return ["Nothing was refused."]
    lines = [f"Refused {times(len(refused))}:", *(f"  {_moment(mark.time, zone)} {event(mark)}" for mark in refused[:REFUSALS])]
    more = len(refused) - REFUSALS
    return [*lines, f"  and {more} more"] if more > 0 else lines


def _moment(time: datetime, zone: tzinfo | None) -> str:
    return time.astimezone(zone).strftime("%H:%M:%S")


def _each(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name or "unknown" for name in names))


def _listed(names: list[str]) -> str:
    shown = names if len(names) <= 5 else [*names[:4], f"{len(names) - 4} others"]
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} and {shown[-1]}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
