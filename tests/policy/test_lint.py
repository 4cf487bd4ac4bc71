"""Findings, each with the policy that has it and one that does not."""

from pathlib import Path

import pytest

from airtunnel.policy.lint import Level, lint
from airtunnel.policy.load import load_policy
from tests.policy.shop import shop, write_policy
from tests.policy.test_schema import GOOD

TARGETS = """\
targets:
  prod: {protocol: tcp, address: 'prod:1', labels: {env: production}}
  dev: {protocol: tcp, address: 'dev:1', labels: {env: dev}}
rules:
  - {name: all, effect: allow, who: {groups: [eng]}, targets: '*'}
"""


def findings(home: Path, *rules: str, groups: tuple[str, ...] | None = None, more: str = "") -> list[str]:
    text = TARGETS + "".join(f"  - {{{one}}}\n" for one in rules) + more
    found = lint(load_policy(write_policy(home, shop=text)), groups)
    return [f"{one.place.line} {one.level}: {one.text}" for one in found]


ALLOW, DENY = "effect: allow, who: {groups: [ops]}, targets: '*'", "effect: deny, who: {groups: [temps]}, targets: '*'"


@pytest.mark.parametrize("rule", ["name: x, " + ALLOW, "name: x, " + DENY])
def test_what_is_right_has_no_finding(tmp_path: Path, rule: str) -> None:
    assert findings(tmp_path, rule) == []


@pytest.mark.parametrize("text", GOOD)
def test_our_own_policies_have_no_finding_but_a_target_that_is_meant_to_be_closed(tmp_path: Path, text: str) -> None:
    (tmp_path / "policy.yaml").write_text(text)
    found = lint(load_policy(tmp_path / "policy.yaml"))
    assert [one.text for one in found] == (["nobody reaches payroll: no rule allows it"] if "no-contractors" in text else [])


@pytest.mark.parametrize(
    ("rules", "found"),
    [
        (
            ["name: never, tags: {try_number: 'a*'}, " + ALLOW],
            "6 error: never can never match: tag try_number is a number, and no number is like a*",
        ),
        (
            ["name: never, from: ['::ffff:10.0.0.0/104'], " + ALLOW],
            "6 error: never can never match: an IPv4 client is never looked for in ::ffff:0:0/96: write its network as IPv4",
        ),
        (
            ["name: x, effect: allow, who: {groups: [eng]}, targets: dev"],
            "6 warning: x changes nothing: all (policy/shop.yaml:5) decides all of it",
        ),
        (
            ["name: x, effect: allow, who: {groups: [eng]}, targets: '*'"],
            "6 warning: x says the same as all (policy/shop.yaml:5)",
        ),
        (
            ["name: x, effect: allow, who: {groups: [eng], kind: person}, targets: dev, limits: {duration: 5m}"],
            "6 error: x never decides, so its limits never hold: all (policy/shop.yaml:5) comes first",
        ),
        (
            ["name: x, effect: allow, who: {groups: [ops]}, targets: dev, tags: {dag_id: 'a*'}", "name: y, " + ALLOW],
            "6 warning: x changes nothing: y (policy/shop.yaml:7) decides all of it",
        ),
        (
            ["name: no, effect: deny, who: {groups: [temps, ops]}, labels: {env: [dev, production]}", "name: x, " + ALLOW],
            "7 error: x never allows anything: no (policy/shop.yaml:6) denies all of it",
        ),
        (
            ["name: x, " + ALLOW, "name: n1, effect: deny, who: {groups: [ops]}, targets: dev",
             "name: n2, effect: deny, who: {groups: [ops]}, targets: prod"],
            "6 error: x never allows anything: n1 (policy/shop.yaml:7) and n2 (policy/shop.yaml:8) deny all of it",
        ),
        (
            ["name: x, effect: deny, who: {groups: [temps]}, targets: dev, from: 10.1.0.0/16",
             "name: y, from: 10.0.0.0/8, " + DENY],
            "6 warning: x changes nothing: y (policy/shop.yaml:7) denies all of it",
        ),
        (
            ["name: x, effect: allow, who: anyone, targets: [prod, dev], limits: {idle: 5m}"],
            "6 warning: x lets everybody who can log in reach production: prod",
        ),
        (
            ["name: x, effect: allow, who: {kind: person}, labels: {env: production}"],
            "6 warning: x lets everybody who can log in reach production: prod",
        ),
        (
            ["name: x, effect: allow, who: {kind: workload, issuer: 'https://gitlab.com'}, targets: dev"],
            "6 warning: x allows every workload of its issuers: say which, by `claims` or `users`",
        ),
        (["name: x, limits: {duration: 8h1m}, " + ALLOW], "6 warning: x gives sessions of 8.01667 hours, more than 8"),
        (
            ["name: x, effect: allow, who: {claims: {repository: 'acme*'}}, targets: dev"],
            "6 warning: x takes `repository: acme*` from any owner: write the owner out, up to the first `/`",
        ),
        (
            ["name: x, effect: allow, who: {claims: {sub: 'repo:acme*/dags:*', ref: main}}, targets: dev"],
            "6 warning: x takes `sub: repo:acme*/dags:*` from any owner: write the owner out, up to the first `/`",
        ),
    ],
)  # fmt: skip
def test_what_looks_wrong_is_told_once_and_at_its_place(tmp_path: Path, rules: list[str], found: str) -> None:
    assert findings(tmp_path, *rules) == [found]


