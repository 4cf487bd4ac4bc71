"""A timeline as a picture of characters, fitted to the terminal's width.

                     03:00        03:05        03:10
                                    ¦ policy reloaded
    extract_orders   ▐███████ warehouse 1 min 26 s
    load_invoices        x payroll refused
                     ▐██▐██████ payroll 2 min

Nothing is told by colour alone: each state has a filling of its own. What stands in a name cannot steer the terminal.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, tzinfo

from airtunnel.audit import story
from airtunnel.audit.picture import shorten, ticks
from airtunnel.audit.timeline import Bar, Kind, Lane, Mark, State, Timeline
from airtunnel.cli.output import clean

RED, YELLOW, BLUE, FAINT, BOLD = "31", "33", "34", "2", "1"
FILLS = {
    State.DONE: ("█", BLUE, "ended by client or target"),
    State.CUT: ("▓", YELLOW, "ended by the gateway"),
    State.FAILED: ("▒", RED, "failed"),
    State.CRASHED: ("░", RED, "lost in a crash"),
    State.UNKNOWN: ("?", FAINT, "end not recorded"),
    State.OPEN: ("▶", BLUE, "still open"),
}
SIGNS = {Kind.REFUSED: "x", Kind.ENDED: "<", Kind.KILLED: "<", Kind.STUCK: "!", Kind.CRASHED: "!"}
"""What is drawn of a lane's marks; grants are not, each bar has one."""
STEPS = " ▁▂▃▄▅▆▇█"
ROWS = 3
"""A lane with more rows of bars than this becomes one row of heights: how many connections were open at a time."""
LANES = 60
"""More would scroll away; the page has them all."""
ASCII = str.maketrans("█▓▒░▶▐┆─×…▁▂▃▄▅▆▇", "#%=~>|:-x.1234567")  # noqa: RUF001 - the signs themselves


@dataclass(slots=True)
class Row:
    """A line of the picture: a label, then a character and a colour for each column."""

    width: int
    label: str = ""
    cells: list[str] = field(default_factory=list)
    colours: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cells = [" "] * self.width
        self.colours = [""] * self.width

    def put(self, at: int, text: str, colour: str = "") -> None:
        """Write from this column on, and over what is there; what does not fit is left out."""
        for offset, letter in enumerate(text[: self.width - at]):
            self.cells[at + offset], self.colours[at + offset] = letter, colour

    def say(self, at: int, texts: Sequence[str], colour: str = "") -> bool:
        """Write the first of the texts that finds room from this column on, with a space on both sides."""
        for text in map(_narrow, texts):
            around = "".join(self.cells[max(at - 1, 0) : at + len(text) + 1])
            if text and 0 <= at <= self.width - len(text) and not around.strip(" ┆"):
                self.put(at, text, colour)
                return True
        return False


@dataclass(frozen=True, slots=True)
class Scale:
    """Time to columns."""

    timeline: Timeline
    width: int

    def at(self, moment: datetime) -> int:
        """The column of a moment."""
        span = (self.timeline.end - self.timeline.start).total_seconds() or 1.0
        share = (moment - self.timeline.start).total_seconds() / span
        return min(max(int(share * self.width), 0), self.width - 1)


