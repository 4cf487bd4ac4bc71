from datetime import timedelta

import pytest

from airtunnel.errors import Unreachable
from airtunnel.identity.answer import Answer, printable, seconds


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"null", b"\xff", b"[" * 100_000, None])
def test_what_is_no_json_object_is_none(body: bytes | None) -> None:
    assert Answer(200, body=body).json() is None


@pytest.mark.parametrize(
    ("answer", "busy"),
    [
        (Answer(0, body=None, trouble=Unreachable("x")), True),
        (Answer(429, body=b"<html>slow down</html>"), True),
        (Answer(503), True),
        (Answer(500, body=b'{"error":"internal"}'), True),
        (Answer(408), True),
        (Answer(400, body=b'{"error":"temporarily_unavailable"}'), True),
        (Answer(400), False),
        (Answer(200, body=b"{}"), False),
        (Answer(400, body=b'{"error":"invalid_grant"}'), False),
    ],
)
def test_busy_is_what_may_go_away_by_itself(answer: Answer, busy: bool) -> None:
    assert answer.busy is busy


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": " 7 "}, 7),
        ({"retry-after": "99999999999999"}, 86_400),
        ({"retry-after": "-1"}, 0),
        ({"retry-after": "soon"}, 0),
        ({"retry-after": "\u0667"}, 0),
        ({}, 0),
        ({"retry-after": "Sat, 22 Nov 2025 10:00:30 GMT", "date": "Sat, 22 Nov 2025 10:00:00 GMT"}, 30),
        ({"retry-after": "Sat, 22 Nov 2025 10:00:00 GMT", "date": "Sat, 22 Nov 2025 10:00:30 GMT"}, 0),
        ({"retry-after": "Sat, 22 Nov 2025 10:00:30 GMT"}, 0),
    ],
)
def test_retry_after_is_read_without_a_clock(headers: dict[str, str], wait: int) -> None:
    assert Answer(503, headers).retry_after == timedelta(seconds=wait)


@pytest.mark.parametrize(
    ("value", "length"),
    [
        (5, 5),
        (0.5, 0.5),
        ("600", 600),
        (-3, 0),
        (10**30, 315_360_000),
        (True, None),
        ("x", None),
        (None, None),
        (float("nan"), None),
    ],
)
def test_seconds_are_numbers_or_digits(value: object, length: float | None) -> None:
    assert seconds(value) == (None if length is None else timedelta(seconds=length))


def test_what_a_provider_says_cannot_move_the_cursor_or_fill_the_screen() -> None:
    answer = Answer(400, body=b'{"error":"x","error_description":"\\u001b[2Ja\\u202eb\\nc' + b"y" * 5000 + b'"}')
    assert answer.said.startswith("x: [2Jabcy")
    assert len(answer.said) == 200


def test_printable_keeps_letters_of_all_languages() -> None:
    assert printable("Ána 北京\x00\x1b\u2028\u200b") == "Ána 北京"
