"""`policy explain` and `policy diff`: what a policy would say to one request, and what a change of it would mean for many."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.extras import need_extra
from airtunnel.cli.options import EnvironmentOption, JsonOption
from airtunnel.errors import Refused, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airtunnel.model import Decision, Limits, Principal, Request, Tags
    from airtunnel.policy.diff import Asked, Comparison, Difference
    from airtunnel.policy.explain import Near

TITLES = {
    "refused": "would be refused",
    "allowed": "would be allowed",
    "limits": "would have other limits",
    "rule": "would be allowed by another rule",
}
"""By the kind of a difference."""


def explain(
    path: Annotated[Path, typer.Argument(help="The policy: a directory, or a file.", metavar="PATH")],
    name: Annotated[str, typer.Option("--as", metavar="NAME", help="Who asks: the name in the login, like dev@example.com.")],
    target: Annotated[str, typer.Option(metavar="NAME", help="What for.")],
    group: Annotated[list[str] | None, typer.Option(metavar="NAME", help="A group they are in. Repeatable.")] = None,
    claim: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="A claim of their login. Repeatable.")] = None,
    kind: Annotated[str, typer.Option(metavar="person|workload", help="What they are.")] = "person",
    issuer: Annotated[str | None, typer.Option(metavar="URL", help="Who vouches for them.")] = None,
    tag: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A tag, like dag_id=billing or reason=TEXT. Repeatable.")
    ] = None,
    at: Annotated[str | None, typer.Option(metavar="TIME", help="When: 2026-11-22T03:00Z. Default: now.")] = None,
    source: Annotated[str | None, typer.Option("--from", metavar="IP", help="From which address.")] = None,
    environment: EnvironmentOption = None,
    json: JsonOption = False,
) -> int:
    """Say what a policy would decide, and by which rule.

    \b
    airtunnel policy explain policy --as dev@example.com --group data-eng --target postgres-prod
    airtunnel policy explain policy --as dev@example.com --target postgres-prod \\
        --tag dag_id=billing --at 2026-11-22T03:00Z --from 10.1.2.3

    Exit code 0 if it would be allowed, 77 if not.
    """
    need_extra("gateway")
    from airtunnel.model import Request
    from airtunnel.policy.decide import decide
    from airtunnel.policy.explain import nearest
    from airtunnel.policy.load import load_policy

    moment = _moment(at)
    who = _principal(name, kind, issuer, tuple(group or ()), claim or [])
    request = Request(who, target, _tags(tag or []), _address(source))
    policy = load_policy(path, environment)
    decision = decide(policy, request, moment)
    near = nearest(policy, request, moment, decision)
    if json:
        output.document(_decided(decision, moment) | {"near": [_near(one) for one in near]})
    else:
        _show(request, moment, decision, near)
    return 0 if decision.allowed else Refused.exit_code


def diff(
    old: Annotated[str, typer.Argument(help="The policy before: a path, or REVISION:PATH of a git repository.", metavar="OLD")],
    new: Annotated[str, typer.Argument(help="The policy after: the same.", metavar="NEW")],
    replay: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="An audit file, or a directory of them: ask what was asked then. Repeatable."),
    ] = None,
    json: JsonOption = False,
) -> int:
    """Say for whom a change of policy changes anything.

    \b
    airtunnel policy diff main:policy policy
    airtunnel policy diff HEAD~1:policy/ policy --replay audit/audit.jsonl

    With --replay it asks both policies what was asked of a gateway, by the grants and refusals in its audit. Without, it asks
    for all that stands in either policy: people, groups, targets, tags, times and networks; that is a sample, and no proof.
    Exit code 0 if nothing changes, 1 if something does.
    """
    need_extra("gateway")
    from airtunnel.audit.asked import asked_in
    from airtunnel.audit.search import read_entries, whole_audit
    from airtunnel.policy.diff import compare
    from airtunnel.policy.population import population
    from airtunnel.policy.revision import load_revision

    before, after = load_revision(old), load_revision(new)
    asked: Iterator[Asked] = population(before, after)
    if replay:
        # A last line without its end was never acknowledged: it is no record.
        entries = read_entries(whole_audit(replay), lambda _: None)
        asked = (one for entry in entries for one in asked_in(entry.fields))
    found = compare(before, after, asked)
    if json:
        differences = [_difference(one, recorded=bool(replay)) for one in found.differences]
        output.document({"requests": found.looked_at, "recorded": bool(replay), "differences": differences})
    else:
        for one in found.differences:
            _show_difference(one, recorded=bool(replay))
    output.note(_summary(found, recorded=bool(replay)))
    return 1 if found.differences else 0


def _moment(written: str | None) -> datetime:
    from airtunnel.policy.moment import parse_moment

    if written is None:
        return datetime.now(UTC)
    try:
        return parse_moment(written)
    except ValueError as error:
        raise UsageError(f"--at: {error}") from error


def _principal(name: str, kind: str, issuer: str | None, groups: tuple[str, ...], claims: list[str]) -> "Principal":
    from airtunnel.model import Principal, PrincipalKind
    from airtunnel.policy.cases import UNNAMED

    if kind not in list(PrincipalKind):
        raise UsageError(f"--kind is person or workload, not `{kind}`")
    values: dict[str, list[str]] = {}
    for claim, value in _pairs("--claim", claims):
        values.setdefault(claim, []).append(value)
    return Principal(PrincipalKind(kind), issuer or UNNAMED, "", name, groups, values)


def _tags(written: list[str]) -> "Tags":
    from airtunnel.policy.cases import tags_of

    try:
        return tags_of(dict(_pairs("--tag", written)))
    except ValueError as error:
        raise UsageError(f"--tag: {error}") from error


def _address(written: str | None) -> str | None:
    from ipaddress import ip_address

    try:
        return None if written is None else str(ip_address(written))
    except ValueError as error:
        raise UsageError(f"--from: `{written}` is not an IP address") from error


def _pairs(option: str, written: list[str]) -> list[tuple[str, str]]:
    for one in written:
        if not one.partition("=")[1]:
            raise UsageError(f"{option} is NAME=VALUE, not `{one}`")
    return [(one.partition("=")[0], one.partition("=")[2]) for one in written]


def _show(request: "Request", moment: datetime, decision: "Decision", near: "tuple[Near, ...]") -> None:
    may = "may reach" if decision.allowed else "may not reach"
    lines = [f"{request.principal.name} {may} {request.target} at {stamp(moment)}"]
    lines += [f"  rule     {decision.rule} ({decision.place})", *(f"           {reason}" for reason in decision.reasons)]
    if decision.allowed:
        lines.append(f"  limits   {_limits(decision.limits)}")
    if decision.commit:
        lines.append(f"  commit   {decision.commit}")
    if near:
        lines.append("Other rules that came near:")
    for one in near:
        lines.append(f"  {one.rule.name} ({one.rule.place}) {one.verdict}{', but' if one.changes else ''}")
        lines += [f"    {change}" for change in one.changes]
    for line in lines:
        output.data(output.clean(line))


def _show_difference(one: "Difference", *, recorded: bool) -> None:
    from airtunnel.policy.cases import answer
    from airtunnel.policy.diff import Kind, phrase

    request = one.asked.request
    often = f"{one.count} times" if one.count > 1 else "once"
    when = stamp(one.asked.at) if one.asked.at == one.last else f"{stamp(one.asked.at)} to {stamp(one.last)}"
    told = [often, when] if recorded else [f"for example {stamp(one.asked.at)}"]
    told += [said] if (said := phrase(request.tags, request.source)) else []
    output.data(output.clean(f"{TITLES[one.kind]}: {_who(request.principal)} to {request.target}; {', '.join(told)}"))
    for word, decision in (("old", one.old), ("new", one.new)):
        limits = f": {_limits(decision.limits)}" if one.kind is Kind.LIMITS else ""
        output.data(output.clean(f"  {word}: {answer(decision)}{limits}"))


def _summary(found: "Comparison", *, recorded: bool) -> str:
    from airtunnel.policy.diff import Kind

    asked = f"{found.looked_at} {'recorded' if recorded else 'made-up'} requests"
    if not found.differences:
        return f"{asked}: no difference"
    return f"{asked}: " + ", ".join(f"{count} {TITLES[kind]}" for kind in Kind if (count := found.count(kind)))


def _who(principal: "Principal") -> str:
    # The claims of a recorded login are many, and its name says whose they are.
    claims = [f"{name}={value}" for name, value in principal.claims.items()] if not principal.subject else []
    known = ", ".join([*(["workload"] if principal.kind == "workload" else []), *principal.groups, *claims])
    return f"{principal.name} ({known})" if known else principal.name


def _limits(limits: "Limits") -> str:
    from dataclasses import fields

    given = {one.name: value for one in fields(limits) if (value := getattr(limits, one.name)) is not None}
    return ", ".join(f"{name} {output.span(value) if isinstance(value, timedelta) else value}" for name, value in given.items())


def _decided(decision: "Decision", moment: datetime) -> dict[str, object]:
    return {
        "allowed": decision.allowed,
        "outcome": decision.outcome,
        "at": moment.isoformat(),
        "rule": decision.rule,
        "place": str(decision.place),
        "reasons": list(decision.reasons),
        "hint": decision.hint,
        "commit": decision.commit,
        "limits": _limits_json(decision.limits) if decision.allowed else None,
    }


def _limits_json(limits: "Limits") -> dict[str, object]:
    """Durations in seconds."""
    from dataclasses import asdict

    return {name: one.total_seconds() if isinstance(one, timedelta) else one for name, one in asdict(limits).items()}


def _near(one: "Near") -> dict[str, object]:
    return {"rule": one.rule.name, "place": str(one.rule.place), "verdict": one.verdict, "changes": list(one.changes)}


def _difference(one: "Difference", *, recorded: bool) -> dict[str, object]:
    request = one.asked.request
    return {
        "kind": one.kind,
        "who": request.principal.name,
        "groups": list(request.principal.groups),
        "target": request.target,
        "tags": request.tags.said(),
        "source": request.source,
        "at": one.asked.at.isoformat(),
        "last": one.last.isoformat(),
        "count": one.count if recorded else None,
        "old": _decided(one.old, one.asked.at),
        "new": _decided(one.new, one.asked.at),
    }


def stamp(moment: datetime) -> str:
    """A moment, in the zone in which it was written: `Sun 2026-11-22 03:00 UTC`."""
    day = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[moment.weekday()]
    return f"{day} {moment:%Y-%m-%d %H:%M} {moment.tzname() or ''}".rstrip()