@pytest.mark.parametrize(
    "rules",
    [
        # A narrow rule that comes first may be there for its limits, or for those of a rule in between.
        ["name: x, limits: {duration: 5m}, tags: {dag_id: a}, " + ALLOW, "name: y, " + ALLOW],
        ["name: x, tags: {dag_id: a}, " + ALLOW, "name: m, limits: {idle: 5m}, tags: {task_id: a}, " + ALLOW,
         "name: y, " + ALLOW],
        ["name: x, effect: allow, who: anyone, targets: dev"],
        ["name: x, limits: {duration: 8h}, " + ALLOW],
        ["name: x, tags: {map_index: ['-1', '[0-9]*']}, " + ALLOW],
        ["name: x, effect: allow, who: {claims: {repository: 'acme/*', ref: 'refs/tags/v*'}}, targets: dev"],
        ["name: x, effect: allow, who: {claims: {repository: '*/dags', repository_owner: acme}}, targets: dev"],
        ["name: x, effect: allow, who: {claims: {sub: 'system:serviceaccount:airflow:*'}}, targets: dev"],
        ["name: x, effect: deny, who: {claims: {repository: 'evil*'}}, targets: dev"],
        ["name: n, effect: deny, who: {groups: [ops]}, targets: dev", "name: x, " + ALLOW],
        ["name: n, when: {days: [mon-fri], timezone: UTC}, " + DENY,
         "name: x, effect: allow, who: {groups: [temps]}, targets: dev"],
    ],
)  # fmt: skip
def test_what_may_be_meant_is_left_alone(tmp_path: Path, rules: list[str]) -> None:
    assert findings(tmp_path, *rules) == []


def test_a_group_that_nobody_knows_is_an_error_where_the_groups_are_known(tmp_path: Path) -> None:
    x = "name: x, effect: deny, who: {groups: [temps, contractor]}, targets: dev"
    told = "error: x names group `contractor`, and there is none; did you mean `contractors`?"
    assert findings(tmp_path, x) == []
    assert findings(tmp_path, x, groups=("eng", "temps", "contractors")) == [f"6 {told}"]
    assert findings(tmp_path, x, more="groups: [eng, temps, contractors]\n") == [f"6 {told}"]
    assert findings(tmp_path, x, groups=("contractor",), more="groups: [eng, temps]\n") == []


def test_a_target_that_nobody_reaches_is_told(tmp_path: Path) -> None:
    closed = load_policy(
        write_policy(
            tmp_path,
            shop="targets:\n  one: {protocol: tcp, address: 'o:1'}\n  two: {protocol: tcp, address: 't:1'}\nrules:\n"
            "  - {name: x, effect: allow, who: {groups: [a]}, targets: one}\n"
            "  - {name: n, effect: deny, who: anyone, targets: one}\n",
        )
    )
    assert [(one.place.line, one.level, one.text) for one in lint(closed) if one.about in ("one", "two")] == [
        (2, Level.WARNING, "nobody reaches one: what x would allow is denied, or never happens"),
        (3, Level.WARNING, "nobody reaches two: no rule allows it"),
    ]


def test_a_target_whose_only_rule_can_never_match_is_reached_by_nobody(tmp_path: Path) -> None:
    rule = "  - {name: x, effect: allow, who: {groups: [a]}, targets: one, tags: {map_index: none}}\n"
    text = "targets:\n  one: {protocol: tcp, address: 'o:1'}\nrules:\n" + rule
    found = lint(load_policy(write_policy(tmp_path, shop=text)))
    assert [(one.about, one.level) for one in found] == [("one", Level.WARNING), ("x", Level.ERROR)]


def test_findings_come_in_the_order_of_files_and_lines(tmp_path: Path) -> None:
    found = lint(shop(tmp_path), ("data-eng",))
    places = [(one.place.file, one.place.line) for one in found]
    assert places == sorted(places)
    assert len({one.place.file for one in found}) == 2
