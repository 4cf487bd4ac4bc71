"""A timeline as one HTML page: the picture, the story, and two tables that say the same to a screen reader and to a copyist.

The page fetches nothing and runs nothing, and says so to the browser (CSP). Built as a tree: whatever stands in a name is
escaped, and no name stands in an attribute.
"""

import base64
import hashlib
from collections.abc import Sequence
from datetime import tzinfo
from importlib import resources
from xml.etree.ElementTree import Element, SubElement, tostring

from airtunnel.audit import story
from airtunnel.audit.picture import draw, plain
from airtunnel.audit.timeline import Bar, Kind, Timeline

STYLE = resources.files("airtunnel.audit").joinpath("page.css").read_text("utf-8")
POLICY = "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'"


def write_page(timeline: Timeline, zone: tzinfo | None = None) -> str:
    """The page. zone: of all times in it; None is this machine's."""
    html = Element("html", {"lang": "en"})
    _head(html, timeline)
    body = SubElement(html, "body")
    first, *rest = story.tell(timeline, zone)
    _say(body, "h1", timeline.title)
    _say(body, "p", first.removeprefix(f"{timeline.title}, "), "when")
    _figures(body, timeline)
    SubElement(body, "div", {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": "Timeline"}).append(
        draw(timeline, zone)
    )
    _story(body, rest)
    name = story.zone_name(timeline, zone)
    _table(body, "Connections", _connections(timeline, zone, name), numbers=(2, 7, 8))
    if timeline.marks:
        _table(body, "What else happened", _marks(timeline, zone, name))
    return "<!doctype html>\n" + tostring(html, encoding="unicode", method="html") + "\n"


def _head(html: Element, timeline: Timeline) -> None:
    head = SubElement(html, "head")
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    SubElement(head, "meta", {"charset": "utf-8"})
    SubElement(head, "meta", {"http-equiv": "Content-Security-Policy", "content": POLICY.format(digest)})
    SubElement(head, "meta", {"name": "viewport", "content": "width=device-width"})
    SubElement(head, "meta", {"name": "color-scheme", "content": "light dark"})
    SubElement(head, "meta", {"name": "referrer", "content": "no-referrer"})
    _say(head, "title", f"{timeline.title} - airtunnel")
    SubElement(head, "style").text = STYLE


def _figures(body: Element, timeline: Timeline) -> None:
    bars = timeline.bars
    refused = sum(mark.kind is Kind.REFUSED for mark in timeline.marks)
    found = {
        "connections": str(len(bars)),
        "targets": str(len({bar.target for bar in bars})),
        "sent": story.amount(sum(bar.up or 0 for bar in bars)),
        "received": story.amount(sum(bar.down or 0 for bar in bars)),
        "refused": str(refused),
    }
    box = SubElement(body, "dl")
    for name, value in found.items():
        pair = SubElement(box, "div", {"class": "bad" if name == "refused" and refused else "figure"})
        _say(pair, "dt", name)
        _say(pair, "dd", value)


def _story(body: Element, lines: Sequence[str]) -> None:
    box: Element | None = None
    for line in lines:
        if not line.startswith("  "):
            _say(body, "p", line)
            box = None
            continue
        box = SubElement(body, "ul") if box is None else box
        _say(box, "li", line.strip())


def _connections(timeline: Timeline, zone: tzinfo | None, name: str) -> list[tuple[str, ...]]:
    head = (
        "task or session",
        f"opened, {name}",
        "took",
        "who",
        "target",
        "ended",
        "rule",
        "sent",
        "received",
        "login",
        "from",
        "id",
    )
    listed = sorted(((bar, lane.label) for lane in timeline.lanes for bar in lane.bars), key=lambda one: one[0].start)
    return [head, *((label, *_cells(bar, zone)) for bar, label in listed)]


def _cells(bar: Bar, zone: tzinfo | None) -> tuple[str, ...]:
    return (
        f"{bar.start.astimezone(zone):%Y-%m-%d %H:%M:%S}",
        story.length(bar.end - bar.start),
        bar.who,
        bar.target + (f"/{bar.database}" if bar.database and bar.database != bar.target else ""),
        story.outcome(bar),
        bar.rule,
        story.amount(bar.up),
        story.amount(bar.down),
        bar.lease or "-",
        bar.source or "-",
        bar.connection,
    )


def _marks(timeline: Timeline, zone: tzinfo | None, name: str) -> list[tuple[str, ...]]:
    rows = [
        (f"{mark.time.astimezone(zone):%Y-%m-%d %H:%M:%S}", str(mark.kind), story.event(mark), mark.session or "-")
        for mark in timeline.marks
    ]
    return [(f"when, {name}", "what", "in words", "session"), *rows]


def _table(body: Element, title: str, rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> None:
    _say(body, "h2", title)
    box = SubElement(body, "div", {"class": "scroll", "tabindex": "0", "role": "region", "aria-label": title})
    table = SubElement(box, "table")
    head, *rest = rows
    row = SubElement(SubElement(table, "thead"), "tr")
    for at, cell in enumerate(head):
        _say(row, "th", cell, "number" if at in numbers else "", scope="col")
    inner = SubElement(table, "tbody")
    for cells in rest:
        row = SubElement(inner, "tr")
        for at, cell in enumerate(cells):
            _say(
                row,
                "td",
                cell,
                "number" if at in numbers else "time" if head[at].startswith(("opened", "when", "from")) else "",
            )


def _say(parent: Element, tag: str, said: str, css: str = "", **more: str) -> None:
    SubElement(parent, tag, {**({"class": css} if css else {}), **more}).text = plain(said)
