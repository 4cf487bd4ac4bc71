"""A timeline as an SVG drawing: an axis, a lane per task, a bar per connection, marks for what else happened.

              03:00        03:05        03:10
    policy                 |flag
    load_invoices   o                                marks above
                    [warehouse 4 min]  [payroll]     bars below, in as many rows as they overlap

Built as a tree, so that whatever stands in a name is escaped. Colour is never the only sign: each kind has a shape. Names
stand in text, never in an attribute.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from xml.etree.ElementTree import Element, SubElement

from airtunnel.audit import story
from airtunnel.audit.timeline import Bar, Kind, Lane, Mark, State, Timeline

WIDTH, LEFT, RIGHT = 1200, 236, 1180
"""Units: the whole drawing, and where time begins and ends in it."""
LETTER = 6.4
"""The width of a letter at most, of the 11 units high sans-serif that labels have; measured on digits and lower case."""
ROW, GAP, STRIP, HEAD, RAIL = 20, 10, 18, 34, 24
"""Heights: of a row of bars, between lanes, of a lane's marks, of the axis, and of the marks that belong to no lane."""
CROWD = 12
"""Rows from which on a lane's bars are thin and without labels."""
NEAR = 15
"""Marks closer than this are drawn as one."""
TIMES = "\N{MULTIPLICATION SIGN}"
MINUTE, HOUR, DAY = 60, 3600, 86400
STEPS = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30),
    *(one * MINUTE for one in (1, 2, 5, 10, 15, 30)),
    *(one * HOUR for one in (1, 2, 3, 6, 12)),
    *(one * DAY for one in (1, 2, 7, 30, 365)),
)
"""Seconds between two ticks."""
SEVERITY = tuple(
    Kind(one) for one in ("refused", "gateway crashed", "session killed", "session ended", "lease stuck", "lock set")
)
"""What is shown where several marks meet, first come first; then the first of them."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Time to units."""

    start: datetime
    span: float

    def x(self, moment: datetime) -> float:
        """Where a moment lies."""
        return round(LEFT + (RIGHT - LEFT) * (moment - self.start).total_seconds() / self.span, 1)


def draw(timeline: Timeline, zone: tzinfo | None = None) -> Element:
    """The drawing, `<svg>`; it takes its colours from the classes of its page. zone: of the axis; None is this machine's."""
    span = max((timeline.end - timeline.start).total_seconds(), 1.0) * 1.04
    scale = Scale(timeline.start - timedelta(seconds=span * 0.02), span)
    rail = RAIL if timeline.moments else 0
    svg = Element(
        "svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img", "aria-labelledby": "picture-name", "class": "picture"}
    )
    _text(SubElement(svg, "title", {"id": "picture-name"}), f"Timeline of {timeline.title}; the tables below say the same")
    _add_hatch(svg)
    ground = SubElement(svg, "g")
    y = float(HEAD + rail + 4)
    for lane in timeline.lanes:
        y = _draw_lane(svg, lane, scale, y, slim=len(timeline.lanes) > 40)
    _draw_axis(ground, timeline, scale, y, zone)
    _draw_moments(ground, timeline.moments, scale, y)
    y = _draw_legend(svg, timeline, y + 24)
    svg.set("viewBox", f"0 0 {WIDTH} {y:.0f}")
    return svg


