"""What is wrong with a policy that can be read: rules that do nothing, and rules that do more than was meant.

A rule that is said to do nothing does nothing: that is proven from what the rules say (shadow.py), never guessed.
"""

import difflib
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum

from airtunnel.config.values import cut
from airtunnel.model import Place, PrincipalKind, Target
from airtunnel.policy.conditions import covers
from airtunnel.policy.rules import ENVIRONMENT, Effect, Policy, Rule, Who
from airtunnel.policy.shadow import idle_rules, never_allowed

LONG = timedelta(hours=8)
"""A working day. Whoever needs more is a workload, or forgets a session."""
PRODUCTION = frozenset({"production", "prod", "live"})
"""What the label `env` says of targets that not everybody may reach."""
OWNED = frozenset({"repository", "repository_owner", "job_workflow_ref", "workflow_ref", "project_path", "namespace_path"})
"""Claims that begin with who owns what runs. Anybody may own something: the issuer is everybody's."""
NUMBERED = frozenset({"repository_id", "repository_owner_id", "project_id", "namespace_id"})
"""Claims that say the same by number."""


class Level(StrEnum):
    """error: it does nothing, or cannot be what was meant; warning: it works, and is worth a look."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing worth telling. `about`: the name of the rule or target."""

    place: Place
    level: Level
    text: str
    about: str


def lint(policy: Policy, groups: Collection[str] | None = None) -> list[Finding]:
    """The findings, in the order of files and lines.

    groups: all that the providers know, where that is known; together with those that the policy names under `groups`.
    Without either, no group is called unknown.
    """
    known = policy.groups.union(groups or ())
    idle = idle_rules(policy)
    found = []
    for rule in policy.rules:
        if rule.name in idle:
            why = idle[rule.name]
            found.append(Finding(rule.place, Level.ERROR if why.fatal else Level.WARNING, f"{rule.name} {why.text}", rule.name))
        found += [Finding(rule.place, Level.ERROR, text, rule.name) for text in _unknown(rule, known)]
        found += [Finding(rule.place, Level.WARNING, text, rule.name) for text in _generous(policy, rule)]
    found += [Finding(target.place, Level.WARNING, text, target.name) for target, text in _unreachable(policy)]
    return sorted(found, key=lambda one: (one.place.file, one.place.line, one.place.column))


def _unknown(rule: Rule, groups: Collection[str]) -> Iterator[str]:
    for group in rule.who.groups:
        if groups and group not in groups:
            guess = "".join(f"; did you mean `{close}`?" for close in difflib.get_close_matches(group, groups, 1))
            yield f"{rule.name} names group `{cut(group)}`, and there is none{guess}"


def _generous(policy: Policy, rule: Rule) -> Iterator[str]:
    """What a rule that allows gives to more people, or for longer, than anybody should mean."""
    if rule.effect is not Effect.ALLOW:
        return
    for claim, pattern in _of_anybody(rule.who.claims):
        yield f"{rule.name} takes `{claim}: {cut(pattern)}` from any owner: write the owner out, up to the first `/`"
    if replace(rule.who, kind=None, issuers=()) == Who():
        if rule.who.kind is PrincipalKind.WORKLOAD:
            yield f"{rule.name} allows every workload of its issuers: say which, by `claims` or `users`"
        elif names := [one.name for one in policy.targets.values() if covers(rule, one) and _is_production(one)]:
            yield f"{rule.name} lets everybody who can log in reach production: {', '.join(names)}"
    if rule.limits.duration > LONG:
        hours, most = rule.limits.duration / timedelta(hours=1), LONG / timedelta(hours=1)
        yield f"{rule.name} gives sessions of {hours:g} hours, more than {most:g}"


def _is_production(target: Target) -> bool:
    return target.labels.get(ENVIRONMENT, "").lower() in PRODUCTION


def _of_anybody(claims: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """The patterns that leave the owner open, unless another claim names one."""
    loose = [(claim, one) for claim, patterns in claims.items() for one in patterns if _is_loose(claim, one)]
    owned = [claim for claim in claims if claim in OWNED | NUMBERED or (claim == "sub" and loose)]
    named = [claim for claim in owned if not any(claim == one for one, _ in loose)]
    return [] if named else loose


def _is_loose(claim: str, pattern: str) -> bool:
    owner = pattern.partition("/")[0]
    if claim == "sub":
        return owner.startswith(("repo:", "project_path:")) and "*" in owner
    return claim in OWNED and "*" in owner


def _unreachable(policy: Policy) -> Iterator[tuple[Target, str]]:
    for target in policy.targets.values():
        allows = [rule for rule in policy.rules if rule.effect is Effect.ALLOW and covers(rule, target)]
        if not allows:
            yield target, f"nobody reaches {target.name}: no rule allows it"
        elif all(never_allowed(policy, rule, target) for rule in allows):
            names = " and ".join(rule.name for rule in allows)
            yield target, f"nobody reaches {target.name}: what {names} would allow is denied, or never happens"
