"""Cases beside a policy: read strictly, and compared with what the policy says."""

from pathlib import Path

import pytest

from airtunnel.config.document import Source, parse_document
from airtunnel.errors import ConfigError
from airtunnel.model import PrincipalKind
from airtunnel.policy.cases import Case, load_cases, read_cases, run_case, undecided
from airtunnel.policy.load import load_policy
from airtunnel.policy.rules import Policy
from tests.policy.shop import shop, write_policy

PEOPLE = """\
people:
  ana: {name: ana@example.com, groups: [data-eng]}
  bo: {name: bo@example.com, groups: [on-call]}
  job: {name: airflow-worker, kind: workload, issuer: https://kube.example, claims: {namespace: airflow, aud: [a, b]}}
cases:
"""


def read(text: str) -> tuple[Case, ...]:
    return read_cases(parse_document((PEOPLE + text).encode(), Source("policy/shop.test.yaml", Path())))


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    return shop(tmp_path)


@pytest.mark.parametrize(
    "case",
    [
        "{who: ana, target: postgres-staging, expect: allow, rule: engineers-reach-staging}",
        "{who: bo, target: postgres-prod, tags: {reason: pager}, expect: allow, rule: prod-is-for-on-call}",
        "{who: bo, target: postgres-prod, expect: refuse, reason: needs a reason}",
        "{who: {name: x, groups: [contractors]}, target: postgres-prod, expect: deny, rule: no-contractors}",
        "{who: {name: x, groups: [contractors]}, target: postgres-prod, expect: refuse}",
        "{who: {name: x, groups: []}, target: nosuch, expect: refuse, rule: default, reason: there is no target}",
        "{who: job, target: legacy, tags: {dag_id: billing_eu}, at: 2026-01-07T03:00Z, expect: allow, rule: billing-job}",
        "{who: ana, target: legacy, at: '2026-01-07T08:00 Europe/Berlin', from: 10.1.2.3, expect: allow, rule: legacy-by-day}",
        "{who: ana, target: legacy, at: '2026-01-07T18:00 Europe/Berlin', from: 10.1.2.3, expect: refuse}",
        "{who: ana, target: legacy, at: '2026-01-07T08:00 Europe/Berlin', from: 11.1.2.3, expect: refuse, reason: only from}",
    ],
)
def test_a_case_that_the_policy_meets_has_no_problem(policy: Policy, case: str) -> None:
    (only,) = read(f"  - {case}\n")
    assert run_case(policy, only).problems == ()


@pytest.mark.parametrize(
    ("case", "problem"),
    [
        (
            "{who: ana, target: postgres-prod, expect: allow}",
            "expected allow; got refuse by prod-is-for-on-call (policy/prod.yaml:14): "
            "needs group on-call; you are in: data-eng; needs a reason (--reason)",
        ),
        (
            "{who: ana, target: postgres-staging, expect: refuse}",
            "expected refuse; got allow by engineers-reach-staging (policy/staging.yaml:11)",
        ),
        (
            "{who: ana, target: postgres-staging, expect: allow, rule: billing-job}",
            "expected allow by billing-job; got allow by engineers-reach-staging (policy/staging.yaml:11)",
        ),
        (
            "{who: ana, target: postgres-staging, expect: allow, rule: engineers-reach-stagin}",
            "expected allow by engineers-reach-stagin (there is no such rule; did you mean `engineers-reach-staging`?); "
            "got allow by engineers-reach-staging (policy/staging.yaml:11)",
        ),
        (
            "{who: ana, target: payroll, expect: deny}",
            "expected deny; got refuse by default (policy/prod.yaml:9): no rule speaks of payroll",
        ),
        (
            "{who: ana, target: payroll, expect: refuse, reason: finance}",
            "expected a reason with `finance`; got refuse by default (policy/prod.yaml:9): no rule speaks of payroll",
        ),
        ("{who: ana, target: legacy, expect: refuse}", "needs `at`, because legacy-by-day looks at the clock"),
    ],
)
def test_a_case_that_fails_says_what_it_expected_and_what_came(policy: Policy, case: str, problem: str) -> None:
    (only,) = read(f"  - {case}\n")
    assert run_case(policy, only).problems == (problem,)


