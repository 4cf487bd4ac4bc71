"""The language of rules: what it says, and what is wrong with a rule, at which place."""

from datetime import time
from pathlib import Path

import pytest

from airtunnel.model import Limits, PrincipalKind
from airtunnel.policy.load import load_policy
from airtunnel.policy.rules import Rule, Who
from tests.policy.shop import complaint, complaints, write_policy

ONE = "targets:\n  one: {protocol: tcp, address: 'one:1'}\n"


def only_rule(home: Path, text: str) -> Rule:
    (found,) = load_policy(write_policy(home, shop=text)).rules
    return found


def test_everybody_must_be_meant(tmp_path: Path) -> None:
    rule = ONE + "rules:\n  - {name: r, effect: allow, targets: [one]%s}\n"
    assert load_policy(write_policy(tmp_path, shop=rule % ", who: anyone")).rules[0].who == Who()
    assert complaint(tmp_path, rule % "") == "policy/shop.yaml:4:5: `who` is missing in rules"
    assert complaint(tmp_path, rule % ", who: {}").endswith("`who` is empty; if everybody is meant: `who: anyone`")
    assert "`groups` is an empty list" in complaint(tmp_path, rule % ", who: {groups: []}")
    assert "`claims` is empty" in complaint(tmp_path, rule % ", who: {claims: {}}")


def rule(extra: str) -> str:
    return ONE + "rules:\n  - name: r\n    effect: allow\n    who: anyone\n    targets: [one]\n    " + extra + "\n"


FAULTY_RULES = [
    (rule("who2: x"), "8:5: unknown key `who2` in rules; did you mean `who`?"),
    (rule("tags: {dag: x}"), "8:12: there is no tag `dag`"),
    (rule("tags: x"), "8:11: `tags` is a table of `key: value` lines"),
    (rule("require: [raeson]"), "8:15: there is no tag `raeson`; tags are"),
    (rule("when: {timezone: UTC}"), "8:12: `when` says neither `days` nor `hours`"),
    (rule("when: {days: [mon]}"), "8:11: `timezone` is missing in when"),
    (rule("when: {days: [mo], timezone: UTC}"), "8:19: `mo` is no day; say mon, tue, "),
    (rule("when: {days: [mon-], timezone: UTC}"), "8:19: `mon-` is no day; say mon, tue, "),
    (rule("when: {hours: 8-18, timezone: UTC}"), "8:19: `8-18` is not hours like 08:00-18:00"),
    (rule("when: {hours: '08:00-25:00', timezone: UTC}"), "8:19: `08:00-25:00` is not hours like 08:00-18:00"),
    (rule("when: {hours: '08:00-08:00', timezone: UTC}"), "8:19: `08:00-08:00` begins and ends at once; for"),
    (rule("when: {days: [mon], timezone: Europe/Berln}"), "8:35: there is no time zone `Europe/Berln`; did you mean"),
    (rule("when: {days: [mon], timezone: ../../etc/passwd}"), "8:35: there is no time zone `../../etc/passwd`"),
    (rule("when: {days: [mon], timezone: Europe}"), "8:35: there is no time zone `Europe`"),
    (rule("from: [10.1.2.3/8]"), "8:12: `10.1.2.3/8` has bits outside its mask; did you mean `10.0.0.0/8`?"),
    (rule("from: office"), "8:11: `office` is not a network like 10.0.0.0/8"),
    (rule("from: []"), "8:11: `from` is an empty list"),
    (rule("limits: {duration: 0s}"), "8:24: `duration`: `0s` is no time at all; it must be more than zero"),
    (rule("limits: {bytes: 10 GB}"), "8:21: `bytes`: `10 GB` is not a size like 500MB, 10GB or 1GiB"),
    (rule("limits: {bytes: 0GB}"), "8:21: `bytes`: `0GB` is not a size"),
    (rule("limits: {bytes: 1000}"), "8:21: `bytes`: `1000` is not a size"),
    (rule("limits: {byte: 1GB}"), "8:14: unknown key `byte` in limits; did you mean `bytes`?"),
    (rule("").replace("anyone", "{users: ['*@a.b']}"), "6:19: `users` is compared to the letter, so `*@a.b` fits nobody"),
    (rule("").replace("anyone", "{groups: '*'}"), "6:19: `groups` is compared to the letter, so `*` fits nobody"),
    (rule("").replace("anyone", "{issuer: 'https://*'}"), "6:19: `issuer` is compared to the letter"),
    (rule("limits: {connections: 0}"), "8:27: `connections` is a whole number of at least 1"),
    (rule("who: anyone"), "8:5: `who` stands here twice, first on line 6"),
    (rule("").replace("name: r", "name: default"), "4:11: no rule may be called `default`"),
    (rule("").replace("name: r", "name: R"), "4:11: `R` is no name; names are a-z"),
    (rule("").replace("allow", "permit"), "5:13: `effect` is allow or deny, not `permit`"),
    (rule("").replace("anyone", "everyone"), "6:10: `who` is a table of groups"),
    (rule("").replace("anyone", "{grups: [a]}"), "6:11: unknown key `grups` in who; did you mean `groups`?"),
    (rule("").replace("anyone", "{kind: robot}"), "6:17: `kind` is person or workload, not `robot`"),
    (rule("").replace("[one]", "[on]"), "7:5: r names `on`, and no target fits; did you mean `one`?"),
    (rule("").replace("[one]", "['x*']"), "7:5: r names `x*`, and no target fits"),
    (rule("").replace("targets: [one]", ""), "4:5: r does not say what it is about"),
    (rule("tags: {dag_id: x}").replace("targets: [one]", ""), "4:5: r does not say what it is about"),
    (rule("").replace("targets: [", "target: ["), "7:5: unknown key `target` in rules; did you mean `targets`?"),
    (rule("labels: {env: dev}"), "8:5: r names the label env: dev, and no target has it"),
    (rule("").replace("allow", "deny") + "    require: [reason]\n", "9:5: `require` has no meaning in a rule that denies"),
    (rule("").replace("allow", "deny") + "    limits: {idle: 5m}\n", "9:5: `limits` has no meaning in a rule that denies"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), FAULTY_RULES)
