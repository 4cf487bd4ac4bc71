"""What a rule asks for, and in which words it says that it was not given."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from fnmatch import fnmatchcase
from ipaddress import IPv4Address, IPv6Address, ip_address

from airtunnel.config.values import cut
from airtunnel.model import Principal, PrincipalKind, Request, Tags, Target
from airtunnel.policy.rules import Effect, Rule, When, Who

SHOWN_MAX = 10
"""Of a list: some people have hundreds of groups, and a refusal must fit into a database's error message."""


@dataclass(frozen=True, slots=True)
class Unmet:
    """One condition that was not met. `kind` is the rule's key: who, tags, require, when, from."""

    kind: str
    phrase: str
    tag: str | None = None


def covers(rule: Rule, target: Target) -> bool:
    """Whether the rule speaks of this target. Globs: `*`, `?`, `[ab]`; upper and lower case differ."""
    if rule.targets and not any(fnmatchcase(target.name, glob) for glob in rule.targets):
        return False
    return all(target.labels.get(label) in values for label, values in rule.labels.items())


def unmet(rule: Rule, request: Request, now: datetime) -> Iterator[Unmet]:
    """What the rule asks for and the request does not have. Nothing: the rule matches, if it covers the target."""
    principal = request.principal
    if rule.effect is Effect.DENY and rule.who.groups and not principal.groups_known:
        # Whoever leaves the groups out of their token must not get past a rule that keeps a group out.
        principal = replace(principal, groups=rule.who.groups)
    yield from _who(rule.who, principal)
    yield from _tags(rule, request.tags)
    if rule.when and not _within(rule.when, local := now.astimezone(rule.when.zone)):
        yield Unmet("when", f"only {rule.when.phrase}; it is {_clock(local)}")
    if rule.networks and not _comes_from(rule, request.source):
        yield Unmet("from", f"only from {_either(map(str, rule.networks))}; you come from {_address(request.source)}")


def _who(who: Who, principal: Principal) -> Iterator[Unmet]:
    if who.groups and not set(who.groups) & set(principal.groups):
        yield Unmet("who", f"needs group {_either(who.groups)}; you are in{_listed(principal.groups)}")
    if who.users and principal.name not in who.users:
        yield Unmet("who", f"needs user {_either(who.users)}; you are {principal.name}")
    for claim, wanted in who.claims.items():
        has = _claim_values(principal.claims.get(claim))
        if not any(claim_fits(value, pattern) for value in has for pattern in wanted):
            like = "like " if any("*" in pattern for pattern in wanted) else ""
            yours = ", ".join(map(cut, has[:SHOWN_MAX])) or "not known"
            yield Unmet("who", f"needs {claim} {like}{_either(wanted)}; yours is {yours}")
    if who.kind and principal.kind is not who.kind:
        yield Unmet("who", f"needs a {who.kind}; you are a {principal.kind}")
    if who.issuers and principal.issuer not in who.issuers:
        yield Unmet("who", f"needs a login from {_either(who.issuers)}; yours is from {principal.issuer}")


def _tags(rule: Rule, tags: Tags) -> Iterator[Unmet]:
    said = {tag: str(value) for tag, value in tags.said().items()}
    for tag, globs in rule.tags.items():
        if tag not in said:
            yield Unmet("tags", f"needs tag {tag} like {_either(globs)}; you said none", tag)
        elif not any(fnmatchcase(said[tag], glob) for glob in globs):
            yield Unmet("tags", f"needs tag {tag} like {_either(globs)}; you said {cut(said[tag])}", tag)
    for tag in rule.require:
        if not said.get(tag, "").strip():
            yield Unmet("require", f"needs a {tag} (--{tag})" if tag in ("reason", "ticket") else f"needs tag {tag}", tag)


def claim_fits(value: str, pattern: str) -> bool:
    """Whether a claim's value is what the policy wrote, where `*` stands for any text, also for none."""
    return fnmatchcase(value, pattern.replace("[", "[[]").replace("?", "[?]"))


def _claim_values(value: object) -> tuple[str, ...]:
    """A claim's values as a policy would write them. Objects cannot be written there, and so fit nothing."""
    match value:
        case bool():
            return ("true" if value else "false",)
        case str() | int():
            return (str(value),)
        case list() | tuple():
            return tuple(text for item in value if isinstance(item, str | int) for text in _claim_values(item))
    return ()


def _within(when: When, local: datetime) -> bool:
    clock = local.time()
    if when.start < when.end or when.end == time(0):
        return local.weekday() in when.days and when.start <= clock and (when.end == time(0) or clock < when.end)
    # Over midnight: what is left of the window in the morning belongs to the day before.
    if clock >= when.start:
        return local.weekday() in when.days
    return clock < when.end and (local - timedelta(days=1)).weekday() in when.days


def _comes_from(rule: Rule, source: str | None) -> bool:
    """Whether the client is in one of the networks. Where it is not known, that speaks against the client."""
    address = _parse(source)
    if address is None:
        return rule.effect is Effect.DENY
    return any(address in network for network in rule.networks)


def _parse(source: str | None) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(source or "")
    except ValueError:
        return None
    # A socket that listens on both families names IPv4 clients as ::ffff:10.0.0.1.
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _address(source: str | None) -> str:
    return str(_parse(source) or "an unknown address")


def _clock(local: datetime) -> str:
    # Not strftime's %a: that speaks the machine's language.
    return f"{('Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun')[local.weekday()]} {local:%H:%M}"


def _either(words: Iterable[str]) -> str:
    *most, last = words
    if len(most) >= SHOWN_MAX:
        return f"{', '.join(most[:SHOWN_MAX])} or one of {len(most) + 1 - SHOWN_MAX} more"
    return f"{', '.join(most)} or {last}" if most else last


def _listed(groups: tuple[str, ...]) -> str:
    if not groups:
        return " no group"
    more = f" and {len(groups) - SHOWN_MAX} more" if len(groups) > SHOWN_MAX else ""
    return f": {', '.join(map(cut, groups[:SHOWN_MAX]))}{more}"


def describe(rule: Rule) -> str:
    """Whom a rule that denies is meant for, in a phrase: `denied to group contractors, from 10.0.0.0/8`."""
    who = rule.who
    parts = [f"group {_either(who.groups)}"] if who.groups else []
    parts += [f"user {_either(who.users)}"] if who.users else []
    parts += [f"{claim} {_either(values)}" for claim, values in who.claims.items()]
    parts += ["persons" if who.kind is PrincipalKind.PERSON else "workloads"] if who.kind else []
    parts += [f"logins from {_either(who.issuers)}"] if who.issuers else []
    phrase = "denied to " + (" with ".join(parts) or "anyone")
    phrase += "".join(f", with tag {tag} like {_either(globs)}" for tag, globs in rule.tags.items())
    phrase += f", {rule.when.phrase}" if rule.when else ""
    return phrase + (f", from {_either(map(str, rule.networks))}" if rule.networks else "")
