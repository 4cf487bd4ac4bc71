"""A person at the provider's pages, for checks without one: reads each form, fills it in, presses a button."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

import httpx2

from airtunnel.errors import LoginFailed, Unreachable

MOST_PAGES = 5
"""Code, login, confirm and done are four."""


@dataclass(slots=True)
class Sheet:
    """What a person sees of one page: its heading, its alert and its form."""

    heading: str = ""
    alert: str = ""
    action: str | None = None
    fields: dict[str, str] = field(default_factory=dict, repr=False)
    buttons: list[tuple[str, str]] = field(default_factory=list)


def read_sheet(html: str) -> Sheet:
    """The heading, alert, fields (with what is already filled in) and named buttons of a page."""
    reader = _Reader()
    reader.feed(html)
    reader.close()
    return reader.sheet


def approve(verification_uri_complete: str, login: str, password: str, *, deny: bool = False) -> str:
    """Logs in at the provider and says yes, or no. Gives back the last page's heading.

    verification_uri_complete: the address with the code (RFC 8628 section 3.3.1)
    Raises LoginFailed with the page's own words where the page refuses, Unreachable where there is no page.
    """
    answers = {"login": login, "password": password}
    try:
        with httpx2.Client(trust_env=False, timeout=10, follow_redirects=True) as browser:
            page = browser.get(verification_uri_complete)
            for _ in range(MOST_PAGES):
                sheet = read_sheet(page.text)
                if sheet.alert or page.is_error:
                    raise LoginFailed(f"the provider says: {sheet.alert or page.reason_phrase}", hint="airtunnel demo")
                if sheet.action is None:
                    return sheet.heading
                page = browser.post(page.url.join(sheet.action), data=_fill(sheet, answers, deny=deny))
    except httpx2.TransportError as error:
        raise Unreachable(f"the provider does not answer: {error}", hint="airtunnel demo") from error
    raise LoginFailed("the provider's pages do not come to an end", hint="airtunnel demo")


def _fill(sheet: Sheet, answers: dict[str, str], *, deny: bool) -> dict[str, str]:
    """What the form sends: filled-in fields as they are, ours where they are asked for, and the button pressed."""
    filled = {name: answers.get(name, value) for name, value in sheet.fields.items()}
    wanted = "deny" if deny else "approve"
    return filled | {name: value for name, value in sheet.buttons if value == wanted}


class _Reader(HTMLParser):
    """Reads one page with at most one form."""

    def __init__(self) -> None:
        super().__init__()
        self.sheet = Sheet()
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        match tag:
            case "form":
                self.sheet.action = given.get("action", "")
            case "input" if "name" in given:
                self.sheet.fields[given["name"]] = given.get("value", "")
            case "button" if "name" in given:
                self.sheet.buttons.append((given["name"], given.get("value", "")))
            case "h1":
                self._inside = "heading"
            case _ if given.get("role") == "alert":
                self._inside = "alert"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("h1", "p"):
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "heading":
            self.sheet.heading += data
        elif self._inside == "alert":
            self.sheet.alert += data
