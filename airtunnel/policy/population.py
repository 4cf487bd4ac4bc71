"""Requests that might be made under a policy, made up from the names that stand in it.

For each target, and each rule that speaks of it: requests that the rule would match, each of its conditions in every way in
which it can be met, and at the edges of its time windows. Then the same requests by somebody who fits a second rule, too:
where one rule allows and the other denies, or both allow with different limits, only such a person sees a change.

A sample, no proof: it finds a changed name, pattern, network, window or limit, and not every effect of three rules together.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from fnmatch import fnmatchcase
from itertools import permutations

from airtunnel.model import Place, Principal, PrincipalKind, Request
from airtunnel.policy.cases import tags_of
from airtunnel.policy.conditions import covers
from airtunnel.policy.diff import Asked
from airtunnel.policy.rules import Network, Policy, Rule, When, Who

NOBODY = "somebody"
"""The name of a made-up person where a rule does not name one."""
MONDAY = date(2026, 1, 5)
"""Of the week in which made-up requests are made; no zone of the northern half changes its clock in it."""
NOON = datetime.combine(MONDAY + timedelta(days=2), time(12), UTC)
NOWHERE = Place("", 0)
"""For rules that are compared: a rule that was only moved is the same one."""


@dataclass(frozen=True, slots=True)
class _Way:
    """One way to meet a rule's conditions."""

    who: Principal
    tags: dict[str, str]
    at: datetime
    source: str | None


def population(old: Policy, new: Policy) -> Iterator[Asked]:
    """The requests, for every target of either policy; none twice."""
    seen: set[tuple[object, ...]] = set()
    for name in dict.fromkeys((*old.targets, *new.targets)):
        for way in _all_ways(_about(old, name), _about(new, name)):
            request = Request(way.who, name, tags_of(way.tags), way.source)
            key = (name, _identity(way.who), tuple(sorted(way.tags.items())), way.at, way.source)
            if key not in seen:
                seen.add(key)
                yield Asked(request, way.at)


def _about(policy: Policy, name: str) -> list[Rule]:
    """The rules about a target. Where they stand is no difference."""
    target = policy.targets.get(name)
    return [replace(rule, place=NOWHERE) for rule in policy.rules if target is not None and covers(rule, target)]


def _identity(who: Principal) -> tuple[object, ...]:
    return who.kind, who.issuer, who.name, who.groups, tuple((claim, str(value)) for claim, value in who.claims.items())


def _all_ways(old: list[Rule], new: list[Rule]) -> Iterator[_Way]:
    rules = [(rule, rule not in new) for rule in old] + [(rule, rule not in old) for rule in new]
    ways = [(rule, list(_ways(rule)), changed) for rule, changed in rules]
    moved = [rule for rule in old if rule in new] != [rule for rule in new if rule in old]
    for _, own, _ in ways:
        yield from own
    # What two rules say together can only have changed with one of them: all pairs would be far too many.
    for (one, first, changed), (other, second, too) in permutations(ways, 2):
        if (changed or too or moved) and not _apart(one.who, other.who):
            yield from (_both(way, second[0]) for way in first)
    yield _Way(_somebody(Who()), {}, NOON, None)


def _ways(rule: Rule) -> Iterator[_Way]:
    """Each condition in each way, the others as they come first: they are independent of each other."""
    people, tags, moments, sources = _people(rule.who), _tags(rule), _moments(rule.when), _sources(rule.networks)
    plain = _Way(people[0], tags[0], moments[0], sources[0])
    yield plain
    yield from (replace(plain, who=who) for who in people[1:])
    yield from (replace(plain, tags=said) for said in tags[1:])
    yield from (replace(plain, at=at) for at in moments[1:])
    yield from (replace(plain, source=source) for source in sources[1:])


def _apart(one: Who, other: Who) -> bool:
    """Whether nobody is both: groups are for persons."""
    return (_is_program(one) and _is_person(other)) or (_is_person(one) and _is_program(other))


