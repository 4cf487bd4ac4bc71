"""Allow or refuse, and why: the policy's answer to a request.

    any deny rule matches                  DENIED    its name
    else the first allow rule that matches ALLOWED   its name and limits
    else the allow rule that came nearest  UNMET     its name, and what it still asks for
    else                                   DEFAULT   nothing speaks of this target, or there is no such target

Pure: the clock, the request and the policy come in, a decision goes out.
"""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from airtunnel.config.values import cut
from airtunnel.model import Decision, Outcome, Request, Target
from airtunnel.policy.conditions import Unmet, covers, describe, unmet
from airtunnel.policy.rules import Effect, Policy, Rule

DEFAULT = "default"
GUESSES = 20
"""How many targets are tried for a hint: each costs a decision, and a refusal must stay cheap, however large the policy."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one rule says to one request. `covers`: it speaks of the target; `unmet`: what it asks for beyond that."""

    rule: Rule
    covers: bool
    unmet: tuple[Unmet, ...]

    @property
    def matched(self) -> bool:
        return self.covers and not self.unmet


def decide(policy: Policy, request: Request, now: datetime) -> Decision:
    """The decision on a request at a time (aware). A refusal has a hint: the next command to type."""
    decision = _judge(policy, request, now)
    if decision.allowed:
        return decision
    if request.target in policy.targets:
        return replace(
            decision, hint=decision.hint or _connect(_reachable(policy, request, _alike(policy, request.target), now))
        )
    # Only what may be reached anyway: a guess must not tell what else there is.
    close = _reachable(policy, request, difflib.get_close_matches(request.target, policy.targets, GUESSES), now)
    guess = f"; did you mean `{close}`?" if close else ""
    return replace(decision, reasons=(f"there is no target `{cut(request.target)}`{guess}",), hint=_connect(close))


def survey(policy: Policy, request: Request, now: datetime) -> Mapping[str, Decision]:
    """The decision on every target, by its name; the request's own target is not looked at.

    Without hints to other targets: whoever reads them all sees the others, and looking for each would cost their square.
    """
    return {name: _judge(policy, replace(request, target=name), now) for name in policy.targets}


def explain(policy: Policy, request: Request, now: datetime) -> tuple[Judgement, ...]:
    """What every rule says, in the policy's order."""
    target = policy.targets.get(request.target)
    return tuple(
        Judgement(rule, target is not None and covers(rule, target), tuple(unmet(rule, request, now))) for rule in policy.rules
    )


def _judge(policy: Policy, request: Request, now: datetime) -> Decision:
    if now.tzinfo is None:
        raise ValueError("the time of a decision has no time zone")
    target = policy.targets.get(request.target)
    if target is None:
        return Decision(Outcome.DEFAULT, DEFAULT, policy.place, commit=policy.commit)
    judgements = [Judgement(rule, True, tuple(unmet(rule, request, now))) for rule in policy.rules if covers(rule, target)]
    denies = [one.rule for one in judgements if one.matched and one.rule.effect is Effect.DENY]
    allows = [one for one in judgements if one.rule.effect is Effect.ALLOW]
    allowing = next((one.rule for one in allows if one.matched), None)
    if denies:
        return _denied(policy, denies, allowing is not None)
    if allowing:
        return Decision(Outcome.ALLOWED, allowing.name, allowing.place, limits=allowing.limits, commit=policy.commit)
    if allows:
        return _nearest(policy, request.target, allows)
    return Decision(Outcome.DEFAULT, DEFAULT, target.place, (f"no rule speaks of {target.name}",), commit=policy.commit)


def _denied(policy: Policy, denies: list[Rule], allowed_else: bool) -> Decision:
    """The first of the rules that deny. When all of them end with the clock and a rule allows, waiting helps."""
    first = denies[0]
    for_now = allowed_else and all(rule.when for rule in denies)
    return Decision(Outcome.DENIED, first.name, first.place, (describe(first),), for_now=for_now, commit=policy.commit)


def _nearest(policy: Policy, target: str, allows: list[Judgement]) -> Decision:
    nearest = min(allows, key=lambda one: len(one.unmet))  # the first of several
    flags = [one.tag for one in nearest.unmet if one.kind == "require" and one.tag in ("reason", "ticket")]
    said = " ".join(f"--{flag} TEXT" for flag in flags)
    return Decision(
        Outcome.UNMET,
        nearest.rule.name,
        nearest.rule.place,
        tuple(one.phrase for one in nearest.unmet),
        for_now=all(one.kind == "when" for one in nearest.unmet),
        hint=f"airtunnel connect {target} {said}" if len(flags) == len(nearest.unmet) else None,
        commit=policy.commit,
    )


def _reachable(policy: Policy, request: Request, names: Iterable[str], now: datetime) -> str | None:
    """The first of these targets that the same request could have had instead."""
    return next((name for name in names if _judge(policy, replace(request, target=name), now).allowed), None)


def _alike(policy: Policy, wanted: str) -> list[str]:
    """What is most like the wanted target: same protocol, then words of the name, database, labels in common."""
    refused = policy.targets[wanted]

    def likeness(other: Target) -> tuple[int, int, int]:
        words = len(_words(other.name) & _words(wanted))
        database = int(other.database is not None and other.database == refused.database)
        return words, database, len(other.labels.items() & refused.labels.items())

    others = {
        one.name: likeness(one) for one in policy.targets.values() if one.protocol is refused.protocol and one is not refused
    }
    alike = [name for name, points in others.items() if any(points)]
    return sorted(alike, key=others.__getitem__, reverse=True)[:GUESSES]


def _words(name: str) -> set[str]:
    return set(re.split(r"[._-]+", name))


def _connect(target: str | None) -> str:
    return f"airtunnel connect {target}" if target else "airtunnel targets"
