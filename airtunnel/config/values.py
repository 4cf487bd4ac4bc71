"""What people write for a length of time or an address, as values; and texts of unknown origin, as they may be shown."""

import re
from datetime import timedelta
from ipaddress import IPv6Address

from airtunnel.model import Address

# Nine digits are more than anybody means, and fewer than a timedelta can hold.
_DURATION = re.compile(r"(?:([0-9]{1,9})d)?(?:([0-9]{1,9})h)?(?:([0-9]{1,9})m)?(?:([0-9]{1,9})s)?")
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,252})")
_SOCKET_PATH_MAX = 107
"""Bytes: sun_path of unix(7) holds 108, with the closing NUL."""


def parse_duration(text: str) -> timedelta:
    """`30s`, `5m`, `2h30m`, `1d` as a length of time above zero. Raises ValueError with a phrase about the text."""
    found = _DURATION.fullmatch(text)
    if not found or not any(found.groups()):
        raise ValueError(f"`{text}` is not a length of time like 30s, 5m or 1h30m")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    try:
        length = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError as error:
        raise ValueError(f"`{text}` is too long") from error
    if not length:
        raise ValueError(f"`{text}` is no time at all; it must be more than zero")
    return length


def parse_address(text: str) -> Address:
    """`host:port`, `[::1]:5432` or `unix:/path`. Raises ValueError with a phrase about the text."""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path or len(path.encode()) > _SOCKET_PATH_MAX:
            raise ValueError(f"`{text}` is not unix:/path with a path of at most {_SOCKET_PATH_MAX} bytes")
        return Address(path=path)
    host, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port) or int(port) > 65535:
        raise ValueError(f"`{text}` is not an address like db.internal:5432")
    if host.startswith("[") and host.endswith("]") and _is_ipv6(host[1:-1]):
        return Address(host[1:-1], int(port))
    if ":" in host:
        raise ValueError(f"`{text}` is ambiguous; write an IPv6 address as [::1]:5432")
    if not _HOST.fullmatch(host):
        raise ValueError(f"`{text}` is not an address like db.internal:5432")
    return Address(host, int(port))


def _is_ipv6(text: str) -> bool:
    try:
        zone = IPv6Address(text).scope_id
    except ValueError:
        return False
    return zone is None or _HOST.fullmatch(zone) is not None


def cut(word: str, length: int = 64) -> str:
    """A text of unknown origin as it may stand in a message: printable and short."""
    shown = "".join(letter if letter.isprintable() else "?" for letter in word)
    return shown if len(shown) <= length else shown[: length - 3] + "..."
