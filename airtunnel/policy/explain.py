"""Which rules came near a decision, and what would have to change for each of them to decide otherwise.

refused   the rules that would allow it, and what each still asks for; the rules that deny it
allowed   the rules that allow it, too; the rules that would deny it, and for whom they are meant
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from airtunnel.model import Decision, Request
from airtunnel.policy.conditions import describe
from airtunnel.policy.decide import Judgement, explain
from airtunnel.policy.rules import Effect, Policy, Rule

SHOWN = 5
"""Rules that are named: whoever reads more of them reads the policy instead."""


class Verdict(StrEnum):
    """What a rule says to a request."""

    ALLOWS = "allows it"
    DENIES = "denies it"
    WOULD_ALLOW = "would allow it"
    WOULD_DENY = "would deny it"


@dataclass(frozen=True, slots=True)
class Near:
    """A rule that came near. `changes`: what would have to change for it to match; nothing, if it does."""

    rule: Rule
    verdict: Verdict
    changes: tuple[str, ...] = ()


def nearest(policy: Policy, request: Request, now: datetime, decision: Decision) -> tuple[Near, ...]:
    """The rules, besides the one that decided, that matched or came nearest; at most SHOWN, the nearest first."""
    judged = [one for one in explain(policy, request, now) if one.rule.name != decision.rule]
    found = [*_matched(judged), *_would(judged, request.target, decision)]
    return tuple(found[:SHOWN])


def _matched(judged: Iterable[Judgement]) -> Iterator[Near]:
    for one in judged:
        if one.matched:
            yield Near(one.rule, Verdict.DENIES if one.rule.effect is Effect.DENY else Verdict.ALLOWS)


def _would(judged: Iterable[Judgement], target: str, decision: Decision) -> list[Near]:
    """Of an allowed request the rules that nearly deny it; of a refused one those that nearly allow it."""
    effect, verdict = (Effect.DENY, Verdict.WOULD_DENY) if decision.allowed else (Effect.ALLOW, Verdict.WOULD_ALLOW)
    near = [one for one in judged if one.rule.effect is effect and not one.matched and _is_near(one, decision)]
    # A rule about this target says more than one that would have to be widened to it.
    near.sort(key=lambda one: (not one.covers, len(one.unmet)))
    return [Near(one.rule, verdict, _changes(one, target)) for one in near]


def _is_near(one: Judgement, decision: Decision) -> bool:
    if decision.allowed:
        return one.covers
    return one.covers or not one.unmet


def _changes(one: Judgement, target: str) -> tuple[str, ...]:
    if one.rule.effect is Effect.DENY:
        return (f"it is {describe(one.rule)}",)
    reach = () if one.covers else (f"it does not speak of {target}",)
    return reach + tuple(unmet.phrase for unmet in one.unmet)