@pytest.mark.parametrize(
    ("case", "fault"),
    [
        ("{who: anna, target: t, expect: allow}", "6:11: there is nobody called `anna` in `people`; did you mean `ana`?"),
        ("{who: ana, target: t, expects: allow}", "6:27: unknown key `expects`"),
        ("{who: ana, target: t}", "6:5: `expect` is missing in cases"),
        ("{who: ana, target: t, expect: no}", "6:35: `expect` is allow or deny or refuse, not `no`"),
        ("{who: {groups: [a]}, target: t, expect: deny}", "6:11: `name` is missing in who"),
        ("{who: ana, target: t, expect: deny, at: 2026-01-07T08:00}", "6:45: `2026-01-07T08:00` has no time zone"),
        ("{who: ana, target: t, expect: deny, from: 10.0.0.0/8}", "6:47: `10.0.0.0/8` is not an IP address"),
        ("{who: ana, target: t, expect: deny, tags: {dag: x}}", "6:48: there is no tag `dag`; did you mean `dag_id`?"),
        ("{who: ana, target: t, expect: deny, tags: {try_number: x}}", "tag try_number is a whole number, not `x`"),
        ("{who: ana, target: t, expect: allow, reason: x}", "6:42: only a refusal has reasons"),
    ],
)
def test_what_is_wrong_with_a_case_is_told_by_its_place(case: str, fault: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(f"  - {case}\n")
    assert caught.value.message.startswith("policy/shop.test.yaml:6:")
    assert fault in caught.value.message


def test_a_case_says_who_asks_in_full_or_by_a_name_from_the_list() -> None:
    (case,) = read("  - {who: job, target: t, expect: refuse, tags: {try_number: 2, map_index: -1}}\n")
    who = case.request.principal
    assert (who.kind, who.issuer, who.name) == (PrincipalKind.WORKLOAD, "https://kube.example", "airflow-worker")
    assert who.claims == {"namespace": "airflow", "aud": ("a", "b")}
    assert case.request.tags.said() == {"try_number": 2, "map_index": -1}
    assert case.name == "airflow-worker asks for t"
    assert (case.place.line, case.at) == (6, None)


def test_cases_stand_beside_the_policy_and_below_and_are_no_policy(tmp_path: Path) -> None:
    directory = write_policy(tmp_path)
    one = "cases:\n  - {who: {name: x}, target: payroll, expect: refuse}\n"
    (directory / "prod.test.yaml").write_text(one)
    (directory / "more").mkdir()
    (directory / "more" / "night.test.yaml").write_text(one)
    assert [str(case.place) for case in load_cases(directory)] == ["policy/more/night.test.yaml:2", "policy/prod.test.yaml:2"]
    assert [str(case.place) for case in load_cases(directory / "prod.yaml")] == ["prod.test.yaml:2"]
    assert len(load_policy(directory).rules) == 5


def test_a_rule_in_a_file_of_cases_is_told_and_each_broken_file_with_it(tmp_path: Path) -> None:
    directory = write_policy(tmp_path)
    (directory / "a.test.yaml").write_text("rules: []\ncases: []\n")
    (directory / "b.test.yaml").write_text("cases: none\n")
    with pytest.raises(ExceptionGroup) as caught:
        load_cases(directory)
    told = [str(one) for one in caught.value.exceptions]
    assert told == [
        "policy/a.test.yaml:1:1: unknown key `rules`",
        "policy/b.test.yaml:1:8: `cases` is a list",
    ]


def test_the_rules_that_no_case_is_decided_by_are_named(policy: Policy) -> None:
    results = tuple(run_case(policy, case) for case in read("  - {who: ana, target: postgres-staging, expect: allow}\n"))
    assert undecided(policy, results) == ("prod-is-for-on-call", "no-contractors", "billing-job", "legacy-by-day")
