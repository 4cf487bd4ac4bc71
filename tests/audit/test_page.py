"""The page: it fetches nothing, runs nothing, and says all that the picture shows."""

import base64
import hashlib
import re
from datetime import UTC
from html.parser import HTMLParser
from pathlib import Path
from xml.etree.ElementTree import fromstring

from airtunnel.audit.page import write_page
from airtunnel.model import Principal, PrincipalKind
from tests.audit.runs import Audit, eventful, task, timeline_of


class Reader(HTMLParser):
    """What a browser would find: tags with their attributes, and the cells of the tables."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.cells: list[str] = []
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag in ("td", "th"):
            self.cells.append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.cells[-1] += data


def test_a_page_needs_nothing_from_elsewhere_and_says_so(tmp_path: Path) -> None:
    page = write_page(timeline_of(eventful(), tmp_path), UTC)
    reader = Reader(page)
    assert not {"script", "link", "img", "iframe", "object", "a", "base"} & {tag for tag, _ in reader.tags}
    names = {name for _, attributes in reader.tags for name in attributes}
    assert not {name for name in names if name.startswith("on") or name in ("src", "href", "style")}
    assert "url(" not in page.replace("url(#hatch)", "")
    policy = next(attributes["content"] for _, attributes in reader.tags if "http-equiv" in attributes)
    style = re.search("<style>(.*)</style>", page, re.DOTALL)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"


def test_the_tables_say_what_the_picture_shows(tmp_path: Path) -> None:
    timeline = timeline_of(eventful(), tmp_path)
    cells = Reader(write_page(timeline, UTC)).cells
    for bar in timeline.bars:
        assert bar.connection in cells
    assert len([one for one in cells if " was refused payroll by payroll-is-for-finance (policy/prod.yaml:42)" in one]) == 2
    assert {"client closed", "idle", "failed", "still open", "gateway crashed, this late at most"} <= set(cells)


def test_the_drawing_in_the_page_is_well_formed(tmp_path: Path) -> None:
    page = write_page(timeline_of(eventful(), tmp_path), UTC)
    svg = re.search("<svg.*</svg>", page, re.DOTALL)
    assert svg is not None
    assert fromstring(svg[0]).tag == "{http://www.w3.org/2000/svg}svg"


def test_names_cannot_break_out_of_the_page(tmp_path: Path) -> None:
    audit = Audit()
    evil = "</title></style></svg><script>alert(1)</script><img src=x onerror=alert(2)>\"'&\x00\u202e\ud800"
    audit.session(0, task(evil), (0, 60), target=evil, who=Principal(PrincipalKind.PERSON, evil, evil, evil))
    audit.refuse(5, task(evil), evil)
    page = write_page(timeline_of(audit, tmp_path, title=evil), UTC)
    assert not {"script", "img"} & {tag for tag, _ in Reader(page).tags}
    assert page.encode()  # no half of a character, which no file could hold
    assert not set("\x00\u202e\ud800") & set(page)
