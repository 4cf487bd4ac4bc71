import base64
import hashlib
import re

from airtunnel.identity.login.page import DONE, HEADERS, OVER, Page, render


def test_the_policy_allows_the_one_style_and_nothing_else() -> None:
    for page in (DONE, OVER):
        (style,) = re.findall(r"<style>(.*?)</style>", render(page).decode(), re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        assert HEADERS["Content-Security-Policy"].split("; ")[:2] == ["default-src 'none'", f"style-src 'sha256-{digest}'"]


def test_no_text_becomes_markup() -> None:
    page = render(Page("<img src=x onerror=alert(1)>", "\"'><script>\x00\u202ealert(1)</script>")).decode()
    assert re.findall(r"<(\w+)", page) == ["html", "meta", "meta", "title", "style", "main", "div", "h1", "p", "footer"]
    assert "&quot;&#x27;&gt;&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_a_page_loads_nothing() -> None:
    assert not re.search(r"https?:|src=|href=|url\(|@import", render(DONE).decode())
