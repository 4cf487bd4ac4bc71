"""The policy's language: from the nodes of a file to targets and rules."""

import re
from collections.abc import Mapping
from datetime import time
from ipaddress import ip_interface
from zoneinfo import ZoneInfo, available_timezones

from airtunnel.config.document import Node, Scalar, fault
from airtunnel.config.table import Table, address, choice, count, duration, likely, path, prose, raw, some, text, texts, whole
from airtunnel.config.values import cut
from airtunnel.model import TAG_NAMES, CredentialSpec, Limits, PrincipalKind, Protocol, Target
from airtunnel.policy.rules import NAME, Effect, Network, Rule, When, Who

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def name(node: Node) -> str:
    """The name of a target, a rule or a credential source."""
    word = raw(node)
    if not NAME.fullmatch(word):
        raise fault(node, f"`{cut(word)}` is no name; names are a-z, 0-9, `.`, `_`, `-`, at most 63 characters")
    return word


def read_target(key: Scalar, node: Node) -> Target:
    """The target under `key`, which is its name."""
    table = Table(node)
    where = table.need("address", address)
    protocol = table.need("protocol", choice(Protocol))
    tls, ca, server = table.take("tls", _tls, (not where.path, None, None))
    if tls and where.path:
        raise table.fault("tls", "a unix socket has no TLS; leave `tls` out")
    credential = table.take("credential", _credential, None)
    if credential and protocol is Protocol.TCP:
        raise table.fault("credential", "the gateway can log in for a client only where it knows the protocol, not in tcp")
    target = Target(
        name=name(key),
        protocol=protocol,
        address=where,
        place=key.place,
        database=table.take("database", text, None),
        description=table.take("description", prose, ""),
        labels=table.take("labels", _labels, {}),
        credential=credential,
        airflow_connection=table.take("airflow", whole(lambda inner: inner.need("connection", text)), None),
        tls=tls,
        tls_ca=ca,
        tls_name=server,
    )
    table.done()
    return target


def _labels(node: Node) -> Mapping[str, str]:
    return {key.text: text(value) for key, value in Table(node).entries()}


def _tls(node: Node) -> tuple[bool, str | None, str | None]:
    if isinstance(node, Scalar):
        if raw(node) != "off":
            raise fault(node, "`tls` is off, or a table of verify, ca and name")
        return False, None, None
    table = Table(node)
    if (verify := table.take("verify", raw, "full")) != "full":
        raise table.fault("verify", f"`verify` is full, not `{cut(verify)}`: an unverified server could be anybody")
    ca = table.take("ca", path, None)
    server = table.take("name", text, None)
    table.done()
    return True, None if ca is None else str(ca), server


def _credential(node: Node) -> CredentialSpec:
    """A source and its options. An option named `path` or `*_file` is a path, taken from the file's directory."""
    table = Table(node)
    source = table.need("source", name)
    options = {key.text: str(path(value)) if _is_path(key.text) else text(value) for key, value in table.entries()}
    return CredentialSpec(source, options, node.place)


def _is_path(option: str) -> bool:
    return option == "path" or option.endswith("_file")


def read_rule(node: Node) -> Rule:
    """One item of `rules`."""
    return whole(_rule)(node)


def _rule(table: Table) -> Rule:
    rule = table.need("name", name)
    if rule == "default":
        raise table.fault("name", "no rule may be called `default`: it is what decides when no rule does")
    effect = table.need("effect", choice(Effect))
    if "targets" not in table and "labels" not in table:
        raise table.fault(
            "name", f'{rule} does not say what it is about: `targets: [...]`, `labels: {{...}}`, or `targets: "*"`'
        )
    if effect is Effect.DENY:
        for key in ("require", "limits"):
            if key in table:
                raise table.fault(key, f"`{key}` has no meaning in a rule that denies")
    return Rule(
        name=rule,
        effect=effect,
        place=table.place,
        who=table.need("who", _who),
        targets=table.take("targets", texts, ()),
        labels=table.take("labels", _choices, {}),
        tags=table.take("tags", _tags, {}),
        require=table.take("require", _require, ()),
        when=table.take("when", whole(_when), None),
        networks=table.take("from", some(_network), ()),
        limits=table.take("limits", whole(_limits), Limits()),
    )


