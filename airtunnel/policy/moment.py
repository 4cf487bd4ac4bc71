"""A moment as people write it beside a policy: `2026-11-22T03:00Z`, or `2026-11-22T03:00 Europe/Berlin`."""

from datetime import datetime
from zoneinfo import ZoneInfo

from airtunnel.config.values import cut


def parse_moment(text: str) -> datetime:
    """The moment, aware. Raises ValueError with a phrase about the text: a time without a zone is no moment."""
    written, _, zone = text.strip().partition(" ")
    try:
        moment = datetime.fromisoformat(written)
    except ValueError:
        raise ValueError(f"`{cut(text)}` is not a time like 2026-11-22T03:00Z") from None
    if zone and moment.tzinfo is not None:
        raise ValueError(f"`{cut(text)}` has two time zones")
    if zone:
        try:
            return moment.replace(tzinfo=ZoneInfo(zone))
        except (ValueError, OSError, KeyError):  # ZoneInfoNotFoundError is a KeyError
            raise ValueError(f"there is no time zone `{cut(zone)}`") from None
    if moment.tzinfo is None:
        raise ValueError(f"`{cut(text)}` has no time zone; write {cut(written)}Z, or `{cut(written)} Europe/Berlin`")
    return moment
