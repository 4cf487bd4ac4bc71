"""Names for requests, sessions and connections: unique, sortable by time, safe in file names, logs and SSH user names."""

import re
import secrets
from datetime import UTC, datetime

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32 in lower case: no i, l, o, u to misread over the telephone."""
PATTERN = re.compile(f"[{ALPHABET}]{{26}}")


def new_id(now: datetime) -> str:
    """26 characters: 48 bits of milliseconds, then 80 random bits (the layout of a ULID)."""
    number = int(now.timestamp() * 1000) << 80 | secrets.randbits(80)
    return "".join(ALPHABET[number >> shift & 31] for shift in range(125, -1, -5))


def is_id(text: str) -> bool:
    """Whether `text` has the form of an id."""
    return PATTERN.fullmatch(text) is not None


def id_time(number: str) -> datetime:
    """When an id was made, as its first 48 bits say."""
    value = 0
    for letter in number:
        value = value << 5 | ALPHABET.index(letter)
    # One that somebody made up may lie after the last year there is.
    return datetime.fromtimestamp(min((value >> 80) / 1000, 250_000_000_000), UTC)
