"""Rules that could as well not be there: they can never match, or others decide in their place."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from airtunnel.model import Place, Target
from airtunnel.policy.conditions import covers
from airtunnel.policy.rules import Effect, Policy, Rule
from airtunnel.policy.within import never, within


@dataclass(frozen=True, slots=True)
class Idle:
    """Why a rule does nothing, as a phrase about it. `fatal`: what it says never comes about; else others say it, too."""

    text: str
    fatal: bool


def idle_rules(policy: Policy) -> Mapping[str, Idle]:
    """The rules that can be taken out, by name: one of them or all at once, and everybody may do what they could before, with
    the same limits. (What a refusal names may be another rule.) Of rules that say the same, the first is not among them.
    """
    reach = {rule.name: frozenset(one.name for one in policy.targets.values() if covers(rule, one)) for rule in policy.rules}
    alive = [rule for rule in policy.rules if reach[rule.name] and never(rule) is None]
    idle: dict[str, Idle] = {}
    for rule in policy.rules:
        if not reach[rule.name]:
            idle[rule.name] = Idle("can never match: it speaks of no target", fatal=True)
        elif why := never(rule):
            idle[rule.name] = Idle(f"can never match: {why}", fatal=True)
        elif by := _instead(alive, reach, rule):
            idle[rule.name] = _covered(rule, by)
    return idle


def never_allowed(policy: Policy, rule: Rule, target: Target) -> bool:
    """Whether all that a rule would allow on a target is denied, or cannot be."""
    denies = (one for one in policy.rules if one.effect is Effect.DENY and covers(one, target))
    return never(rule) is not None or any(within(rule, one) for one in denies)


def _instead(alive: list[Rule], reach: Mapping[str, frozenset[str]], rule: Rule) -> tuple[Rule, ...]:
    """For each target of the rule another that decides in its place; nothing if one target has none."""
    at = alive.index(rule)
    wider = [(place, other) for place, other in enumerate(alive) if place != at and within(rule, other)]
    found: dict[str, Rule] = {}
    for target in sorted(reach[rule.name]):
        here = ((place, other) for place, other in wider if target in reach[other.name])
        instead = next(_takers(alive, reach, at, target, here), None)
        if instead is None:
            return ()
        found[instead.name] = instead
    return tuple(found.values())


def _takers(
    alive: list[Rule], reach: Mapping[str, frozenset[str]], at: int, target: str, wider: Iterator[tuple[int, Rule]]
) -> Iterator[Rule]:
    rule = alive[at]
    for place, other in wider:
        if other.effect is not rule.effect:
            if other.effect is Effect.DENY:
                yield other
        elif place < at:
            yield other
        # Of two that are as wide, the first stays.
        elif not within(other, rule):
            between = [one for one in alive[at + 1 : place + 1] if one.effect is Effect.ALLOW and target in reach[one.name]]
            # A narrow rule that comes first may be there for its limits.
            if rule.effect is Effect.DENY or all(one.limits == rule.limits for one in between):
                yield other


def _covered(rule: Rule, by: tuple[Rule, ...]) -> Idle:
    names = " and ".join(f"{one.name} ({one.place})" for one in by)
    several = len(by) > 1
    if not several and _meaning(by[0]) == _meaning(rule):
        return Idle(f"says the same as {names}", fatal=False)
    if rule.effect is Effect.DENY:
        return Idle(f"changes nothing: {names} {'deny' if several else 'denies'} all of it", fatal=False)
    if all(one.effect is Effect.DENY for one in by):
        return Idle(f"never allows anything: {names} {'deny' if several else 'denies'} all of it", fatal=True)
    if all(one.limits == rule.limits for one in by if one.effect is Effect.ALLOW):
        return Idle(f"changes nothing: {names} {'decide' if several else 'decides'} all of it", fatal=False)
    return Idle(f"never decides, so its limits never hold: {names} {'come' if several else 'comes'} first", fatal=True)


def _meaning(rule: Rule) -> Rule:
    return replace(rule, name="", place=Place("", 0))