def _who(node: Node) -> Who:
    if isinstance(node, Scalar):
        if raw(node) != "anyone":
            raise fault(node, "`who` is a table of groups, users, claims, kind and issuer; or the word anyone")
        return Who()
    table = Table(node)
    if not table.node.entries:
        raise fault(node, "`who` is empty; if everybody is meant: `who: anyone`")
    who = Who(
        groups=table.take("groups", texts, ()),
        users=table.take("users", texts, ()),
        claims=table.take("claims", _choices, {}),
        kind=table.take("kind", choice(PrincipalKind), None),
        issuers=table.take("issuer", texts, ()),
    )
    table.done()
    return who


def _choices(node: Node) -> Mapping[str, tuple[str, ...]]:
    """Keys of the writer's own, each with the values of which one must fit."""
    table = Table(node)
    if not table.node.entries:
        raise fault(node, f"`{node.key}` is empty")
    return {key.text: texts(value) for key, value in table.entries()}


def _tags(node: Node) -> Mapping[str, tuple[str, ...]]:
    for key, _ in Table(node).entries():
        _tag(key, key.text)
    return _choices(node)


def _require(node: Node) -> tuple[str, ...]:
    tags = texts(node)
    for tag in tags:
        _tag(node, tag)
    return tuple(dict.fromkeys(tags))


def _tag(node: Node, tag: str) -> None:
    if tag not in TAG_NAMES:
        raise fault(node, f"there is no tag `{cut(tag)}`; tags are {', '.join(TAG_NAMES)}{likely(tag, TAG_NAMES)}")


def _limits(table: Table) -> Limits:
    plain = Limits()
    return Limits(
        duration=table.take("duration", duration, plain.duration),
        idle=table.take("idle", duration, None),
        connections=table.take("connections", count, None),
    )


def _network(node: Node) -> Network:
    written = text(node)
    try:
        interface = ip_interface(written)
    except ValueError as error:
        raise fault(node, f"`{cut(written)}` is not a network like 10.0.0.0/8") from error
    network: Network = interface.network
    if interface.ip != network.network_address:
        raise fault(node, f"`{written}` has bits outside its mask; did you mean `{network}`?")
    return network


def _when(table: Table) -> When:
    if not {"days", "hours"} & {key.text for key, _ in table.node.entries}:
        raise table.fault("timezone", "`when` says neither `days` nor `hours`")
    days = table.take("days", _days, (frozenset(range(7)), ""))
    start, end, hours = table.take("hours", _hours, (time(0), time(0), ""))
    zone = table.need("timezone", _zone)
    return When(zone, days[0], start, end, " ".join(part for part in (days[1], hours, zone.key) if part))


def _days(node: Node) -> tuple[frozenset[int], str]:
    found: set[int] = set()
    for written in texts(node):
        first, dash, last = written.partition("-")
        for day in (first, last) if dash else (first,):
            if day not in DAYS:
                raise fault(node, f"`{cut(written)}` is no day; say mon, tue, wed, thu, fri, sat, sun or a span like mon-fri")
        begin, end = DAYS.index(first), DAYS.index(last or first)
        found.update((begin + step) % 7 for step in range((end - begin) % 7 + 1))
    return frozenset(found), ",".join(texts(node))


def _hours(node: Node) -> tuple[time, time, str]:
    written = text(node)
    parts = re.fullmatch(r"([01][0-9]|2[0-3]):([0-5][0-9])-(?:([01][0-9]|2[0-3]):([0-5][0-9])|24:00)", written)
    if not parts:
        raise fault(node, f"`{cut(written)}` is not hours like 08:00-18:00")
    first, second, third, fourth = (int(part or 0) for part in parts.groups())
    start, end = time(first, second), time(third, fourth)
    if start == end and not written.endswith("24:00"):
        raise fault(node, f"`{written}` begins and ends at once; for the whole day say 00:00-24:00")
    return start, end, written


def _zone(node: Node) -> ZoneInfo:
    written = text(node)
    try:
        return ZoneInfo(written)
    except (ValueError, OSError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError
        zones = available_timezones()
        guess = likely(written, zones) if zones else "; this machine has no time zones: pip install tzdata"
        raise fault(node, f"there is no time zone `{cut(written)}`{guess}") from error
