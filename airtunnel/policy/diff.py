"""What a change of policy would have allowed or refused, among requests that were made or might be.

A difference is what somebody would notice: a yes that becomes a no, a no that becomes a yes, other limits, or a yes by another
rule. A no stays a no, whichever rule came nearest to a yes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from airtunnel.model import Decision, Request, Tags
from airtunnel.policy.decide import decide
from airtunnel.policy.rules import Policy


class Kind(StrEnum):
    """What became of a decision. The order is that of a report: what somebody loses is told first."""

    REFUSED = "refused"
    ALLOWED = "allowed"
    LIMITS = "limits"
    RULE = "rule"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and when it was made (aware)."""

    request: Request
    at: datetime


@dataclass(frozen=True, slots=True)
class Difference:
    """Requests of one principal for one target whose decision becomes another one in the same way.

    asked, old, new: the first of them, and what was and would be decided on it; count: how many; last: when the last was made
    """

    kind: Kind
    asked: Asked
    old: Decision
    new: Decision
    count: int
    last: datetime


@dataclass(frozen=True, slots=True)
class Comparison:
    """What two policies say to the same requests. `looked_at`: how many requests there were."""

    looked_at: int
    differences: tuple[Difference, ...]

    def count(self, kind: Kind) -> int:
        """How many requests changed in this way."""
        return sum(one.count for one in self.differences if one.kind is kind)


def compare(old: Policy, new: Policy, requests: Iterable[Asked]) -> Comparison:
    """The differences, by kind, then in the order in which they first occurred; each request is looked at once and not kept."""
    found: dict[tuple[str, ...], Difference] = {}
    looked_at = 0
    for asked in requests:
        looked_at += 1
        before, after = decide(old, asked.request, asked.at), decide(new, asked.request, asked.at)
        if (kind := _kind(before, after)) is None:
            continue
        who = asked.request.principal
        key = (kind, who.issuer, who.subject, who.name, *who.groups, "", asked.request.target, before.rule, after.rule)
        if (known := found.get(key)) is None:
            found[key] = Difference(kind, asked, before, after, 1, asked.at)
        else:
            found[key] = replace(known, count=known.count + 1, last=max(known.last, asked.at))
    order = list(Kind)
    return Comparison(looked_at, tuple(sorted(found.values(), key=lambda one: order.index(one.kind))))


def _kind(before: Decision, after: Decision) -> Kind | None:
    match before.allowed, after.allowed:
        case True, False:
            return Kind.REFUSED
        case False, True:
            return Kind.ALLOWED
        case True, True if before.limits != after.limits:
            return Kind.LIMITS
        case True, True if before.rule != after.rule:
            return Kind.RULE
    return None


def phrase(tags: Tags, source: str | None) -> str:
    """What else a request said: `dag_id=billing, from 10.1.2.3`."""
    said = [f"{tag}={value}" for tag, value in tags.said().items()]
    return ", ".join([*said, f"from {source}"] if source else said)
