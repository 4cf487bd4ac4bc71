"""From files to a policy: what it holds, and what is refused, in which file and line."""

import random
from datetime import time, timedelta
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airtunnel.errors import ConfigError
from airtunnel.model import Address, CredentialSpec, Limits, Place, PrincipalKind, Protocol, Target
from airtunnel.policy.decide import decide
from airtunnel.policy.load import load_policy
from airtunnel.policy.rules import Effect, Who
from tests.policy.shop import PROD, STAGING, WEDNESDAY, ask, complaint, complaints, person, shop, write_policy

ONE = "targets:\n  one: {protocol: tcp, address: 'one:1'}\n"


def test_targets_are_read_whole(tmp_path: Path) -> None:
    targets = shop(tmp_path).targets
    assert list(targets) == ["postgres-prod", "payroll", "postgres-staging", "legacy"]
    secret = str(tmp_path / "policy/../secrets/admin")
    options = {"admin": "broker", "admin_password_file": secret, "role": "shop_rw"}
    assert targets["postgres-prod"] == Target(
        name="postgres-prod",
        protocol=Protocol.POSTGRES,
        address=Address("db.internal", 5432),
        place=Place("policy/prod.yaml", 2, 3),
        database="shop",
        labels={"env": "production", "team": "shop"},
        credential=CredentialSpec("postgres-role", options, Place("policy/prod.yaml", 7, 17)),
        airflow_connection="warehouse",
    )
    payroll = targets["payroll"]
    assert (payroll.tls, payroll.tls_ca, payroll.tls_name) == (True, str(tmp_path / "policy/ca.pem"), "pay.example.com")
    legacy = targets["legacy"]
    assert (legacy.address, legacy.tls) == (Address(path=str(tmp_path / "policy/run/legacy.sock")), False)


def test_rules_are_read_whole_and_in_order(tmp_path: Path) -> None:
    rules = shop(tmp_path).rules
    assert [rule.name for rule in rules] == [
        "prod-is-for-on-call",
        "no-contractors",
        "engineers-reach-staging",
        "billing-job",
        "legacy-by-day",
    ]
    on_call, contractors, _, billing, legacy = rules
    assert (on_call.effect, on_call.place, on_call.who) == (
        Effect.ALLOW,
        Place("policy/prod.yaml", 14, 5),
        Who(groups=("on-call",)),
    )
    assert on_call.require == ("reason",)
    assert on_call.limits == Limits(timedelta(minutes=30), timedelta(minutes=10), 20)
    assert (contractors.effect, contractors.labels, contractors.targets) == (Effect.DENY, {"env": ("production",)}, ())
    assert billing.who == Who(
        claims={"namespace": ("airflow",)}, kind=PrincipalKind.WORKLOAD, issuers=("https://kube.example",)
    )
    assert billing.tags == {"dag_id": ("billing*",)}
    assert billing.limits == Limits()
    assert legacy.networks == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert legacy.when is not None
    assert (legacy.when.days, legacy.when.start, legacy.when.end) == (frozenset(range(5)), time(8), time(18))
    assert legacy.when.phrase == "mon-fri 08:00-18:00 Europe/Berlin"


def test_the_policys_place_is_the_first_file(tmp_path: Path) -> None:
    assert shop(tmp_path).place == Place("policy/prod.yaml", 1)


def test_a_single_file_is_a_policy(tmp_path: Path) -> None:
    write_policy(tmp_path)
    policy = load_policy(tmp_path / "policy" / "prod.yaml")
    assert list(policy.targets) == ["postgres-prod", "payroll"]
    assert str(policy.rules[0].place) == "prod.yaml:14"


def test_a_directory_in_which_one_stands_has_its_name_in_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_policy(tmp_path)
    monkeypatch.chdir(tmp_path / "policy")
    assert load_policy(Path()).place == Place("policy/prod.yaml", 1)


def test_rules_may_speak_of_targets_in_other_files(tmp_path: Path) -> None:
    rules = "rules:\n  - {name: r, effect: allow, who: anyone, targets: [one]}\n"
    policy = load_policy(write_policy(tmp_path, a=rules, b=ONE))
    assert [rule.name for rule in policy.rules] == ["r"]


def test_a_target_exists_once_in_all_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_policy(write_policy(tmp_path, a=ONE, b="# b\n" + ONE))
    assert caught.value.message == "policy/b.yaml:3:3: there is a target `one` already, at policy/a.yaml:2"


def test_a_rule_exists_once_in_all_files(tmp_path: Path) -> None:
    rules = "rules:\n  - {name: r, effect: allow, who: anyone, targets: [one]}\n"
    with pytest.raises(ConfigError) as caught:
        load_policy(write_policy(tmp_path, a=ONE + rules, b=rules))
    assert caught.value.message == "policy/b.yaml:2:5: there is a rule `r` already, at policy/a.yaml:4"


