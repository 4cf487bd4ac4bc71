"""Lengths of time, addresses, and texts of unknown origin."""

import contextlib
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airtunnel.config.values import cut, parse_address, parse_duration
from airtunnel.model import Address


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("5m", 300), ("1h", 3600), ("2h30m", 9000), ("1d", 86400), ("1d2h3m4s", 93784), ("90m", 5400), ("0h5m", 300)],
)
def test_a_length_of_time_is_what_people_write(text: str, seconds: int) -> None:
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    ["", "5", "m", "5 m", "-5m", "1.5h", "5M", "30m1h", "1h1h", "0s", "0d0h", "٣m", "9999999999s", "999999999d999999999d"],
)
def test_what_is_no_length_of_time_above_zero_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="`"):
        parse_duration(text)


def test_more_time_than_there_is_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        parse_duration("999999999d999999999h")


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("db.internal:5432", Address("db.internal", 5432)),
        ("127.0.0.1:0", Address("127.0.0.1", 0)),
        ("[::1]:5432", Address("::1", 5432)),
        ("[fe80::1%eth0]:5432", Address("fe80::1%eth0", 5432)),
        ("unix:/run/pg/.s.PGSQL.5432", Address(path="/run/pg/.s.PGSQL.5432")),
    ],
)
def test_an_address_is_a_host_and_port_or_a_socket(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "db",
        ":5432",
        "db:",
        "db:65536",
        "db:-1",
        "db:5432x",
        "::1:5432",
        "[::1]",
        "[db]:5432",
        "a b:1",
        "user@db:1",
        "db/x:1",
        "http://db:1",
        "unix:",
        "unix:/" + "x" * 107,
        "db:٣",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="`"):
        parse_address(text)


@given(st.text())
def test_any_text_is_a_value_or_a_value_error(text: str) -> None:
    for parse in (parse_duration, parse_address):
        with contextlib.suppress(ValueError):
            parse(text)


@given(st.text())
def test_a_text_of_unknown_origin_is_shown_printable_and_short(text: str) -> None:
    shown = cut(text, 20)
    assert shown.isprintable()
    assert len(shown) <= 20
    if text.isprintable() and len(text) <= 20:
        assert shown == text
