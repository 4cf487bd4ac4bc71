"""Decisions: the shop's by name, and what holds for any policy at all."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airtunnel.model import (
    Address,
    Decision,
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
from airtunnel.policy.decide import decide, explain, survey
from airtunnel.policy.rules import Effect, Policy, Rule, Who
from tests.policy.shop import SUNDAY, WEDNESDAY, ask, job, person, shop

ANA = person("ana@example.com", "data-eng")
ON_CALL = person("bo@example.com", "on-call")
NOBODY = person("eve@example.com")


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    return shop(tmp_path)


def told(decision: Decision) -> tuple[str, str, str, tuple[str, ...]]:
    return decision.outcome.value, decision.rule, str(decision.place), decision.reasons


def test_a_matching_rule_allows_with_its_limits(policy: Policy) -> None:
    decision = decide(policy, ask(ON_CALL, "postgres-prod", reason="pager"), WEDNESDAY)
    assert decision == Decision(
        Outcome.ALLOWED,
        "prod-is-for-on-call",
        Place("policy/prod.yaml", 14, 5),
        limits=Limits(timedelta(minutes=30), timedelta(minutes=10), 20),
    )


@pytest.mark.parametrize(
    ("request_", "now", "expected", "hint"),
    [
        (
            ask(ANA, "postgres-prod", reason="look"),
            WEDNESDAY,
            ("unmet", "prod-is-for-on-call", "policy/prod.yaml:14", ("needs group on-call; you are in: data-eng",)),
            "airtunnel connect postgres-staging",
        ),
        (
            ask(NOBODY, "postgres-prod"),
            WEDNESDAY,
            (
                "unmet",
                "prod-is-for-on-call",
                "policy/prod.yaml:14",
                ("needs group on-call; you are in no group", "needs a reason (--reason)"),
            ),
            "airtunnel targets",
        ),
        (
            ask(ON_CALL, "postgres-prod"),
            WEDNESDAY,
            ("unmet", "prod-is-for-on-call", "policy/prod.yaml:14", ("needs a reason (--reason)",)),
            "airtunnel connect postgres-prod --reason TEXT",
        ),
        (
            ask(person("cy@example.com", "on-call", "contractors"), "postgres-prod", reason="pager"),
            WEDNESDAY,
            ("denied", "no-contractors", "policy/prod.yaml:20", ("denied to group contractors",)),
            "airtunnel connect postgres-staging",
        ),
        (
            ask(ANA, "legacy"),
            SUNDAY,
            (
                "unmet",
                "legacy-by-day",
                "policy/staging.yaml:20",
                ("only mon-fri 08:00-18:00 Europe/Berlin; it is Sun 03:00",),
            ),
            "airtunnel targets",
        ),
        (
            ask(ANA, "legacy", source="192.168.1.1"),
            WEDNESDAY,
            (
                "unmet",
                "legacy-by-day",
                "policy/staging.yaml:20",
                ("only from 10.0.0.0/8 or fd00::/8; you come from 192.168.1.1",),
            ),
            "airtunnel targets",
        ),
        (
            ask(job(namespace="airflow"), "legacy", dag_id="shipping"),
            WEDNESDAY,
            ("unmet", "billing-job", "policy/staging.yaml:15", ("needs tag dag_id like billing*; you said shipping",)),
            "airtunnel targets",
        ),
        (
            ask(ANA, "payroll"),
            WEDNESDAY,
            ("default", "default", "policy/prod.yaml:9", ("no rule speaks of payroll",)),
            "airtunnel targets",
        ),
        (
            ask(ANA, "postgres-stagin"),
            WEDNESDAY,
            (
                "default",
                "default",
                "policy/prod.yaml:1",
                ("there is no target `postgres-stagin`; did you mean `postgres-staging`?",),
            ),
            "airtunnel connect postgres-staging",
        ),
        (
            ask(ANA, "nothing-alike"),
            WEDNESDAY,
            ("default", "default", "policy/prod.yaml:1", ("there is no target `nothing-alike`",)),
            "airtunnel targets",
        ),
    ],
)  # fmt: skip
def test_a_refusal_says_which_rule_came_near_and_what_to_type(
    policy: Policy, request_: Request, now: datetime, expected: tuple[str, str, str, tuple[str, ...]], hint: str
) -> None:
    decision = decide(policy, request_, now)
    assert told(decision) == expected
    assert decision.hint == hint


def test_the_suggestion_for_an_unknown_target_tells_of_no_other(policy: Policy) -> None:
    decision = decide(policy, ask(ANA, "payrol"), WEDNESDAY)
    assert decision.reasons == ("there is no target `payrol`",)
    assert "payroll" not in str(decision)


def test_the_hint_tells_of_no_target_that_may_not_be_reached(policy: Policy) -> None:
    assert decide(policy, ask(NOBODY, "postgres-staging"), WEDNESDAY).hint == "airtunnel targets"


def test_only_the_time_is_wrong_for_now(policy: Policy) -> None:
    assert decide(policy, ask(ANA, "legacy"), SUNDAY).for_now
    assert not decide(policy, ask(ANA, "legacy", source="192.168.1.1"), SUNDAY).for_now
    assert not decide(policy, ask(ANA, "legacy", source="192.168.1.1"), WEDNESDAY).for_now
    assert decide(policy, ask(ANA, "legacy"), WEDNESDAY).allowed


def test_a_rule_that_denies_by_the_clock_denies_for_now(policy: Policy) -> None:
    by_day = next(rule for rule in policy.rules if rule.when)
    freeze = Rule("freeze", Effect.DENY, policy.place, Who(), targets=("postgres-staging",), when=by_day.when)
    frozen = replace(policy, rules=(*policy.rules, freeze))
    decision = decide(frozen, ask(ANA, "postgres-staging"), WEDNESDAY)
    assert (decision.outcome, decision.rule, decision.for_now) == (Outcome.DENIED, "freeze", True)
    assert decision.reasons == ("denied to anyone, mon-fri 08:00-18:00 Europe/Berlin",)
    assert decide(frozen, ask(ANA, "postgres-staging"), SUNDAY).allowed
    assert not decide(frozen, ask(NOBODY, "postgres-staging"), WEDNESDAY).for_now


def test_the_nearest_rule_asks_for_the_fewest_things(policy: Policy) -> None:
    assert decide(policy, ask(job(namespace="other"), "legacy"), SUNDAY).rule == "billing-job"
    assert decide(policy, ask(person("ana@example.com"), "legacy"), SUNDAY).rule == "legacy-by-day"


def test_every_decision_knows_the_policys_version(policy: Policy) -> None:
    versioned = replace(policy, commit="abc")
    for target in ("postgres-prod", "postgres-staging", "payroll", "legacy", "gone"):
        assert decide(versioned, ask(ANA, target), WEDNESDAY).commit == "abc"
    assert decide(versioned, ask(person("c@example.com", "contractors"), "postgres-prod"), WEDNESDAY).commit == "abc"


def test_a_time_without_a_zone_is_no_time(policy: Policy) -> None:
    with pytest.raises(ValueError, match="time zone"):
        decide(policy, ask(ANA, "legacy"), WEDNESDAY.replace(tzinfo=None))


def test_explain_says_what_every_rule_says(policy: Policy) -> None:
    said = explain(policy, ask(ANA, "postgres-staging"), WEDNESDAY)
    assert [(one.rule.name, one.covers, one.matched) for one in said] == [
        ("prod-is-for-on-call", False, False),
        ("no-contractors", False, False),
        ("engineers-reach-staging", True, True),
        ("billing-job", True, False),
        ("legacy-by-day", False, False),
    ]
    assert [one.phrase for one in said[3].unmet] == [
        "needs namespace airflow; yours is not known",
        "needs a workload; you are a person",
        "needs a login from https://kube.example; yours is from https://login.example.com",
        "needs tag dag_id like billing*; you said none",
    ]


def test_no_rule_covers_a_target_that_does_not_exist(policy: Policy) -> None:
    everything = replace(policy, rules=(Rule("all", Effect.ALLOW, policy.place, Who(), targets=("*",)),))
    assert not any(one.covers for one in explain(everything, ask(ANA, "gone"), WEDNESDAY))
    assert not decide(everything, ask(ANA, "gone"), WEDNESDAY).allowed


def test_a_survey_decides_on_every_target_as_a_request_would(policy: Policy) -> None:
    for who in (ANA, ON_CALL, NOBODY, job(namespace="airflow")):
        seen = survey(policy, ask(who, ""), WEDNESDAY)
        assert list(seen) == list(policy.targets)
        for name, decision in seen.items():
            assert told(decision) == told(decide(policy, ask(who, name), WEDNESDAY))


# What holds for any policy. Few names, so that rules and requests meet often.
GROUPS = st.sampled_from(["a", "b", "c"])
USERS = st.sampled_from(["ana", "bo"])
NAMES = ("one", "two", "two-b")
GLOBS = st.sampled_from([*NAMES, "*", "two*", "?ne"])
HERE = Place("p.yaml", 1)
NOW = datetime(2026, 1, 7, tzinfo=UTC)

whos = st.builds(
    Who,
    groups=st.lists(GROUPS, max_size=2).map(tuple),
    users=st.lists(USERS, max_size=1).map(tuple),
    claims=st.dictionaries(st.just("team"), st.just(("x", "y")), max_size=1),
    kind=st.none() | st.sampled_from(PrincipalKind),
)
rules = st.builds(
    Rule,
    name=st.sampled_from(["r", "s", "t"]),
    effect=st.sampled_from(Effect),
    place=st.just(HERE),
    who=whos,
    targets=st.lists(GLOBS, min_size=1, max_size=2).map(tuple),
    tags=st.dictionaries(st.just("dag_id"), st.just(("x*",)), max_size=1),
    require=st.sampled_from([(), ("reason",)]),
)
policies = st.builds(
    lambda found: Policy(
        {name: Target(name, Protocol.TCP, Address("h", 1), HERE) for name in NAMES},
        tuple(replace(rule, name=f"{rule.name}{number}") for number, rule in enumerate(found)),
        HERE,
    ),
    st.lists(rules, max_size=6),
)
requests = st.builds(
    Request,
    principal=st.builds(
        Principal,
        kind=st.sampled_from(PrincipalKind),
        issuer=st.just("i"),
        subject=st.just("s"),
        name=USERS,
        groups=st.lists(GROUPS, max_size=2).map(tuple),
        claims=st.dictionaries(st.just("team"), st.sampled_from(["x", "z", ["y"]]), max_size=1),
    ),
    target=st.sampled_from([*NAMES, "three"]),
    tags=st.builds(Tags, dag_id=st.sampled_from([None, "x1", "y1"]), reason=st.sampled_from([None, " ", "because"])),
)


def fits(rule: Rule, request: Request) -> bool:
    """The language's meaning, said once more in the shortest way."""
    who, asks = rule.who, request.principal
    has = asks.claims.get("team", [])
    return all(
        (
            request.target in NAMES and any(fnmatchcase(request.target, glob) for glob in rule.targets),
            not who.groups or bool({*who.groups} & {*asks.groups}),
            not who.users or asks.name in who.users,
            not who.claims or bool({*who.claims["team"]} & {*has}),
            who.kind in (None, asks.kind),
            not rule.tags or (request.tags.dag_id or "").startswith("x"),
            not rule.require or request.tags.reason == "because",
        )
    )