def test_a_rule_that_fits_no_target_as_a_whole_is_refused(tmp_path: Path) -> None:
    text = PROD.replace("labels: {env: production}\n", "labels: {env: production}\n    targets: [payroll]\n")
    assert complaint(tmp_path, text) == (
        "policy/shop.yaml:23:5: no-contractors speaks of no target: none fits all of its `targets` and `labels`"
    )


def test_a_file_that_would_silently_not_be_read_is_refused(tmp_path: Path) -> None:
    write_policy(tmp_path, a=ONE)
    (tmp_path / "policy" / "deny.yml").write_text("rules: []")
    with pytest.raises(ConfigError) as caught:
        load_policy(tmp_path / "policy")
    assert (caught.value.message, caught.value.hint) == ("policy/deny.yml: would not be read", "mv deny.yml deny.yaml")


def test_files_below_the_directory_are_not_silently_passed_over(tmp_path: Path) -> None:
    write_policy(tmp_path, a=ONE + "rules: {}\n")
    for name, file in (("production", "deny.yaml"), ("staging", "deny.yml"), ("tests", "a.test.yaml"), (".github", "ci.yaml")):
        (tmp_path / "policy" / name).mkdir()
        (tmp_path / "policy" / name / file).write_text("rules: []\n")
    with pytest.raises(ExceptionGroup) as caught:
        load_policy(tmp_path / "policy")
    told = "would not be read: a policy is the files of one directory, and environments are labels"
    assert [str(error) for error in caught.value.exceptions] == [
        f"policy/production: {told}",
        f"policy/staging: {told}",
        "policy/a.yaml:3:8: `rules` is a list",
    ]


def test_an_editors_hidden_files_are_not_read(tmp_path: Path) -> None:
    write_policy(tmp_path, a=ONE)
    (tmp_path / "policy" / ".a.yaml").write_text("}")
    (tmp_path / "policy" / "README.md").write_text("}")
    assert list(load_policy(tmp_path / "policy").targets) == ["one"]


def test_a_directory_without_a_policy_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"^empty: there is no \*\.yaml in this directory$"):
        load_policy(tmp_path / "empty")


def test_a_policy_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^gone: there is no such file$"):
        load_policy(tmp_path / "gone")


def test_the_cases_beside_a_policy_are_no_part_of_it(tmp_path: Path) -> None:
    write_policy(tmp_path, a=ONE)
    (tmp_path / "policy" / "a.test.yaml").write_text("cases: []\n")
    assert list(load_policy(tmp_path / "policy").targets) == ["one"]


def test_all_faults_of_all_files_are_told_at_once(tmp_path: Path) -> None:
    directory = write_policy(
        tmp_path,
        a="tragets: {}\ntargets:\n  one: {protocol: tcp, adress: x}\n  Two: {protocol: udp, address: 'x:1'}\n",
        b="rules:\n  - {name: r, effect: allow, who: anyone, targets: [gone], limits: {idle: 5}}\n  - nothing\n",
        c="a\tb",
        d="[]",
    )
    with pytest.raises(ExceptionGroup) as caught:
        load_policy(directory)
    assert [str(error) for error in caught.value.exceptions] == [
        "policy/a.yaml:1:1: unknown key `tragets`; did you mean `targets`?",
        "policy/a.yaml:3:24: unknown key `adress` in one; did you mean `address`?",
        "policy/a.yaml:4:3: `Two` is no name; names are a-z, 0-9, `.`, `_`, `-`, at most 63 characters",
        "policy/a.yaml:4:19: `protocol` is postgres or tcp, not `udp`",
        "policy/b.yaml:2:75: `idle`: `5` is not a length of time like 30s, 5m or 1h30m",
        "policy/b.yaml:3:5: `rules` is a table of `key: value` lines",
        "policy/c.yaml:1:2: a tab; indent with spaces",
        "policy/d.yaml:1:1: the file is a table of `key: value` lines",
    ]
    assert caught.value.message == "policy has 8 faults"


def test_what_rules_speak_of_is_asked_once_the_targets_can_be_read(tmp_path: Path) -> None:
    rules = "".join(f"  - {{name: r{number}, effect: allow, who: anyone, targets: [tow]}}\n" for number in range(2))
    assert complaints(tmp_path, ONE + "  two: {protocol: tcp}\nrules:\n" + rules) == [
        "policy/shop.yaml:3:8: `address` is missing in two"
    ]
    assert complaints(tmp_path, ONE + "  two: {protocol: tcp, address: 'x:1'}\nrules:\n" + rules) == [
        f"policy/shop.yaml:{line}:44: r{line - 5} names `tow`, and no target fits; did you mean `two`?" for line in (5, 6)
    ]


def test_the_groups_that_there_are_may_stand_in_any_file(tmp_path: Path) -> None:
    policy = load_policy(write_policy(tmp_path, a=ONE + "groups: [a, b]\n", b="groups: c\n"))
    assert policy.groups == {"a", "b", "c"}


