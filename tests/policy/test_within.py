"""One rule within another, at the edges; that a yes is never wrong stands in test_shadow.py."""

from datetime import time
from ipaddress import ip_network
from zoneinfo import ZoneInfo

import pytest

from airtunnel.model import Place, PrincipalKind
from airtunnel.policy.rules import Effect, Rule, When, Who
from airtunnel.policy.within import never, within

HERE = Place("p.yaml", 1)
UTC, BERLIN = ZoneInfo("UTC"), ZoneInfo("Europe/Berlin")


def by(who: Who) -> Rule:
    return Rule("r", Effect.ALLOW, HERE, who)


def tagged(*globs: str, require: tuple[str, ...] = ()) -> Rule:
    return Rule("r", Effect.ALLOW, HERE, Who(), tags={"dag_id": globs} if globs else {}, require=require)


def at(when: When | None) -> Rule:
    return Rule("r", Effect.ALLOW, HERE, Who(), when=when)


def coming(*networks: str, effect: Effect = Effect.ALLOW) -> Rule:
    return Rule("r", effect, HERE, Who(), networks=tuple(map(ip_network, networks)))


@pytest.mark.parametrize(
    ("narrow", "wide", "inside"),
    [
        (Who(groups=("a",)), Who(), True),
        (Who(), Who(groups=("a",)), False),
        (Who(groups=("a",)), Who(groups=("a", "b")), True),
        (Who(groups=("a", "c")), Who(groups=("a", "b")), False),
        (Who(users=("ana",), groups=("a",)), Who(users=("ana", "bo")), True),
        (Who(kind=PrincipalKind.PERSON), Who(), True),
        (Who(), Who(kind=PrincipalKind.PERSON), False),
        (Who(kind=PrincipalKind.WORKLOAD), Who(kind=PrincipalKind.PERSON), False),
        (Who(issuers=("i",)), Who(issuers=("j",)), False),
        (Who(claims={"ref": ("a/b",)}), Who(claims={"ref": ("a/*",)}), True),
        (Who(claims={"ref": ("a/*",)}), Who(claims={"ref": ("a/b",)}), False),
        (Who(claims={"ref": ("a/*/c",)}), Who(claims={"ref": ("a/*",)}), True),
        (Who(claims={"ref": ("a/b",), "sub": ("x",)}), Who(claims={"ref": ("a/b",)}), True),
        (Who(claims={"ref": ("a/b",)}), Who(claims={"sub": ("*",)}), False),
    ],
)
def test_people_within_people(narrow: Who, wide: Who, inside: bool) -> None:
    assert within(by(narrow), by(wide)) is inside


@pytest.mark.parametrize(
    ("narrow", "wide", "inside"),
    [
        (tagged("x1"), tagged("x*"), True),
        (tagged("x1", "y"), tagged("x*"), False),
        (tagged("x?"), tagged("x*"), True),
        (tagged("x*"), tagged("x?"), False),
        (tagged("*"), tagged("?"), False),
        (tagged("?"), tagged("[?]"), False),
        (tagged("[b]"), tagged("*b]"), False),
        (tagged("[b]"), tagged("[b]"), True),
        (tagged("[b]"), tagged("*"), True),
        (tagged("b"), tagged("[ab]"), True),
        (tagged("x"), tagged(require=("dag_id",)), True),
        (tagged("*"), tagged(require=("dag_id",)), False),
        (tagged("[ab]"), tagged(require=("dag_id",)), False),
        (tagged("* *"), tagged(require=("dag_id",)), False),
        (tagged(require=("dag_id",)), tagged("*"), True),
        (tagged(), tagged("*"), False),
        (tagged(require=("dag_id", "reason")), tagged(require=("reason",)), True),
        (tagged(), tagged(require=("reason",)), False),
    ],
)
def test_tags_within_tags(narrow: Rule, wide: Rule, inside: bool) -> None:
    assert within(narrow, wide) is inside


DAY = When(UTC, frozenset(range(5)), time(8), time(18))


@pytest.mark.parametrize(
    ("narrow", "wide", "inside"),
    [
        (DAY, None, True),
        (None, DAY, False),
        (None, When(UTC), True),
        (None, When(UTC, start=time(6), end=time(6)), True),
        (DAY, When(BERLIN), True),
        (When(UTC, frozenset({0}), time(9), time(10)), DAY, True),
        (When(BERLIN, frozenset({0}), time(9), time(10)), DAY, False),
        (When(UTC, frozenset({5}), time(9), time(10)), DAY, False),
        (When(UTC, frozenset({0}), time(9), time(18, 1)), DAY, False),
        # Tuesday's early morning belongs to Monday's night.
        (When(UTC, frozenset({1}), time(1), time(2)), When(UTC, frozenset({0}), time(22), time(6)), True),
        (When(UTC, frozenset({0}), time(1), time(2)), When(UTC, frozenset({0}), time(22), time(6)), False),
    ],
)
def test_windows_within_windows(narrow: When | None, wide: When | None, inside: bool) -> None:
    assert within(at(narrow), at(wide)) is inside


DENY = Effect.DENY


@pytest.mark.parametrize(
    ("narrow", "wide", "inside"),
    [
        (coming("10.1.0.0/16"), coming("10.0.0.0/8"), True),
        (coming("10.0.0.0/8"), coming("10.1.0.0/16"), False),
        (coming("10.0.0.0/8"), coming("10.0.0.0/9", "10.128.0.0/9"), True),
        (coming("10.0.0.0/8", "fd00::/16"), coming("10.0.0.0/8"), False),
        (coming("fd00::/16", "10.0.0.1"), coming("10.0.0.0/8", "fd00::/8"), True),
        (coming("10.0.0.0/8"), coming(), True),
        (coming(), coming("10.0.0.0/8"), False),
        (coming(), coming("0.0.0.0/0", "::/0"), False),
        # A rule that denies also matches where the address is not known.
        (coming("10.0.0.0/8", effect=DENY), coming("10.0.0.0/8"), False),
        (coming("10.0.0.0/8"), coming("10.0.0.0/8", effect=DENY), True),
    ],
)
def test_networks_within_networks(narrow: Rule, wide: Rule, inside: bool) -> None:
    assert within(narrow, wide) is inside


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (at(When(UTC, frozenset())), "its time window is never open"),
        (at(DAY), None),
        (tagged(" ", require=("dag_id",)), "it requires tag dag_id, and its pattern wants it to be blank"),
        (tagged(" ", "x", require=("dag_id",)), None),
        (coming("::ffff:10.0.0.0/104", effect=DENY), None),
        (coming("::ffff:10.0.0.0/104", "10.0.0.0/8"), None),
    ],
)
def test_a_rule_that_can_never_match_has_a_reason(rule: Rule, why: str | None) -> None:
    assert never(rule) == why
