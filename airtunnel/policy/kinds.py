"""The values of the policy's language: how each is read, and what JSON Schema says of it."""

import re
from collections.abc import Callable, Mapping
from datetime import time
from enum import StrEnum
from ipaddress import ip_interface
from typing import TypeVar
from zoneinfo import ZoneInfo, available_timezones

from airtunnel.config.document import Node, Scalar, Sequence, fault
from airtunnel.config.table import Table, choice, count, duration, likely, raw, text
from airtunnel.config.values import cut
from airtunnel.model import TAG_NAMES
from airtunnel.policy.form import Faults, Kind, Schema, choices, items
from airtunnel.policy.rules import NAME, Network

T = TypeVar("T")
E = TypeVar("E", bound=StrEnum)

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}

_HOURS = r"([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|24:00)"
_SIZE = rf"([1-9][0-9]{{0,8}})({'|'.join(UNITS)})"
_LENGTH = r"(?=[0-9]*[0-9dhms]*[1-9])(?:[0-9]{1,9}d)?(?:[0-9]{1,9}h)?(?:[0-9]{1,9}m)?(?:[0-9]{1,9}s)?"

# The reader takes true and 7 for the texts that they are; so must the schema, to whose reader they are no strings.
ONE_LINE: Schema = {"type": ["string", "number", "boolean"], "pattern": r"^[^\n\r\t]*\S[^\n\r\t]*$"}


def some_of(one: Kind[T]) -> Kind[tuple[T, ...]]:
    """A list of at least one, or a single one without the brackets."""

    def read(node: Node) -> tuple[T, ...]:
        if not isinstance(node, Sequence):
            return (one.read(node),)
        if not node.items:
            raise fault(node, f"`{node.key}` is an empty list")
        return items(node.items, one.read)

    return Kind(read, {"anyOf": [one.schema, {"type": "array", "items": one.schema, "minItems": 1}]})


def word_of(words: type[E]) -> Kind[E]:
    """One of the enumeration's words."""
    return Kind(choice(words), {"enum": [str(word) for word in words]})


def whole(pattern: str) -> str:
    """A regular expression for JSON Schema, which searches where ours match the whole."""
    return f"^(?:{pattern})$"


def name(node: Node) -> str:
    """The name of a target, a rule or a credential source."""
    word = raw(node)
    if not NAME.fullmatch(word):
        raise fault(node, f"`{cut(word)}` is no name; names are a-z, 0-9, `.`, `_`, `-`, at most 63 characters")
    return word


def rule_name(node: Node) -> str:
    """A name that is not taken."""
    if (word := name(node)) == "default":
        raise fault(node, "no rule may be called `default`: it is what decides when no rule does")
    return word


def exact(node: Node) -> str:
    """A text that is compared to the letter. A `*` would match nothing, and a rule that denies would be an open door."""
    if "*" in (word := text(node)):
        raise fault(node, f"`{node.key}` is compared to the letter, so `{cut(word)}` fits nobody; only `claims` know `*`")
    return word


def size(node: Node) -> int:
    """A number of bytes, above zero."""
    written = raw(node)
    if not (found := re.fullmatch(_SIZE, written)):
        raise fault(node, f"`{node.key}`: `{cut(written)}` is not a size like 500MB, 10GB or 1GiB")
    return int(found[1]) * UNITS[found[2]]


def network(node: Node) -> Network:
    """Addresses with a common beginning, or a single one."""
    written = text(node)
    try:
        interface = ip_interface(written)
    except ValueError as error:
        raise fault(node, f"`{cut(written)}` is not a network like 10.0.0.0/8") from error
    found: Network = interface.network
    if interface.ip != found.network_address:
        raise fault(node, f"`{written}` has bits outside its mask; did you mean `{found}`?")
    return found


def day_span(node: Node) -> tuple[frozenset[int], str]:
    """The days of `mon` or `fri-mon`, and how they were written."""
    written = text(node)
    first, dash, last = written.partition("-")
    for day in (first, last) if dash else (first,):
        if day not in DAYS:
            raise fault(node, f"`{cut(written)}` is no day; say mon, tue, wed, thu, fri, sat, sun or a span like mon-fri")
    begin, end = DAYS.index(first), DAYS.index(last or first)
    return frozenset((begin + step) % 7 for step in range((end - begin) % 7 + 1)), written


