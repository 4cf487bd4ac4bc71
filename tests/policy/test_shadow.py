"""What holds of any policy: a rule that is said to do nothing does nothing."""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from fnmatch import fnmatchcase
from ipaddress import ip_network
from zoneinfo import ZoneInfo

from hypothesis import event, given, settings
from hypothesis import strategies as st

from airtunnel.model import (
    TAG_NAMES,
    Address,
    Limits,
    Outcome,
    Place,
    Principal,
    PrincipalKind,
    Protocol,
    Request,
    Tags,
    Target,
)
from airtunnel.policy.conditions import claim_fits, unmet
from airtunnel.policy.decide import decide
from airtunnel.policy.rules import Effect, Policy, Rule, When, Who
from airtunnel.policy.shadow import idle_rules, never_allowed
from airtunnel.policy.within import never, open_minutes, within

HERE = Place("p.yaml", 1)
TARGETS = {
    name: Target(name, Protocol.TCP, Address("h", 1), HERE, labels={"env": env})
    for name, env in (("one", "dev"), ("two", "dev"), ("two-b", "prod"))
}
ZONES = (ZoneInfo("UTC"), ZoneInfo("Europe/Berlin"))
MONDAY = datetime(2026, 3, 23, tzinfo=UTC)
"""In this week Berlin's clock goes forward."""


def few(*values: str, most: int = 2) -> st.SearchStrategy[tuple[str, ...]]:
    return st.lists(st.sampled_from(values), max_size=most).map(tuple)


def often_none(strategy: st.SearchStrategy[When]) -> st.SearchStrategy[When | None]:
    return st.one_of(st.none(), st.none(), strategy)


GLOBS = ("*", "x*", "x1", "x?", "x[1]", "?", "[*]", "*1", "-1", "1")
CLAIMS = ("*", "a/*", "a/b", "*/b", "a*", "[a]", "a/b*")
NETWORKS = ("10.0.0.0/8", "10.1.0.0/16", "10.0.0.0/9", "10.128.0.0/9", "::ffff:10.0.0.0/104", "fd00::/8", "fd00::/16")
whos = st.builds(
    Who,
    groups=few("a", "b", most=1) | few("a", "b"),
    users=few("ana", "bo", most=1),
    claims=st.dictionaries(st.just("sub"), st.lists(st.sampled_from(CLAIMS), min_size=1, max_size=2).map(tuple), max_size=1),
    kind=st.none() | st.sampled_from(PrincipalKind),
    issuers=few("i", "j", most=1),
)
windows = st.builds(
    When,
    zone=st.sampled_from(ZONES),
    days=st.frozensets(st.integers(0, 6)),
    start=st.sampled_from([time(0), time(8), time(22)]),
    end=st.sampled_from([time(0), time(6), time(18), time(22)]),
)
rules = st.builds(
    Rule,
    name=st.just("r"),
    effect=st.sampled_from(Effect),
    place=st.just(HERE),
    who=st.just(Who()) | whos,
    targets=st.sampled_from([("*",), ("*",), ("one",), ("two*",), ("two", "one"), ("gone",)]),
    labels=st.sampled_from([{}, {}, {"env": ("dev",)}, {"env": ("dev", "prod")}]),
    tags=st.dictionaries(
        st.sampled_from(["dag_id", "try_number"]),
        st.lists(st.sampled_from(GLOBS), min_size=1, max_size=2).map(tuple),
        max_size=1,
    ),
    require=few("dag_id", "reason", most=1),
    when=often_none(windows),
    networks=st.just(()) | st.lists(st.sampled_from(NETWORKS).map(ip_network), max_size=2).map(tuple),
    limits=st.sampled_from([Limits(), Limits(idle=timedelta(minutes=5))]),
)
policies = st.lists(rules, min_size=2, max_size=5).map(
    lambda found: Policy(TARGETS, tuple(replace(one, name=f"r{number}") for number, one in enumerate(found)), HERE)
)
requests = st.builds(
    Request,
    principal=st.builds(
        Principal,
        kind=st.sampled_from(PrincipalKind),
        issuer=st.sampled_from(["i", "j"]),
        subject=st.just("s"),
        name=st.sampled_from(["ana", "bo"]),
        groups=few("a", "b"),
        claims=st.dictionaries(st.just("sub"), st.sampled_from(["a/b", "a/", "ab", "*", "[a]", ["x/b", "a/b"]]), max_size=1),
    ),
    target=st.sampled_from(list(TARGETS)),
    tags=st.builds(
        Tags,
        dag_id=st.sampled_from([None, " ", "x", "x1", "x12", "*", "?", "y1", "x[1]"]),
        reason=st.sampled_from([None, "", "because"]),
        try_number=st.sampled_from([None, 1, 2, 11]),
    ),
    source=st.sampled_from([None, "10.1.2.3", "10.200.0.1", "::ffff:10.1.2.3", "fd00::1", "fd01::1", "192.0.2.1"]),
)
moments = st.integers(0, 7 * 24 * 2 - 1).map(lambda halves: MONDAY + timedelta(minutes=30 * halves))


