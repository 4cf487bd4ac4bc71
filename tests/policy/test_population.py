"""Made-up requests: whatever one changes in a policy, somebody among them sees it."""

from fnmatch import fnmatchcase
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airtunnel.model import Outcome
from airtunnel.policy.decide import decide
from airtunnel.policy.diff import Kind, compare
from airtunnel.policy.load import load_policy
from airtunnel.policy.population import NOBODY, like, population
from tests.policy.shop import PROD, STAGING, shop, write_policy


def changed(home: Path, old: str, new: str) -> list[tuple[Kind, str, tuple[str, ...], str]]:
    """Kind, name, groups and target of each difference, if one text of the shop's policy is replaced."""
    assert old in PROD + STAGING
    before = shop(home)
    after = load_policy(write_policy(home, prod=PROD.replace(old, new), staging=STAGING.replace(old, new)))
    found = compare(before, after, population(before, after)).differences
    return [
        (one.kind, one.asked.request.principal.name, one.asked.request.principal.groups, one.asked.request.target)
        for one in found
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("[data-eng, on-call]", "[on-call]", (Kind.REFUSED, NOBODY, ("data-eng",), "postgres-staging")),
        ("[data-eng, on-call]", "[data-eng, on-call, qa]", (Kind.ALLOWED, NOBODY, ("qa",), "postgres-staging")),
        ("users: [ana@example.com]", "users: [eva@example.com]", (Kind.ALLOWED, "eva@example.com", (), "legacy")),
        ("namespace: airflow", "namespace: etl", (Kind.REFUSED, NOBODY, (), "legacy")),
        ("kube.example", "other.example", (Kind.ALLOWED, NOBODY, (), "legacy")),
        ("[contractors]", "[contractors, interns]", (Kind.REFUSED, NOBODY, ("interns", "on-call"), "postgres-prod")),
        ("effect: deny", "effect: allow", (Kind.ALLOWED, NOBODY, ("contractors",), "postgres-prod")),
        ('"billing*"', '"bill*"', (Kind.ALLOWED, NOBODY, (), "legacy")),
        ('"billing*"', '["billing*", "[x-z]?"]', (Kind.ALLOWED, NOBODY, (), "legacy")),
        ("require: [reason]", "require: [reason, ticket]", (Kind.REFUSED, NOBODY, ("on-call",), "postgres-prod")),
        ("08:00-18:00", "08:00-18:30", (Kind.ALLOWED, "ana@example.com", (), "legacy")),
        ("08:00-18:00", "08:05-18:00", (Kind.REFUSED, "ana@example.com", (), "legacy")),
        ("08:00-18:00", "18:00-08:00", (Kind.ALLOWED, "ana@example.com", (), "legacy")),
        ("[mon-fri]", "[mon-thu]", (Kind.REFUSED, "ana@example.com", (), "legacy")),
        ("Europe/Berlin", "Europe/Lisbon", (Kind.REFUSED, "ana@example.com", (), "legacy")),
        ("10.0.0.0/8", "10.0.0.0/16", (Kind.REFUSED, "ana@example.com", (), "legacy")),
        ("10.0.0.0/8", "0.0.0.0/0", (Kind.ALLOWED, "ana@example.com", (), "legacy")),
        ("duration: 30m", "duration: 31m", (Kind.LIMITS, NOBODY, ("on-call",), "postgres-prod")),
        ("connections: 20", "connections: 2", (Kind.LIMITS, NOBODY, ("on-call",), "postgres-prod")),
        ('["*-staging"]', '"*"', (Kind.ALLOWED, NOBODY, ("data-eng",), "payroll")),
        ("name: billing-job", "name: billing-jobs", (Kind.RULE, NOBODY, (), "legacy")),
        ("  payroll:", "  wages:", None),
    ],
)
def test_a_change_of_each_kind_is_seen_by_somebody(
    tmp_path: Path, old: str, new: str, expected: tuple[Kind, str, tuple[str, ...], str] | None
) -> None:
    found = changed(tmp_path, old, new)
    assert found == [] if expected is None else expected in found


def test_the_order_of_two_rules_that_allow_with_other_limits_is_seen_by_who_fits_both(tmp_path: Path) -> None:
    target = "targets:\n  db: {protocol: tcp, address: 'db:1'}\nrules:\n"
    long = "  - {name: long, effect: allow, who: {groups: [a]}, targets: [db], limits: {duration: 2h}}\n"
    short = "  - {name: short, effect: allow, who: {groups: [b]}, targets: [db], limits: {duration: 1h}}\n"
    before = load_policy(write_policy(tmp_path, prod=target + long + short, staging="targets: {}\n"))
    after = load_policy(write_policy(tmp_path, prod=target + short + long, staging="targets: {}\n"))
    (both, *_) = compare(before, after, population(before, after)).differences
    assert (both.kind, set(both.asked.request.principal.groups)) == (Kind.LIMITS, {"a", "b"})


def test_each_rule_is_met_by_somebody_and_nobody_asks_twice(tmp_path: Path) -> None:
    policy = shop(tmp_path)
    asked = list(population(policy, policy))
    decided = [decide(policy, one.request, one.at) for one in asked]
    assert {one.rule for one in decided if one.allowed or one.outcome is Outcome.DENIED} == {one.name for one in policy.rules}
    assert len({repr(one) for one in asked}) == len(asked)


def test_where_a_rule_stands_is_no_difference(tmp_path: Path) -> None:
    assert changed(tmp_path, "rules:", "# a comment\nrules:") == []


def test_a_large_policy_is_asked_about_in_a_moment(tmp_path: Path) -> None:
    targets = "".join(f"  t{at}: {{protocol: tcp, address: 'db:1', labels: {{team: t{at % 10}}}}}\n" for at in range(100))
    rules = "".join(
        f"  - {{name: r{at}, effect: {'deny' if at % 5 == 0 else 'allow'}, who: {{groups: [g{at}, h{at}]}}, "
        f"labels: {{team: t{at % 10}}}}}\n"
        for at in range(100)
    )
    text = f"targets:\n{targets}rules:\n{rules}"
    before = load_policy(write_policy(tmp_path, prod=text, staging="targets: {}\n"))
    after = load_policy(write_policy(tmp_path, prod=text.replace("g7,", "k7,"), staging="targets: {}\n"))
    found = compare(before, after, population(before, after))
    assert found.looked_at < 20_000
    groups = {one.asked.request.principal.groups for one in found.differences}
    assert {("g7",), ("k7",)} <= groups


@given(st.text(st.sampled_from("ab*?[]!-"), min_size=1, max_size=8))
def test_a_text_that_fits_a_glob_is_found_unless_the_glob_is_odd(glob: str) -> None:
    text = like(glob)
    assert text
    assert fnmatchcase(text, glob) or text == glob


@pytest.mark.parametrize(("glob", "text"), [("billing*", "billing"), ("*", "1"), ("a?c", "a1c"), ("[x-z]*", "x")])
def test_a_glob_is_met_by_the_shortest_text(glob: str, text: str) -> None:
    assert like(glob) == text