@given(policies, requests)
def test_nobody_is_allowed_without_a_rule_that_allows(policy: Policy, request: Request) -> None:
    allowing = [rule for rule in policy.rules if rule.effect is Effect.ALLOW and fits(rule, request)]
    decision = decide(policy, request, NOW)
    if decision.allowed:
        assert decision.rule == allowing[0].name
    if not allowing:
        assert not decision.allowed


@given(policies, requests)
def test_a_rule_that_denies_always_wins(policy: Policy, request: Request) -> None:
    denying = [rule for rule in policy.rules if rule.effect is Effect.DENY and fits(rule, request)]
    decision = decide(policy, request, NOW)
    assert (decision.outcome is Outcome.DENIED) == bool(denying)
    if denying:
        assert decision.rule == denying[0].name


@given(policies, requests)
def test_whoever_has_a_rule_and_no_denial_is_allowed(policy: Policy, request: Request) -> None:
    fitting = {rule.effect for rule in policy.rules if fits(rule, request)}
    assert decide(policy, request, NOW).allowed == (fitting == {Effect.ALLOW})


@given(policies, requests, rules, st.data())
def test_a_rule_about_something_else_changes_nothing(policy: Policy, request: Request, rule: Rule, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(policy.rules)))
    other = Target("unlike", Protocol.TCP, Address("h", 1), HERE)
    unrelated = replace(rule, name="unrelated", targets=("unlike",))
    more = replace(
        policy,
        targets={**policy.targets, "unlike": other},
        rules=(*policy.rules[:at], unrelated, *policy.rules[at:]),
    )
    assert replace(decide(more, request, NOW), hint=None) == replace(decide(policy, request, NOW), hint=None)