def stages() -> dict[str, str]:
    """One repository for two environments, and rules for both."""
    target = "targets:\n  db-{env}: {{protocol: tcp, address: '{env}:1', labels: {{env: {env}}}}}\n"
    rules = (
        "rules:\n  - {name: everywhere, effect: allow, who: {groups: [dba]}, targets: 'db-*'}\n"
        "  - {name: only-staging, effect: allow, who: {groups: [eng]}, labels: {env: staging}}\n"
    )
    return {"prod": target.format(env="production"), "stag": target.format(env="staging"), "rules": rules}


def test_a_gateway_knows_its_own_environment_and_nothing_of_others(tmp_path: Path) -> None:
    directory = write_policy(tmp_path, **stages())
    assert len(load_policy(directory).targets) == 2
    staging, production = load_policy(directory, "staging"), load_policy(directory, "production")
    assert (list(staging.targets), [rule.name for rule in staging.rules]) == (["db-staging"], ["everywhere", "only-staging"])
    assert (list(production.targets), [rule.name for rule in production.rules]) == (["db-production"], ["everywhere"])
    asked = ask(person("ana", "dba"), "db-production")
    assert decide(production, asked, WEDNESDAY).allowed
    assert decide(staging, asked, WEDNESDAY).reasons == ("there is no target `db-production`",)


def test_a_rule_of_another_environment_is_read_as_strictly(tmp_path: Path) -> None:
    files = stages() | {"typo": "rules: [{name: t, effect: deny, who: anyone, labels: {env: producton}}]\n"}
    with pytest.raises(ConfigError, match=r"typo.yaml:1:46: t names the label env: producton, .*did you mean `production`"):
        load_policy(write_policy(tmp_path, **files), "staging")


def test_a_target_of_no_environment_is_refused_where_there_are_some(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^policy/lost.yaml:2:3: one has no label `env`, so that no gateway"):
        load_policy(write_policy(tmp_path, **stages(), lost=ONE), "staging")


def test_an_environment_without_a_target_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_policy(write_policy(tmp_path, **stages()), "stagin")
    assert caught.value.message == (
        "policy: no target has the label env: stagin, which this gateway is for; did you mean `staging`?"
    )


def mixed() -> str:
    """One file out of both: the targets, then the rules."""
    prod_targets, prod_rules = PROD.split("rules:\n")
    staging_targets, staging_rules = STAGING.split("rules:\n")
    return prod_targets + staging_targets.removeprefix("targets:\n") + "rules:\n" + prod_rules + staging_rules


def mutate(text: str, chance: random.Random) -> str:
    """The text with one piece of it dropped, doubled, moved, or replaced by what YAML trips over."""
    lines = text.splitlines(keepends=True)
    row = chance.randrange(len(lines))
    column = chance.randrange(len(text))
    length = chance.choice((1, 1, 2, 5, 20))
    match chance.randrange(7):
        case 0:
            return text[:column] + text[column + length :]
        case 1:
            pieces = (
                "\t",
                "\x00",
                "\u202e",
                "&a ",
                "*a",
                "!!python/name:x ",
                "[",
                "}",
                ": ",
                "#",
                "'",
                '"\\u0007"',
                "~",
                "-",
                "\n---\n",
            )
            return text[:column] + chance.choice(pieces) + text[column:]
        case 2:
            return "".join(lines[:row] + lines[row : row + 1] * 2 + lines[row + 1 :])
        case 3:
            return "".join(lines[:row] + lines[row + 1 :])
        case 4:
            other = chance.randrange(len(text))
            return text[:column] + text[other : other + length] + text[column + length :]
        case 5:
            return "".join([*lines[:row], "  ", *lines[row:]])
    values = ("null", "-1", "0", "1e9", "[]", "{}", "yes", "[[a]]", "9" * 30, "a" * 300, "2026-01-01", "é", "0x1f", "*")
    key, colon, _ = lines[row].partition(":")
    return "".join([*lines[:row], f"{key}{colon} {chance.choice(values)}\n", *lines[row + 1 :]])


@given(st.integers(0, 2**32), st.integers(1, 4))
def test_a_mutated_policy_loads_or_fails_with_file_and_line(
    tmp_path_factory: pytest.TempPathFactory, seed: int, times: int
) -> None:
    chance = random.Random(seed)
    text = mixed()
    for _ in range(times):
        text = mutate(text, chance)
    home = tmp_path_factory.getbasetemp()
    (home / "policy.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    lines = tuple(f"policy.yaml:{line}:" for line in range(1, text.count("\n") + 3))
    try:
        load_policy(home / "policy.yaml")
    except* ConfigError as errors:
        for error in errors.exceptions:
            assert isinstance(error, ConfigError)
            assert error.message.startswith(lines)
            assert error.message.isprintable()