def access(policy: Policy, request: Request, now: datetime) -> tuple[bool, bool, Limits]:
    """What a person meets: allowed or denied, and for how long."""
    decision = decide(policy, request, now)
    return decision.allowed, decision.outcome is Outcome.DENIED, decision.limits


def deciding(policy: Policy, request: Request, now: datetime) -> str:
    decision = decide(policy, request, now)
    return decision.rule if decision.outcome in (Outcome.ALLOWED, Outcome.DENIED) else ""


asked = st.lists(st.tuples(requests, moments), min_size=1, max_size=20)


@given(policies, asked)
def test_a_rule_that_is_said_to_be_dead_never_decides(policy: Policy, asked: list[tuple[Request, datetime]]) -> None:
    dead = {name for name, why in idle_rules(policy).items() if why.fatal}
    event(f"{len(dead)} dead")
    for request, now in asked:
        assert deciding(policy, request, now) not in dead


@given(policies, asked)
def test_rules_that_do_nothing_can_be_taken_out(policy: Policy, asked: list[tuple[Request, datetime]]) -> None:
    idle = idle_rules(policy)
    event(f"{len(idle)} idle")
    for gone in [*({name} for name in idle), set(idle)]:
        without = replace(policy, rules=tuple(rule for rule in policy.rules if rule.name not in gone))
        for request, now in asked:
            assert access(without, request, now) == access(policy, request, now)


@given(policies, asked)
def test_what_is_said_never_to_be_allowed_is_never_allowed_by_that_rule(
    policy: Policy, asked: list[tuple[Request, datetime]]
) -> None:
    for request, now in asked:
        decision = decide(policy, request, now)
        for rule in policy.rules:
            if never_allowed(policy, rule, TARGETS[request.target]):
                assert not (decision.allowed and decision.rule == rule.name)


@given(rules, rules, asked)
def test_a_rule_within_another_matches_nothing_that_the_other_does_not(
    narrow: Rule, wide: Rule, asked: list[tuple[Request, datetime]]
) -> None:
    inside = within(narrow, wide)
    event("within" if inside else "not within")
    for request, now in asked:
        if inside and not list(unmet(narrow, request, now)):
            assert not list(unmet(wide, request, now))


@given(rules)
def test_a_rule_is_within_itself(rule: Rule) -> None:
    if not rule.networks or any(network.version == 4 for network in rule.networks):
        assert within(rule, rule)


@given(rules, asked)
def test_a_rule_that_can_never_match_matches_nothing(rule: Rule, asked: list[tuple[Request, datetime]]) -> None:
    why = never(rule)
    event("never" if why else "might")
    for request, now in asked:
        assert why is None or list(unmet(rule, request, now))


@given(windows, moments)
def test_the_open_minutes_are_those_at_which_a_decision_finds_the_window_open(when: When, now: datetime) -> None:
    local = now.astimezone(when.zone)
    minute = local.weekday() * 1440 + local.hour * 60 + local.minute
    closed = list(unmet(Rule("r", Effect.ALLOW, HERE, Who(), when=when), Request(ANA, "one"), now))
    assert (minute in open_minutes(when)) is not bool(closed)


ANA = Principal(PrincipalKind.PERSON, "i", "s", "ana")
letters = st.text(alphabet="ab*?[]!", max_size=6)


@settings(max_examples=1000)
@given(letters, letters, st.text(alphabet="ab*?[]!", max_size=6))
def test_a_pattern_within_another_fits_nothing_that_the_other_does_not(narrow: str, wide: str, text: str) -> None:
    one, other = (Rule("r", Effect.ALLOW, HERE, Who(), tags={"dag_id": (glob,)}) for glob in (narrow, wide))
    if within(one, other) and fnmatchcase(text, narrow):
        assert fnmatchcase(text, wide)
    one, other = (Rule("r", Effect.ALLOW, HERE, Who(claims={"sub": (glob,)})) for glob in (narrow, wide))
    if within(one, other) and claim_fits(text, narrow):
        assert claim_fits(text, wide)


def test_every_tag_was_thought_of() -> None:
    numbers = {name for name in TAG_NAMES if never(Rule("r", Effect.ALLOW, HERE, Who(), tags={name: ("word",)}))}
    assert numbers == {"try_number", "map_index"}