def plain(text: str) -> str:
    """Text as it may stand in a document: what XML forbids, or what turns the reading direction, becomes a sign for that."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


def shorten(text: str, length: int) -> str:
    """At most `length` letters, cut in the middle: tasks tell themselves apart at their ends."""
    if len(text) <= length:
        return text
    head = length // 2
    return f"{text[:head]}\N{HORIZONTAL ELLIPSIS}{text[len(text) - (length - head - 1) :]}"


def ticks(timeline: Timeline, zone: tzinfo | None = None, most: int = 9) -> list[tuple[datetime, str]]:
    """Round moments of the timeline and what to write there; at most `most`. With the date where a new day begins."""
    start, end = timeline.start.astimezone(zone), timeline.end.astimezone(zone)
    step = next((one for one in STEPS if (end - start).total_seconds() / one < most), STEPS[-1])
    form = "%m-%d" if step >= DAY else "%H:%M" if step >= MINUTE else "%H:%M:%S"
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    first = -(-(start - midnight).total_seconds() // step)
    found: list[tuple[datetime, str]] = []
    while len(found) < most and (moment := midnight + timedelta(seconds=(first + len(found)) * step)) <= end:
        said = moment.strftime(form) + (f".{moment.microsecond // 100_000}" if step < 1 else "")
        new_day = step < DAY and moment.date() != (found[-1][0] if found else start).date()
        found.append((moment, f"{moment:%m-%d} {said}" if new_day else said))
    return found


def _draw_lane(svg: Element, lane: Lane, scale: Scale, y: float, *, slim: bool) -> float:
    """Draws it from `y` on; where the next one begins."""
    crowded = len(lane.rows) > CROWD
    row = 7 if crowded else ROW
    strip = STRIP if lane.marks else 0
    height = max(strip + row * len(lane.rows), 20 if slim else 34)
    group = SubElement(svg, "g", {"class": "lane"})
    _line(group, (12, y - GAP / 2), (RIGHT, y - GAP / 2), "rule")
    _title(_label(group, 12, y + 13, shorten(lane.label, 28), "name"), lane.label)
    if height >= 34:
        who = ", ".join(lane.people) + (f", {len(lane.bars)} connections" if crowded else "")
        _title(_label(group, 12, y + 28, shorten(who, 32), "who"), who)
    _draw_marks(group, lane.marks, scale, y + strip / 2 - 1)
    for number, bars in enumerate(lane.rows):
        top = y + strip + number * row
        for at, bar in enumerate(bars):
            room = scale.x(bars[at + 1].start) if at + 1 < len(bars) else float(RIGHT)
            _draw_bar(group, bar, scale, top, row - (1.5 if crowded else 4), room, labelled=not crowded)
    return y + height + GAP


def _draw_bar(group: Element, bar: Bar, scale: Scale, y: float, height: float, room: float, *, labelled: bool) -> None:
    x = scale.x(bar.start)
    width = max(round(scale.x(bar.end) - x, 1), 3.0)
    css = bar.state.name.lower()
    one = SubElement(group, "g", {"class": f"bar {css}"})
    _title(one, _describe(bar))
    if bar.state is State.OPEN and width > 10:
        points = f"{x},{y} {x + width - 6},{y} {x + width},{y + height / 2} {x + width - 6},{y + height} {x},{y + height}"
        SubElement(one, "polygon", {"class": "body", "points": points})
    else:
        _rect(one, x, y, width, height, "body")
    if bar.state in (State.FAILED, State.CRASHED) and width > 6:
        _rect(one, x, y, width, height, "hatch")
    if bar.state is not State.DONE and bar.state is not State.OPEN and width > 8:
        _rect(one, x + width - 4, y, 4, height, "stop")
    if labelled:
        _label_bar(one, bar, x, y + height / 2 + 4, width, room)


def _label_bar(one: Element, bar: Bar, x: float, y: float, width: float, room: float) -> None:
    """The target, and how long: in the bar, behind it, or not at all."""
    target = plain(bar.target)
    took = story.length(bar.end - bar.start)
    why = f" · {plain(story.ended(bar.reason))}" if bar.state in (State.CUT, State.FAILED) else ""
    for said in (f"{target} · {took}{why}", f"{target}{why}", target):
        needed = len(said) * LETTER
        if needed + 14 <= width:
            _label(one, x + 6, y, said, "inside")
            return
        if x + width + 5 + needed + 4 <= room:
            _label(one, x + width + 5, y, said, "beside")
            return


def _draw_marks(group: Element, marks: Sequence[Mark], scale: Scale, y: float) -> None:
    clusters = _near(marks, scale)
    taken = float(LEFT)
    for number, cluster in enumerate(clusters):
        x, kind = scale.x(cluster[0].time), _worst(cluster)
        one = SubElement(group, "g", {"class": f"mark {_css(kind)}"})
        _title(one, "\n".join(f"{mark.time:%H:%M:%S}Z {story.event(mark)}" for mark in cluster))
        SYMBOLS.get(kind, _draw_dot)(one, x, y)
        room = scale.x(clusters[number + 1][0].time) - NEAR / 2 if number + 1 < len(clusters) else float(RIGHT)
        said = next((said for said in _refused(cluster) if x + 9 + len(said) * LETTER <= room), "")
        before = next((said for said in _refused(cluster) if x - 9 - len(said) * LETTER >= taken), "")
        if said or before:
            _label(one, x + 9 if said else x - 9, y + 4, said or before, "said", "start" if said else "end")
        taken = x + 9 + len(said) * LETTER


def _refused(cluster: Sequence[Mark]) -> list[str]:
    """What to write beside marks of which some are refusals, at length and in short."""
    refused = [plain(mark.target) for mark in cluster if mark.kind is Kind.REFUSED]
    many = f"{TIMES}{len(refused)}" if len(refused) > 1 else ""
    target = f"{refused[0]} " if len(set(refused)) == 1 else ""
    return [one for one in (f"{target}refused {many}".strip(), many) if one and refused]


def _draw_moments(svg: Element, moments: Sequence[Mark], scale: Scale, bottom: float) -> None:
    clusters = _near(moments, scale)
    for number, cluster in enumerate(clusters):
        x, kind = scale.x(cluster[0].time), _worst(cluster)
        one = SubElement(svg, "g", {"class": f"moment {_css(kind)}"})
        _title(one, "\n".join(f"{mark.time:%H:%M:%S}Z {story.event(mark)}" for mark in cluster))
        _line(one, (x, HEAD + 2), (x, bottom - GAP / 2), "line")
        SubElement(one, "path", {"class": "flag", "d": f"M{x} {HEAD + 2}l9 5l-9 5z"})
        said = str(kind) + (f" {TIMES}{len(cluster)}" if len(cluster) > 1 else "")
        room = scale.x(clusters[number + 1][0].time) if number + 1 < len(clusters) else float(RIGHT)
        if x + 13 + len(said) * LETTER <= room:
            _label(one, x + 13, HEAD + 11, said, "said")
        elif number + 1 == len(clusters) and (number == 0 or scale.x(clusters[number - 1][0].time) + 140 < x):
            _label(one, x - 4, HEAD + 11, said, "said", anchor="end")


def _draw_axis(ground: Element, timeline: Timeline, scale: Scale, bottom: float, zone: tzinfo | None) -> None:
    _label(ground, 12, 18, story.zone_name(timeline, zone), "tick")
    for moment, said in ticks(timeline, zone):
        x = scale.x(moment)
        _line(ground, (x, 26), (x, bottom - GAP / 2), "grid")
        _label(ground, min(max(x, LEFT + 20), RIGHT - 20), 18, said, "tick", anchor="middle")
    _line(ground, (LEFT, 26), (RIGHT, 26), "axis")


def _draw_legend(svg: Element, timeline: Timeline, y: float) -> float:
    """What the shapes mean, of those that occur; where it ends."""
    x = 12.0
    here = timeline.start
    states = [state for state in State if any(bar.state is state for bar in timeline.bars)]
    kinds = [kind for kind in SYMBOLS if any(mark.kind is kind for mark in timeline.marks)]
    group = SubElement(svg, "g", {"class": "legend"})
    signs: list[State | Kind] = [*states, *kinds]
    for sign in signs:
        said = LEGEND.get(sign, str(sign))
        if x + 40 + len(said) * LETTER > WIDTH:
            x, y = 12.0, y + 22
        if isinstance(sign, State):
            flat = Scale(here, (RIGHT - LEFT) / 22)
            sample = SubElement(group, "g", {"transform": f"translate({x - LEFT} {y - 11})"})
            _draw_bar(sample, Bar("", "", "", "", here, here + timedelta(seconds=1), sign), flat, 0, 13, 0, labelled=False)
        else:
            SYMBOLS[sign](SubElement(group, "g", {"class": f"mark {_css(sign)}"}), x + 10, y - 4)
        _label(group, x + 29, y, said, "said")
        x += 52 + len(said) * LETTER
    return y + 16


def _near(marks: Sequence[Mark], scale: Scale) -> list[list[Mark]]:
    """Marks that would cover each other, together."""
    clusters: list[list[Mark]] = []
    for mark in marks:
        if clusters and scale.x(mark.time) - scale.x(clusters[-1][0].time) < NEAR:
            clusters[-1].append(mark)
        else:
            clusters.append([mark])
    return clusters


def _worst(cluster: Iterable[Mark]) -> Kind:
    return min((mark.kind for mark in cluster), key=lambda kind: SEVERITY.index(kind) if kind in SEVERITY else len(SEVERITY))


def _describe(bar: Bar) -> str:
    """What the pointer shows over a bar."""
    before = ", begun before this audit" if bar.started_before else ""
    lines = [
        f"{bar.target}: {story.length(bar.end - bar.start)}, {story.outcome(bar)}{before}",
        f"{bar.who} from {bar.source or 'an unknown address'}",
        f"{story.amount(bar.up)} sent, {story.amount(bar.down)} received",
        f"rule {bar.rule}" if bar.rule else "",
        f"database {bar.database} as {bar.lease}" if bar.lease else "",
        f"connection {bar.connection}",
    ]
    return "\n".join(line for line in lines if line)


def _draw_ring(group: Element, x: float, y: float) -> None:
    SubElement(group, "circle", {"class": "sign", "cx": f"{x}", "cy": f"{y}", "r": "4"})


def _draw_cross(group: Element, x: float, y: float) -> None:
    SubElement(group, "circle", {"class": "sign", "cx": f"{x}", "cy": f"{y}", "r": "6"})
    SubElement(group, "path", {"class": "stroke", "d": f"M{x - 2.5} {y - 2.5}l5 5m0 -5l-5 5"})


def _draw_square(group: Element, x: float, y: float) -> None:
    _rect(group, x - 4.5, y - 4.5, 9, 9, "sign")


def _draw_diamond(group: Element, x: float, y: float) -> None:
    SubElement(group, "path", {"class": "sign", "d": f"M{x} {y - 6}l6 6l-6 6l-6 -6z"})


def _draw_dot(group: Element, x: float, y: float) -> None:
    SubElement(group, "circle", {"class": "sign", "cx": f"{x}", "cy": f"{y}", "r": "3"})


SYMBOLS: dict[Kind, Callable[[Element, float, float], None]] = {
    Kind.GRANTED: _draw_ring,
    Kind.REFUSED: _draw_cross,
    Kind.ENDED: _draw_square,
    Kind.KILLED: _draw_square,
    Kind.STUCK: _draw_diamond,
}
LEGEND: dict[State | Kind, str] = {
    State.DONE: "ended by client or target",
    State.CUT: "ended by the gateway",
    State.CRASHED: "lost in a crash",
    State.OPEN: "still open",
    Kind.ENDED: "session ended by the gateway",
    Kind.KILLED: "session killed by somebody",
    Kind.STUCK: "lease not taken back",
}


def _add_hatch(svg: Element) -> None:
    pattern = SubElement(
        SubElement(svg, "defs"),
        "pattern",
        {"id": "hatch", "width": "6", "height": "6", "patternUnits": "userSpaceOnUse", "patternTransform": "rotate(45)"},
    )
    SubElement(pattern, "rect", {"class": "stripe", "width": "2.5", "height": "6"})


def _css(kind: Kind) -> str:
    return kind.name.lower()


def _rect(parent: Element, x: float, y: float, width: float, height: float, css: str) -> None:
    box = {"x": f"{x:g}", "y": f"{y:g}", "width": f"{width:g}", "height": f"{height:g}", "rx": "2"}
    SubElement(parent, "rect", {"class": css, **box})


def _line(parent: Element, start: tuple[float, float], end: tuple[float, float], css: str) -> None:
    ends = {"x1": f"{start[0]:g}", "y1": f"{start[1]:g}", "x2": f"{end[0]:g}", "y2": f"{end[1]:g}"}
    SubElement(parent, "line", {"class": css, **ends})


def _label(parent: Element, x: float, y: float, said: str, css: str, anchor: str = "start") -> Element:
    place = {"class": css, "x": f"{x:g}", "y": f"{y:g}", "text-anchor": anchor}
    return _text(SubElement(parent, "text", place), said)


def _title(parent: Element, said: str) -> None:
    # It must be the first child; a text's own words would else come after it.
    title = Element("title")
    title.text = "\n".join(plain(line) for line in said.split("\n"))
    title.tail, parent.text = parent.text, None
    parent.insert(0, title)


def _text(element: Element, said: str) -> Element:
    element.text = plain(said)
    return element
