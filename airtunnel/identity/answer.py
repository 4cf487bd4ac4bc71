"""An HTTP answer as data, and what it says in OAuth's words (RFC 6749 section 5.2)."""

import json
import math
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from airtunnel.errors import Unreachable

Json = Mapping[str, Any]  # Any: what json.loads gives


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `body` is None when nothing did, and `trouble` then says why. `headers` have lower-case names.

    took: how long it took, which a flow without a clock needs to know
    """

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=b"", repr=False)
    trouble: Unreachable | None = None
    took: timedelta = timedelta()

    def json(self) -> Json | None:
        """The body, if it is a JSON object."""
        try:
            body = json.loads(self.body or b"")
        except (ValueError, RecursionError):
            return None
        return body if isinstance(body, dict) else None

    @property
    def error(self) -> str | None:
        """OAuth's error code, where the body holds one."""
        code = (self.json() or {}).get("error")
        return code if isinstance(code, str) else None

    @property
    def busy(self) -> bool:
        """Nothing wrong was asked: the same question may get a better answer later."""
        if self.error in ("temporarily_unavailable", "server_error"):
            return True
        return self.body is None or self.status in (408, 425, 429) or self.status >= 500

    @property
    def said(self) -> str:
        """The refusal in the provider's words, safe to print: its error code and description, or the HTTP status."""
        if (code := self.error) is None:
            return f"HTTP {self.status} without a reason"
        description = (self.json() or {}).get("error_description")
        words = f"{code}: {description}" if isinstance(description, str) and description else code
        return printable(words)[:200]

    @property
    def retry_after(self) -> timedelta:
        """RFC 9110 section 10.2.3: seconds, or a date (taken against the answer's own); zero if absent or senseless."""
        text = self.headers.get("retry-after", "").strip()
        if text.isascii() and text.isdigit():
            return timedelta(seconds=min(int(text[:9]), 86_400))
        try:
            wait = parsedate_to_datetime(text) - parsedate_to_datetime(self.headers.get("date", ""))
        except (ValueError, TypeError):
            return timedelta()
        return min(max(wait, timedelta()), timedelta(days=1))


def printable(text: str) -> str:
    """The text without what moves a terminal's cursor or turns its direction: control, format and line characters."""
    return "".join(one for one in text if unicodedata.category(one) not in ("Cc", "Cf", "Cs", "Zl", "Zp"))


def seconds(value: object) -> timedelta | None:
    """A JSON number (or digits in a text, as some providers send) of seconds as a duration; None if it is neither."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:9])
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return timedelta(seconds=max(0, min(value, 10 * 365 * 86_400)))