def draw_lanes(
    timeline: Timeline, width: int, zone: tzinfo | None = None, *, colour: bool, ascii_only: bool = False
) -> list[str]:
    """The lines of the picture, none longer than `width` columns. zone: of the axis; None is this machine's."""
    several = len({bar.who for bar in timeline.bars}) > 1
    names = {id(lane): _narrow(_name(lane, with_who=several)) for lane in timeline.lanes}
    left = min(max(map(len, names.values())), max(12, width // 3))
    scale = Scale(timeline, max(width - left - 2, 20))
    rows = [_axis(timeline, scale, zone), *_moments(timeline.moments, scale)]
    for lane in timeline.lanes[:LANES]:
        drawn = _lane(lane, scale)
        drawn[0].label = shorten(names[id(lane)], left)
        for row in drawn:
            _rule(row, timeline.moments, scale)
        rows += drawn
    lines = [_line(row, left, colour=colour) for row in rows]
    if len(timeline.lanes) > LANES:
        lines.append(f"and {len(timeline.lanes) - LANES} more lanes, which --html shows")
    lines += ["", *_legend(timeline, width)]
    return [line.translate(ASCII).encode("ascii", "replace").decode() for line in lines] if ascii_only else lines


def _name(lane: Lane, *, with_who: bool) -> str:
    return f"{lane.label} ({', '.join(lane.people)})" if with_who else lane.label


def _axis(timeline: Timeline, scale: Scale, zone: tzinfo | None) -> Row:
    row = Row(scale.width, story.zone_name(timeline, zone))
    for moment, said in ticks(timeline, zone, most=max(2, scale.width // 12)):
        row.say(min(scale.at(moment), scale.width - len(said)), [said], FAINT)
    return row


def _moments(moments: Sequence[Mark], scale: Scale) -> list[Row]:
    """What belongs to no lane, the same things at the same column told once."""
    found: dict[tuple[int, Kind], int] = {}
    for mark in moments:
        key = scale.at(mark.time), mark.kind
        found[key] = found.get(key, 0) + 1
    rows: list[Row] = []
    for (at, kind), count in found.items():
        said = str(kind) + (f" ×{count}" if count > 1 else "")  # noqa: RUF001 - the sign itself
        text, first = (f"┆ {said}", at) if at + len(said) + 2 <= scale.width else (f"{said} ┆", at - len(said) - 1)
        tint = RED if kind is Kind.CRASHED else FAINT
        if not any(row.say(first, [text], tint) for row in rows) and len(rows) < ROWS:
            rows.append(Row(scale.width))
            rows[-1].say(first, [text], tint)
    return rows


def _lane(lane: Lane, scale: Scale) -> list[Row]:
    rows = []
    marks = [mark for mark in lane.marks if mark.kind in SIGNS and (mark.kind is not Kind.ENDED or not lane.bars)]
    if marks:
        rows.append(_mark_row(marks, scale))
    if len(lane.rows) > ROWS:
        rows += _heights(lane, scale)
    else:
        rows += [_bar_row(bars, scale) for bars in lane.rows]
    return rows or [Row(scale.width)]


def _mark_row(marks: Sequence[Mark], scale: Scale) -> Row:
    row = Row(scale.width)
    for mark in marks:
        row.put(scale.at(mark.time), SIGNS[mark.kind], RED)
    for mark in marks:
        said = f"{mark.target} refused" if mark.kind is Kind.REFUSED else str(mark.kind)
        at = scale.at(mark.time)
        if not row.say(at + 2, [said], RED):
            row.say(at - len(_narrow(said)) - 1, [said], RED)
    return row


def _bar_row(bars: Sequence[Bar], scale: Scale) -> Row:
    row = Row(scale.width)
    spans = [(scale.at(bar.start), max(scale.at(bar.start), scale.at(bar.end))) for bar in bars]
    for bar, (first, last) in zip(bars, spans, strict=True):
        fill, colour, _ = FILLS[bar.state]
        body = FILLS[State.DONE][0] if bar.state is State.OPEN else fill
        row.put(first, body * (last - first + 1), colour)
        if last > first and bar.state is not State.UNKNOWN:
            row.put(first, "▐", colour)  # so that two bars side by side are two
        if bar.state is State.OPEN:
            row.put(last, fill, colour)
    for bar, (first, last) in zip(bars, spans, strict=True):
        _say_bar(row, bar, first, last)
    return row


def _say_bar(row: Row, bar: Bar, first: int, last: int) -> None:
    """The target and how long: behind the bar, in it, or before it, wherever there is room."""
    took = story.length(bar.end - bar.start)
    why = f", {story.ended(bar.reason)}" if bar.state is State.CUT else ""
    texts = [_narrow(text) for text in (f"{bar.target} {took}{why}", f"{bar.target} {took}", bar.target)]
    inside = next((text for text in texts if len(text) + 6 <= last - first), None)
    if row.say(last + 2, texts[: 1 if inside else 3]):
        return
    if inside:
        row.put(first + 2, f" {inside} ")
    else:
        any(row.say(first - 1 - len(text), [text]) for text in texts)


def _heights(lane: Lane, scale: Scale) -> list[Row]:
    """How many connections were open, column by column."""
    row = Row(scale.width)
    counts = [0] * scale.width
    for bar in lane.bars:
        for at in range(scale.at(bar.start), scale.at(bar.end) + 1):
            counts[at] += 1
    most = max(counts)
    for at, count in enumerate(counts):
        row.put(at, STEPS[-(-count * (len(STEPS) - 1) // most)], BLUE)
    told = Row(scale.width)
    many = f"{len(lane.bars)} connections"
    told.say(0, [f"{many}, up to {len(lane.rows)} at a time", many])  # each row is there because all above it were taken
    return [row, told]


def _rule(row: Row, moments: Sequence[Mark], scale: Scale) -> None:
    """The moments' lines, where nothing else stands."""
    for mark in moments:
        at = scale.at(mark.time)
        if row.cells[at] == " " and " " in (row.cells[at - 1], row.cells[min(at + 1, row.width - 1)]):
            row.put(at, "┆", RED if mark.kind is Kind.CRASHED else FAINT)


def _legend(timeline: Timeline, width: int) -> list[str]:
    states = {bar.state for bar in timeline.bars}
    kinds = {mark.kind for lane in timeline.lanes for mark in lane.marks}
    said = [f"{fill} {what}" for state, (fill, _, what) in FILLS.items() if state in states]
    said += [f"{sign} {kind}" for kind, sign in SIGNS.items() if kind in kinds and kind is not Kind.ENDED]
    lines: list[str] = []
    for one in said:
        if lines and len(lines[-1]) + 3 + len(one) <= width:
            lines[-1] += f"   {one}"
        else:
            lines.append(one)
    return lines


def _line(row: Row, left: int, *, colour: bool) -> str:
    if not colour:
        return f"{row.label:{left}}  {''.join(row.cells)}".rstrip()
    parts = [f"\033[{BOLD}m{row.label:{left}}\033[0m  "]
    now = ""
    for letter, wanted in zip(row.cells, row.colours, strict=True):
        if wanted != now:
            parts.append("\033[0m" + (f"\033[{wanted}m" if wanted else ""))
            now = wanted
        parts.append(letter)
    return "".join(parts).rstrip() + "\033[0m"


def _narrow(text: str) -> str:
    """Text in which each character takes one column: what is wider, or takes none, becomes a sign for that."""
    seen = clean(text)
    odd = (unicodedata.east_asian_width(one) in "WF" or unicodedata.combining(one) for one in seen)
    return "".join("\N{REPLACEMENT CHARACTER}" if is_odd else one for one, is_odd in zip(seen, odd, strict=True))