@given(policies, requests)
def test_a_refusal_always_has_a_rule_a_reason_and_a_next_command(policy: Policy, request: Request) -> None:
    decision = decide(policy, request, NOW)
    assert decision.rule
    if not decision.allowed:
        assert decision.reasons
        assert decision.hint is not None
        assert decision.hint.startswith("airtunnel ")


@given(policies, requests)
def test_a_hint_leads_to_what_is_allowed(policy: Policy, request: Request) -> None:
    match (decide(policy, request, NOW).hint or "").split():
        case ["airtunnel", "connect", name]:
            assert decide(policy, replace(request, target=name), NOW).allowed
        case ["airtunnel", "connect", name, "--reason", "TEXT"]:
            tags = replace(request.tags, reason="because")
            assert decide(policy, replace(request, target=name, tags=tags), NOW).allowed


@given(policies, requests)
def test_explain_and_decide_agree(policy: Policy, request: Request) -> None:
    matched = [one.rule for one in explain(policy, request, NOW) if one.matched]
    assert matched == [rule for rule in policy.rules if fits(rule, request)]


def test_who_leaves_groups_out_does_not_pass_a_deny_rule() -> None:
    place = Place("policy.yaml", 1)
    target = Target("db", Protocol.POSTGRES, Address("db", 5432), place)
    keep_out = Rule("no-contractors", Effect.DENY, place, Who(groups=("contractors",)), targets=("db",))
    let_in = Rule("people", Effect.ALLOW, place, Who(kind=PrincipalKind.PERSON), targets=("db",))
    policy = Policy({"db": target}, (keep_out, let_in), place)
    known, unknown = person("eve@example.com"), replace(person("eve@example.com"), groups_known=False)
    assert decide(policy, Request(known, "db"), WEDNESDAY).allowed
    decision = decide(policy, Request(unknown, "db"), WEDNESDAY)
    assert (decision.outcome, decision.rule) == (Outcome.DENIED, "no-contractors")
    only_groups = replace(let_in, who=Who(groups=("staff",)))
    assert not decide(replace(policy, rules=(only_groups,)), Request(unknown, "db"), WEDNESDAY).allowed
