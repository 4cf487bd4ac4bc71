"""Cases beside a policy: who asks for what and when, and what the policy must say. Read strictly, run without I/O.

people:
  ana: {name: ana@example.com, groups: [data-eng]}
cases:
  - who: ana                       # or a table of name, groups, kind, claims, issuer
    target: postgres-prod
    tags: {dag_id: billing}
    at: 2026-11-22T03:00 Europe/Berlin
    from: 10.1.2.3
    expect: refuse                 # allow; deny: by a rule that denies; refuse: in whatever way
    rule: prod-is-for-on-call
    reason: needs group on-call    # a part of one of the reasons
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path

from airtunnel.config.document import Node, Scalar, fault, read_document
from airtunnel.config.table import Table, choice, each, likely, raw, text, texts, whole
from airtunnel.config.values import cut
from airtunnel.errors import ConfigError
from airtunnel.model import TAG_NAMES, Decision, Outcome, Place, Principal, PrincipalKind, Request, Tags
from airtunnel.policy.conditions import covers
from airtunnel.policy.decide import DEFAULT, decide
from airtunnel.policy.moment import parse_moment
from airtunnel.policy.rules import Policy

SUFFIX = ".test.yaml"
ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)
"""For a case that needs no time: what no rule looks at cannot matter, but must be the same at each run."""
UNNAMED = "nobody in particular"
"""The issuer of a principal of whom none is said."""


class Expect(StrEnum):
    """What a case expects."""

    ALLOW = "allow"
    DENY = "deny"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Case:
    """One request and the expected answer. `name`: what it shows, if that was written; `at`: None where it must not matter."""

    name: str
    place: Place
    request: Request
    at: datetime | None
    expect: Expect
    rule: str | None
    reason: str | None


@dataclass(frozen=True, slots=True)
class Result:
    """What the policy said to a case. `problems`: what is otherwise than expected, each a phrase; none: the case passed."""

    case: Case
    decision: Decision
    problems: tuple[str, ...]

    @property
    def passed(self) -> bool:
        return not self.problems


def load_cases(path: Path) -> tuple[Case, ...]:
    """The cases beside a policy: of all `*.test.yaml` in its directory and below; for a single file, of its `NAME.test.yaml`.

    Raises ConfigError: `policy/shop.test.yaml:12:5: ...`; an ExceptionGroup of them if several files are wrong.
    """
    path = path.absolute()
    files = sorted(path.rglob(f"*{SUFFIX}")) if path.is_dir() else [path.with_name(path.stem + SUFFIX)]
    cases: list[Case] = []
    broken: list[ConfigError] = []
    for file in files:
        try:
            cases += read_cases(read_document(file, str(file.relative_to(path.parent))))
        except ConfigError as error:
            broken.append(error)
    if len(broken) > 1:
        raise ExceptionGroup("several files of cases are wrong", broken)
    if broken:
        raise broken[0]
    return tuple(cases)


def read_cases(node: Node) -> tuple[Case, ...]:
    """The cases of one file. Raises ConfigError."""
    table = Table(node)
    people = table.take("people", _people, {})
    cases = table.need("cases", each(whole(_case(people))))
    table.done()
    return cases


def run_case(policy: Policy, case: Case) -> Result:
    """The policy's answer, and what is wrong with it."""
    decision = decide(policy, case.request, case.at or ANY_TIME)
    return Result(case, decision, tuple(_problems(policy, case, decision)))


def undecided(policy: Policy, results: tuple[Result, ...]) -> tuple[str, ...]:
    """The rules of the policy that no case names or meets: nobody would notice if they changed."""
    met = {result.decision.rule for result in results}
    return tuple(rule.name for rule in policy.rules if rule.name not in met)


def answer(decision: Decision) -> str:
    """A decision in a line: `refuse by default (policy/shop.yaml:3): no rule speaks of legacy`."""
    word = {Outcome.ALLOWED: Expect.ALLOW, Outcome.DENIED: Expect.DENY}.get(decision.outcome, Expect.REFUSE)
    why = f": {'; '.join(decision.reasons)}" if decision.reasons else ""
    return f"{word} by {decision.rule} ({decision.place}){why}"