def _is_program(who: Who) -> bool:
    return who.kind is PrincipalKind.WORKLOAD


def _is_person(who: Who) -> bool:
    return who.kind is PrincipalKind.PERSON or (who.kind is None and bool(who.groups or who.users))


def _both(one: _Way, other: _Way) -> _Way:
    """The same request by somebody who fits the other rule, too, as far as one can."""
    who = replace(
        one.who,
        name=other.who.name if one.who.name == NOBODY else one.who.name,
        groups=tuple(dict.fromkeys(one.who.groups + other.who.groups)),
        claims={**other.who.claims, **one.who.claims},
        issuer=one.who.issuer or other.who.issuer,
        kind=PrincipalKind.WORKLOAD if PrincipalKind.WORKLOAD in (one.who.kind, other.who.kind) else one.who.kind,
    )
    return _Way(who, {**other.tags, **one.tags}, one.at if one.at != NOON else other.at, one.source or other.source)


def _people(who: Who) -> list[Principal]:
    """One for each value of each condition, the others as they come first."""
    plain = _somebody(who)
    return [
        plain,
        *(replace(plain, groups=(group,)) for group in who.groups[1:]),
        *(replace(plain, name=user) for user in who.users[1:]),
        *(replace(plain, issuer=issuer) for issuer in who.issuers[1:]),
        *(
            replace(plain, claims={**plain.claims, claim: value})
            for claim, values in who.claims.items()
            for value in values[1:]
        ),
    ]


def _somebody(who: Who) -> Principal:
    return Principal(
        kind=who.kind or PrincipalKind.PERSON,
        issuer=next(iter(who.issuers), ""),
        subject="",
        name=next(iter(who.users), NOBODY),
        groups=who.groups[:1],
        claims={claim: _claim(values[0]) for claim, values in who.claims.items()},
    )


def _claim(pattern: str) -> str:
    """A claim's value that fits: of the globs' letters, `*` alone has a meaning there."""
    return pattern.replace("*", "1")


def _tags(rule: Rule) -> list[dict[str, str]]:
    required = {tag: "1" if tag in ("try_number", "map_index") else "something" for tag in rule.require}
    plain = required | {tag: like(globs[0]) for tag, globs in rule.tags.items()}
    found = [plain, *({**plain, tag: like(glob)} for tag, globs in rule.tags.items() for glob in globs[1:])]
    return [one for one in found if _valid(one)] or [{}]  # no number fits a pattern of letters: the rule is dead


def _valid(said: dict[str, str]) -> bool:
    try:
        tags_of(said)
    except ValueError:
        return False
    return True


def like(glob: str) -> str:
    """A text that fits the glob. Brackets are met by their first letter; where that fails, the glob stands for itself."""
    text, rest = "", glob
    while rest:
        letter, rest = rest[0], rest[1:]
        if letter == "[" and "]" in rest[1:]:
            at = rest.index("]", 1)
            letter, rest = rest[0], rest[at + 1 :]
        text += {"*": "", "?": "1"}.get(letter, letter)
    text = text or "1"
    return text if fnmatchcase(text, glob) else glob


def _moments(when: When | None) -> list[datetime]:
    """The first and last minute of the window, on each of its days; a time like any other if there is none."""
    if when is None:
        return [NOON]
    found: list[datetime] = []
    for day in sorted(when.days):
        begin = datetime.combine(MONDAY + timedelta(days=day), when.start, when.zone)
        end = datetime.combine(MONDAY + timedelta(days=day), when.end, when.zone)
        end += timedelta(days=1) if when.end <= when.start else timedelta()
        found += [begin, end - timedelta(minutes=1)]
    return found


def _sources(networks: Iterable[Network]) -> list[str | None]:
    """The last address of each network: the first ones of a wide and a narrow one are often the same."""
    return [str(network.broadcast_address) for network in networks] or [None]
