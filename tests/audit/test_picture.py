"""The drawing: everything in it, nothing over its edge, nothing that a name could break."""

from datetime import UTC, timedelta, timezone
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring, tostring

import pytest

from airtunnel.audit.picture import LEFT, RIGHT, WIDTH, draw, shorten, ticks
from airtunnel.audit.record import Event
from airtunnel.audit.timeline import Timeline
from airtunnel.model import Principal, PrincipalKind
from tests.audit.runs import Audit, eventful, task, timeline_of


def drawn(timeline: Timeline) -> Element:
    """The drawing, through XML and back: what is not well formed raises."""
    return fromstring(tostring(draw(timeline, UTC), encoding="unicode").replace(' xmlns="http://www.w3.org/2000/svg"', ""))


def kinds(svg: Element, css: str) -> list[Element]:
    """The groups of a class, without those of the legend."""
    legend = svg.find("g[@class='legend']")
    assert legend is not None
    ours = set(map(id, legend.iter()))
    return [one for one in svg.iter("g") if one.get("class", "").split(" ")[0] == css and id(one) not in ours]


def many(count: int) -> Audit:
    """A task with so many connections, most of them at a time."""
    audit = Audit()
    audit.session(0, task("load"), *((at / 2, at / 2 + 60 + at % 7) for at in range(count)))
    return audit


@pytest.mark.parametrize("count", [0, 1, 2, 200])
def test_there_is_a_bar_for_every_connection(tmp_path: Path, count: int) -> None:
    assert len(kinds(drawn(timeline_of(many(count), tmp_path)), "bar")) == count


def test_states_have_shapes_of_their_own(tmp_path: Path) -> None:
    svg = drawn(timeline_of(eventful(), tmp_path))
    shapes = {
        one.get("class"): sorted(f"{part.tag} {part.get('class')}" for part in one if part.tag != "text")
        for one in kinds(svg, "bar")
    }
    assert shapes == {
        "bar done": ["rect body", "title None"],
        "bar cut": ["rect body", "rect stop", "title None"],
        "bar failed": ["rect body", "rect hatch", "rect stop", "title None"],
        "bar crashed": ["rect body", "rect hatch", "rect stop", "title None"],
        "bar open": ["polygon body", "title None"],
    }
    assert [one.get("class") for one in kinds(svg, "moment")] == ["moment reloaded", "moment crashed"]


def test_marks_that_would_cover_each_other_are_one_with_a_number(tmp_path: Path) -> None:
    audit = many(1)
    for second in range(60):
        audit.put(10 + second / 60, Event.POLICY_RELOADED)
        audit.refuse(30 + second / 60, task("load"))
    svg = drawn(timeline_of(audit, tmp_path))
    assert len(kinds(svg, "moment")) == 1
    said = [text.text for text in svg.iter("text")]
    assert "policy reloaded \N{MULTIPLICATION SIGN}60" in said
    assert "payroll refused \N{MULTIPLICATION SIGN}60" in said


@pytest.mark.parametrize("seconds", [0, 0.003, 3, 28_800, 864_000])
def test_nothing_is_drawn_over_the_edge(tmp_path: Path, seconds: float) -> None:
    audit = many(3)
    audit.session(0, task("longest_" * 20), (0, seconds), (seconds / 2, None), target="t" * 60, closed=False)
    timeline = timeline_of(audit, tmp_path)
    svg = drawn(timeline)
    for one in kinds(svg, "bar"):
        for box in one.iter("rect"):
            assert LEFT <= float(box.get("x", "")) <= float(box.get("x", "")) + float(box.get("width", "")) <= RIGHT + 3
            assert float(box.get("width", "")) >= 3
    height = float(svg.get("viewBox", "").split(" ")[3])
    for text in svg.iter("text"):
        assert 0 <= float(text.get("x", "")) < WIDTH
        assert 0 < float(text.get("y", "")) < height


def test_labels_of_one_row_do_not_overlap(tmp_path: Path) -> None:
    audit = Audit()
    audit.session(0, task("load"), *((at * 10, at * 10 + at % 10) for at in range(80)), target="warehouse")
    for lane in kinds(drawn(timeline_of(audit, tmp_path)), "lane"):
        end = float(LEFT)
        for bar in (one for one in lane if one.get("class", "").startswith("bar")):
            box, text = bar.find("rect"), bar.find("text")
            assert box is not None
            start = float(box.get("x", ""))
            assert start >= end - 3  # three units is the least that is seen of a short one
            end = start + float(box.get("width", ""))
            if text is not None and text.get("class") == "beside":
                end = float(text.get("x", "")) + 5 * len(text.text or "")


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>", "</svg>", "\"'><img src=x>", "]]>&amp;&lt;", "\x00\x1b[2J", "\ud800\uffff", "\u202eevil"],
)
def test_a_hostile_name_stays_a_text(tmp_path: Path, name: str) -> None:
    audit = Audit()
    evil = Principal(PrincipalKind.PERSON, name, name, name)
    audit.session(0, task(name), (0, 60), target=name, who=evil)
    audit.refuse(5, task(name), name, evil)
    timeline = timeline_of(audit, tmp_path, title=name)
    svg = draw(timeline, UTC)
    known = {"svg", "title", "g", "defs", "pattern", "rect", "polygon", "path", "circle", "line", "text"}
    assert {one.tag for one in drawn(timeline).iter()} <= known
    for one in svg.iter():
        assert not any(name in value for value in one.attrib.values())
        assert (one.text or "").replace("\n", "").isprintable()


@pytest.mark.parametrize(
    ("seconds", "first", "second"),
    [
        (3, "03:00:04.0", "03:00:04.5"),
        (60, "03:00:10", "03:00:20"),
        (800, "03:02", "03:04"),
        (28_800, "04:00", "05:00"),
        (864_000, "11-24", "11-26"),
    ],
)
def test_ticks_are_round_and_few(tmp_path: Path, seconds: float, first: str, second: str) -> None:
    audit = Audit()
    audit.session(0, task("load"), (0, seconds))
    found = ticks(timeline_of(audit, tmp_path), UTC)
    assert [said for _, said in found][:2] == [first, second]
    assert 3 <= len(found) <= 9


def test_a_new_day_has_its_date_on_the_axis(tmp_path: Path) -> None:
    audit = Audit()
    audit.session(0, task("load"), (0, 28_800))
    said = [said for _, said in ticks(timeline_of(audit, tmp_path), timezone(-timedelta(hours=5)))]
    assert said[:3] == ["23:00", "11-22 00:00", "01:00"]


def test_a_long_name_is_cut_in_its_middle() -> None:
    assert shorten("load_invoices [12], try 2", 13) == "load_i\N{HORIZONTAL ELLIPSIS} try 2"
    assert len(shorten("x" * 100, 13)) == 13
    assert shorten("short", 13) == "short"


def test_a_picture_is_the_same_each_time(tmp_path: Path) -> None:
    first = tostring(draw(timeline_of(eventful(), tmp_path), UTC))
    assert first == tostring(draw(timeline_of(eventful(), tmp_path), UTC))
