"""Whether every request that one rule matches is matched by another: proven from what the rules say, or not claimed.

A yes is certain; a no may only mean that it is not plain to see (windows in two time zones, patterns in patterns).
"""

import re
from collections.abc import Iterable
from datetime import time
from fnmatch import fnmatchcase
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, collapse_addresses

from airtunnel.policy.conditions import claim_fits
from airtunnel.policy.rules import Effect, Network, Rule, When, Who

MINUTES = 24 * 60
WEEK = 7 * MINUTES
MAPPED = IPv6Network("::ffff:0:0/96")
"""IPv4 clients on an IPv6 socket: they are looked at as what they are, so that no client is in such a network."""


def within(narrow: Rule, wide: Rule) -> bool:
    """Whether `wide` matches all that `narrow` matches, on a target that both speak of."""
    return (
        _who_within(narrow.who, wide.who)
        and all(_tag_within(tag, narrow, globs) for tag, globs in wide.tags.items())
        and all(_required(tag, narrow) for tag in wide.require)
        and _when_within(narrow.when, wide.when)
        and _networks_within(narrow, wide)
    )


def never(rule: Rule) -> str | None:
    """Why the rule cannot match any request, on whatever target; None if it might."""
    for tag, globs in rule.tags.items():
        if tag in ("try_number", "map_index") and not any(_fits_number(glob) for glob in globs):
            return f"tag {tag} is a number, and no number is like {' or '.join(globs)}"
        if tag in rule.require and not any(glob.strip() for glob in globs):
            return f"it requires tag {tag}, and its pattern wants it to be blank"
    if rule.when and not open_minutes(rule.when):
        return "its time window is never open"
    if rule.networks and rule.effect is Effect.ALLOW and all(_is_mapped(network) for network in rule.networks):
        return f"an IPv4 client is never looked for in {MAPPED}: write its network as IPv4"
    return None


@lru_cache
def open_minutes(when: When) -> frozenset[int]:
    """The minutes of a week, from Monday 00:00 on the zone's clock, at which the window is open."""
    start, end = _minute(when.start), _minute(when.end)
    length = (end - start) % MINUTES or MINUTES
    if when.end == time(0):
        length = MINUTES - start
    return frozenset((day * MINUTES + start + step) % WEEK for day in when.days for step in range(length))


def _minute(clock: time) -> int:
    return clock.hour * 60 + clock.minute


def _who_within(narrow: Who, wide: Who) -> bool:
    return (
        _any_within(narrow.groups, wide.groups)
        and _any_within(narrow.users, wide.users)
        and _any_within(narrow.issuers, wide.issuers)
        and wide.kind in (None, narrow.kind)
        and all(_claim_within(narrow.claims.get(claim, ()), patterns) for claim, patterns in wide.claims.items())
    )


def _any_within(narrow: tuple[str, ...], wide: tuple[str, ...]) -> bool:
    return not wide or (bool(narrow) and set(narrow) <= set(wide))


def _claim_within(narrow: tuple[str, ...], wide: tuple[str, ...]) -> bool:
    # What stands for any text in the narrow pattern is a `*` for the wide one, which only its own `*` can take.
    return bool(narrow) and all(any(claim_fits(one, pattern) for pattern in wide) for one in narrow)


def _tag_within(tag: str, narrow: Rule, wide: tuple[str, ...]) -> bool:
    if tag in narrow.tags:
        return all(any(_glob_within(one, glob) for glob in wide) for one in narrow.tags[tag])
    return tag in narrow.require and "*" in wide


def _glob_within(narrow: str, wide: str) -> bool:
    if wide in ("*", narrow):
        return True
    if not _special(narrow, "*?["):
        return fnmatchcase(narrow, wide)
    # As for claims; but a `?` or `[` of the wide one could take the narrow one's `*` for a letter.
    return not _special(wide, "?[") and not _special(narrow, "[") and fnmatchcase(narrow, wide)


def _required(tag: str, narrow: Rule) -> bool:
    if tag in narrow.require:
        return True
    # Letters that stand in every text that fits: what is in brackets is not sure to.
    globs = narrow.tags.get(tag, ())
    return bool(globs) and all(not _special(glob, "[") and bool(re.sub(r"[*?]", "", glob).strip()) for glob in globs)


def _special(glob: str, letters: str) -> bool:
    return any(letter in glob for letter in letters)


def _fits_number(glob: str) -> bool:
    return _special(glob, "[") or all(letter in "-0123456789*?" for letter in glob)


def _when_within(narrow: When | None, wide: When | None) -> bool:
    if wide is None:
        return True
    minutes = open_minutes(wide)
    if len(minutes) == WEEK:
        return True
    return narrow is not None and narrow.zone.key == wide.zone.key and open_minutes(narrow) <= minutes


def _networks_within(narrow: Rule, wide: Rule) -> bool:
    """An unknown address is in the networks of every rule that denies, and of none that allows."""
    if not wide.networks:
        return True
    if not narrow.networks or (narrow.effect is Effect.DENY and wide.effect is Effect.ALLOW):
        return False
    networks = _collapsed(wide.networks)
    return all(any(_inside(one, other) for other in networks) for one in narrow.networks if not _is_mapped(one))


def _collapsed(networks: Iterable[Network]) -> list[Network]:
    four = collapse_addresses(one for one in networks if isinstance(one, IPv4Network))
    six = collapse_addresses(one for one in networks if isinstance(one, IPv6Network))
    return [*four, *six]


def _inside(narrow: Network, wide: Network) -> bool:
    if isinstance(narrow, IPv4Network):
        return isinstance(wide, IPv4Network) and narrow.subnet_of(wide)
    return isinstance(wide, IPv6Network) and narrow.subnet_of(wide)


def _is_mapped(network: Network) -> bool:
    return isinstance(network, IPv6Network) and network.subnet_of(MAPPED)