def test_what_is_wrong_with_a_rule_is_named_at_its_place(tmp_path: Path, text: str, message: str) -> None:
    assert complaint(tmp_path, text).startswith(f"policy/shop.yaml:{message}")


def test_a_single_value_needs_no_brackets(tmp_path: Path) -> None:
    found = only_rule(
        tmp_path, rule("tags: {dag_id: b*}").replace("anyone", "{groups: eng, users: no}").replace("[one]", "one")
    )
    assert (found.who, found.targets) == (Who(groups=("eng",), users=("no",)), ("one",))
    assert found.tags == {"dag_id": ("b*",)}


def test_a_number_or_truth_is_a_text_where_a_text_is_expected(tmp_path: Path) -> None:
    found = only_rule(tmp_path, rule("").replace("anyone", "{claims: {level: [1, 2], admin: true}, kind: workload}"))
    assert found.who == Who(claims={"level": ("1", "2"), "admin": ("true",)}, kind=PrincipalKind.WORKLOAD)


@pytest.mark.parametrize(
    ("days", "numbers"),
    [
        ("mon", {0}),
        ("[mon, wed]", {0, 2}),
        ("mon-fri", {0, 1, 2, 3, 4}),
        ("fri-mon", {4, 5, 6, 0}),
        ("[sat, mon-tue]", {5, 0, 1}),
    ],
)
def test_days_are_names_and_spans_which_may_run_over_the_weekend(tmp_path: Path, days: str, numbers: set[int]) -> None:
    found = only_rule(tmp_path, rule(f"when: {{days: {days}, timezone: UTC}}"))
    assert found.when is not None
    assert found.when.days == numbers


@pytest.mark.parametrize(
    ("hours", "start", "end"),
    [("08:00-18:00", time(8), time(18)), ("22:00-06:30", time(22), time(6, 30)), ("00:00-24:00", time(0), time(0))],
)
def test_hours_are_read_without_quotes_too(tmp_path: Path, hours: str, start: time, end: time) -> None:
    found = only_rule(tmp_path, rule("when:\n      hours: " + hours + "\n      timezone: UTC"))
    assert found.when is not None
    assert (found.when.start, found.when.end, found.when.phrase) == (start, end, f"{hours} UTC")


@pytest.mark.parametrize(
    ("written", "number"),
    [("1B", 1), ("500MB", 500_000_000), ("10GB", 10**10), ("2KiB", 2048), ("1GiB", 2**30)],
)
def test_a_session_may_carry_so_many_bytes(tmp_path: Path, written: str, number: int) -> None:
    assert only_rule(tmp_path, rule(f"limits: {{bytes: {written}}}")).limits == Limits(bytes=number)


def test_a_pattern_is_only_known_to_claims(tmp_path: Path) -> None:
    found = only_rule(tmp_path, rule("").replace("anyone", "{claims: {sub: 'repo:acme/dags:*'}}"))
    assert found.who == Who(claims={"sub": ("repo:acme/dags:*",)})


def test_all_that_is_wrong_with_a_rule_is_told_at_once(tmp_path: Path) -> None:
    text = rule(
        "tags: {dag: x, task_id: ''}\n    require: [raeson, tickets]\n    from: [10.1.2.3/8, home]\n"
        "    limits: {duration: 1y, idel: 5m}\n    when: {days: [mo, we], hours: 8}"
    )
    text = text.replace("name: r", "name: R").replace("allow", "permit").replace("anyone", "{grups: [a], kind: robot}")
    assert [line.split(": ")[0].removeprefix("policy/shop.yaml:") for line in complaints(tmp_path, text)] == [
        *("4:11", "5:13", "6:11", "6:29", "8:12", "8:29", "9:15", "9:23", "10:12", "10:24", "11:24", "11:28", "12:11"),
        *("12:19", "12:23", "12:35"),
    ]
