"""Moments as people write them."""

import re
from datetime import UTC, datetime, timedelta

import pytest

from airtunnel.policy.moment import parse_moment


@pytest.mark.parametrize(
    ("text", "in_utc"),
    [
        ("2026-11-22T03:00Z", datetime(2026, 11, 22, 3, tzinfo=UTC)),
        ("2026-11-22T03:00:30+01:00", datetime(2026, 11, 22, 2, 0, 30, tzinfo=UTC)),
        ("2026-11-22T03:00 Europe/Berlin", datetime(2026, 11, 22, 2, tzinfo=UTC)),
        ("2026-07-22T03:00 Europe/Berlin", datetime(2026, 7, 22, 1, tzinfo=UTC)),
    ],
)
def test_a_moment_keeps_the_zone_it_was_written_in(text: str, in_utc: datetime) -> None:
    moment = parse_moment(text)
    assert moment == in_utc
    assert ("Berlin" in text) == (moment.utcoffset() != timedelta() and "+" not in text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("2026-11-22T03:00", "has no time zone; write 2026-11-22T03:00Z, or `2026-11-22T03:00 Europe/Berlin`"),
        ("2026-11-22T03:00Z Europe/Berlin", "has two time zones"),
        ("2026-11-22T03:00 Europe/Berlim", "there is no time zone `Europe/Berlim`"),
        ("2026-11-22T03:00 ../../etc/passwd", "there is no time zone"),
        ("tomorrow", "`tomorrow` is not a time like 2026-11-22T03:00Z"),
        ("", "is not a time"),
    ],
)
def test_a_time_without_one_zone_is_no_moment(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        parse_moment(text)
