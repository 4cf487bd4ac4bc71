"""The page that a browser shows when it has come back from a login. It loads nothing, runs nothing, and is kept nowhere."""

import base64
import hashlib
from dataclasses import dataclass
from html import escape

from airtunnel.identity.answer import printable


@dataclass(frozen=True, slots=True)
class Page:
    """What the person reads: one line, and what to do now. `good`: the login worked."""

    title: str
    words: str
    good: bool = False


DONE = Page("You are logged in", "You may close this tab and go back to the terminal.", good=True)
OVER = Page("This login is over", "The terminal says how it ended. You may close this tab.")

STYLE = """
:root { color-scheme: light dark; --ink: #1c2430; --soft: #5b6675; --back: #f3f5f8; --card: #fff;
  --good: #12805c; --bad: #b3261e }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8ecf1; --soft: #a3adba; --back: #12161c; --card: #1b212a; --good: #4cc38a; --bad: #ff8a80 }
}
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background: var(--back); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif }
main { box-sizing: border-box; width: min(28rem, calc(100vw - 2rem)); padding: 2.5rem; border-radius: 14px;
  background: var(--card); box-shadow: 0 1px 2px rgb(0 0 0 / .08), 0 12px 32px rgb(0 0 0 / .08); text-align: center }
.mark { display: inline-grid; place-items: center; width: 3rem; height: 3rem; border-radius: 50%; color: #fff;
  font-size: 1.5rem; font-weight: 600; background: var(--bad) }
.good .mark { background: var(--good) }
h1 { margin: 1rem 0 .25rem; font-size: 1.375rem; line-height: 1.3 }
p { margin: 0; color: var(--soft); overflow-wrap: anywhere }
footer { margin-top: 1.75rem; font-size: .8125rem; color: var(--soft) }
"""

# The one style of ours, by its hash, and nothing else: whatever an error's words hold, the browser does not act on it.
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Type": "text/html; charset=utf-8",
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Connection": "close",
}


def render(page: Page) -> bytes:
    """The page as HTML, with its texts made harmless."""
    title, words = (escape(printable(one)[:1000]) for one in (page.title, page.words))
    kind, mark = ("good", "&#10003;") if page.good else ("bad", "!")
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title} - airtunnel</title>
<style>{STYLE}</style>
<main class="{kind}">
<div class="mark" aria-hidden="true">{mark}</div>
<h1>{title}</h1>
<p>{words}</p>
<footer>airtunnel</footer>
</main>
</html>
""".encode()