def hours(node: Node) -> tuple[time, time, str]:
    """Begin, end (00:00 is the day's end), and how they were written."""
    written = text(node)
    parts = re.fullmatch(_HOURS, written)
    if not parts:
        raise fault(node, f"`{cut(written)}` is not hours like 08:00-18:00")
    first, second, third, fourth = (int(part or 0) for part in parts.groups())
    start, end = time(first, second), time(third, fourth)
    if start == end and not written.endswith("24:00"):
        raise fault(node, f"`{written}` begins and ends at once; for the whole day say 00:00-24:00")
    return start, end, written


def zone(node: Node) -> ZoneInfo:
    """A time zone of the IANA's database."""
    written = text(node)
    try:
        return ZoneInfo(written)
    except (ValueError, OSError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError
        zones = available_timezones()
        guess = likely(written, zones) if zones else "; this machine has no time zones: pip install tzdata"
        raise fault(node, f"there is no time zone `{cut(written)}`{guess}") from error


def known_tag(node: Node) -> str:
    """The name of a tag."""
    if (tag := text(node)) not in TAG_NAMES:
        raise fault(node, f"there is no tag `{cut(tag)}`; tags are {', '.join(TAG_NAMES)}{likely(tag, TAG_NAMES)}")
    return tag


def tags(node: Node) -> Mapping[str, tuple[str, ...]]:
    """Patterns by the tag's name."""
    return _filled(node, lambda key, value: (known_tag(key), TEXTS.read(value))[1])


def wanted(node: Node) -> Mapping[str, tuple[str, ...]]:
    """Keys of the writer's own, each with the values of which one must fit."""
    return _filled(node, lambda _, value: TEXTS.read(value))


def labels(node: Node) -> Mapping[str, str]:
    """Keys of the writer's own, each with one value."""
    faults = Faults()
    found = choices(node, lambda _, value: text(value), faults)
    faults.done(f"{node.key} has faults")
    return found


def _filled(node: Node, read: Callable[[Scalar, Node], tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
    if not Table(node).node.entries:
        raise fault(node, f"`{node.key}` is empty")
    faults = Faults()
    found = choices(node, read, faults)
    faults.done(f"{node.key} has faults")
    return found


TEXT = Kind(text, ONE_LINE)
TEXTS = some_of(TEXT)
EXACT = some_of(Kind(exact, {"type": ["string", "number", "boolean"], "pattern": r"^[^\n\r\t*]*[^\s*][^\n\r\t*]*$"}))
RULE_NAME = Kind(rule_name, {"type": ["string", "number"], "pattern": whole(NAME.pattern), "not": {"const": "default"}})
SOURCE_NAME = Kind(name, {"type": ["string", "number"], "pattern": whole(NAME.pattern)})
_DIGITS = "^(?=[0-9]{1,9}$)0*[1-9][0-9]*$"
COUNT = Kind(count, {"type": ["integer", "string"], "minimum": 1, "maximum": 999_999_999, "pattern": _DIGITS})
LENGTH = Kind(duration, {"type": "string", "pattern": whole(_LENGTH), "examples": ["30s", "5m", "1h30m", "1d"]})
SIZE = Kind(size, {"type": "string", "pattern": whole(_SIZE), "examples": ["500MB", "10GB", "1GiB"]})
NETWORK = Kind(network, {"type": "string", "pattern": r"^[0-9A-Fa-f.:]+(?:/[0-9.]+)?$", "examples": ["10.0.0.0/8"]})
_DAY = "|".join(DAYS)
_SPAN: Schema = {"type": "string", "pattern": whole(f"(?:{_DAY})(?:-(?:{_DAY}))?"), "examples": [*DAYS, "mon-fri"]}
DAY_SPANS = some_of(Kind(day_span, _SPAN))
HOURS = Kind(hours, {"type": "string", "pattern": whole(_HOURS), "examples": ["08:00-18:00", "22:00-06:00"]})
ZONE = Kind(zone, {"type": "string", "pattern": r"^[A-Za-z0-9_+/-]+$", "examples": ["Europe/Berlin", "UTC"]})
TAG_LIST = some_of(Kind(known_tag, {"enum": list(TAG_NAMES)}))
TAGS = Kind(
    tags,
    {
        "type": "object",
        "properties": dict.fromkeys(TAG_NAMES, TEXTS.schema),
        "additionalProperties": False,
        "minProperties": 1,
    },
)
WANTED = Kind(wanted, {"type": "object", "additionalProperties": TEXTS.schema, "minProperties": 1})
LABELS = Kind(labels, {"type": "object", "additionalProperties": ONE_LINE})