def _problems(policy: Policy, case: Case, decision: Decision) -> Iterator[str]:
    if case.at is None and (clock := _clock_rule(policy, case)) is not None:
        yield f"needs `at`, because {clock} looks at the clock"
        return
    right = {Expect.ALLOW: decision.allowed, Expect.DENY: decision.outcome is Outcome.DENIED}
    if not right.get(case.expect, not decision.allowed) or case.rule not in (None, decision.rule):
        yield f"expected {case.expect}{_by(policy, case.rule)}; got {answer(decision)}"
    elif case.reason is not None and not any(case.reason in reason for reason in decision.reasons):
        yield f"expected a reason with `{case.reason}`; got {answer(decision)}"


def _by(policy: Policy, rule: str | None) -> str:
    names = [DEFAULT, *(one.name for one in policy.rules)]
    if rule is None:
        return ""
    return f" by {rule}" if rule in names else f" by {rule} (there is no such rule{likely(rule, names)})"


def _clock_rule(policy: Policy, case: Case) -> str | None:
    """A rule about the case's target whose answer depends on the time."""
    target = policy.targets.get(case.request.target)
    return next((rule.name for rule in policy.rules if rule.when and target and covers(rule, target)), None)


def _people(node: Node) -> Mapping[str, Principal]:
    return {key.text: whole(_principal)(value) for key, value in Table(node).entries()}


def _case(people: Mapping[str, Principal]) -> Callable[[Table], Case]:
    def build(table: Table) -> Case:
        who = table.need("who", lambda node: _who(node, people))
        target = table.need("target", text)
        request = Request(who, target, table.take("tags", _tags, Tags()), table.take("from", _source, None))
        expect = table.need("expect", choice(Expect))
        reason = table.take("reason", text, None)
        if reason is not None and expect is Expect.ALLOW:
            raise table.fault("reason", "only a refusal has reasons")
        name = table.take("name", text, f"{who.name} asks for {target}")
        return Case(name, table.place, request, table.take("at", _moment, None), expect, table.take("rule", text, None), reason)

    return build


def _who(node: Node, people: Mapping[str, Principal]) -> Principal:
    if not isinstance(node, Scalar):
        return whole(_principal)(node)
    if (known := people.get(raw(node))) is None:
        raise fault(node, f"there is nobody called `{cut(node.text)}` in `people`{likely(node.text, people)}")
    return known


def _principal(table: Table) -> Principal:
    return Principal(
        kind=table.take("kind", choice(PrincipalKind), PrincipalKind.PERSON),
        issuer=table.take("issuer", text, UNNAMED),
        subject="",
        name=table.need("name", text),
        groups=table.take("groups", _groups, ()),
        claims=table.take("claims", _claims, {}),
    )


def _groups(node: Node) -> tuple[str, ...]:
    """Also none at all: `groups: []`."""
    return texts(node) if isinstance(node, Scalar) else each(text)(node)


def _claims(node: Node) -> Mapping[str, str | tuple[str, ...]]:
    claims = Table(node).entries()
    return {key.text: text(value) if isinstance(value, Scalar) else each(text)(value) for key, value in claims}


def _tags(node: Node) -> Tags:
    said: dict[str, str] = {}
    for key, value in Table(node).entries():
        if key.text not in TAG_NAMES:
            raise fault(key, f"there is no tag `{cut(key.text)}`{likely(key.text, TAG_NAMES)}")
        said[key.text] = text(value)
    try:
        return tags_of(said)
    except ValueError as error:
        raise fault(node, str(error)) from error


def tags_of(said: Mapping[str, str]) -> Tags:
    """Tags from texts. Raises ValueError with a phrase, if one is unknown or should be a number."""
    for tag, value in said.items():
        if tag not in TAG_NAMES:
            raise ValueError(f"there is no tag `{cut(tag)}`{likely(tag, TAG_NAMES)}")
        # -1 is what Airflow gives a task that is not mapped.
        if tag in ("try_number", "map_index") and not value.removeprefix("-").isdecimal():
            raise ValueError(f"tag {tag} is a whole number, not `{cut(value)}`")
    number = {tag: int(value) for tag, value in said.items() if tag in ("try_number", "map_index")}
    return Tags(
        dag_id=said.get("dag_id"),
        task_id=said.get("task_id"),
        run_id=said.get("run_id"),
        try_number=number.get("try_number"),
        map_index=number.get("map_index"),
        reason=said.get("reason"),
        ticket=said.get("ticket"),
    )


def _moment(node: Node) -> datetime:
    try:
        return parse_moment(text(node))
    except ValueError as error:
        raise fault(node, str(error)) from error


def _source(node: Node) -> str:
    try:
        return str(ip_address(text(node)))
    except ValueError as error:
        raise fault(node, f"`{cut(node.text if isinstance(node, Scalar) else '')}` is not an IP address") from error
