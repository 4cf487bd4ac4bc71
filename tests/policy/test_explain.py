"""The rules that came near, and what would have to change."""

from pathlib import Path

import pytest

from airtunnel.model import Request
from airtunnel.policy.decide import decide
from airtunnel.policy.explain import nearest
from airtunnel.policy.load import load_policy
from airtunnel.policy.rules import Policy
from tests.policy.shop import SUNDAY, WEDNESDAY, ask, job, person, shop, write_policy


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    return shop(tmp_path)


def near(policy: Policy, request: Request, *, sunday: bool = False) -> list[tuple[str, str, tuple[str, ...]]]:
    now = SUNDAY if sunday else WEDNESDAY
    found = nearest(policy, request, now, decide(policy, request, now))
    return [(one.rule.name, str(one.verdict), one.changes) for one in found]


def test_a_rule_about_the_target_comes_before_one_that_would_have_to_be_widened(policy: Policy) -> None:
    found = near(policy, ask(person("ana@example.com", "data-eng"), "legacy", source="1.2.3.4"), sunday=True)
    assert [name for name, _, _ in found] == ["billing-job", "engineers-reach-staging"]
    assert "needs a workload; you are a person" in found[0][2]
    assert found[1][1:] == ("would allow it", ("it does not speak of legacy",))


def test_who_is_denied_sees_the_rule_that_allows(policy: Policy) -> None:
    both = person("bo@example.com", "on-call", "contractors")
    assert near(policy, ask(both, "postgres-prod", reason="pager"))[0] == ("prod-is-for-on-call", "allows it", ())


def test_who_is_allowed_sees_what_else_allows_and_for_whom_it_is_denied(policy: Policy) -> None:
    bo = person("bo@example.com", "on-call")
    assert near(policy, ask(bo, "postgres-prod", reason="pager")) == [
        ("no-contractors", "would deny it", ("it is denied to group contractors",))
    ]
    worker = job(namespace="airflow")
    assert near(policy, ask(worker, "legacy", dag_id="billing_eu")) == []


def test_a_target_that_does_not_exist_has_the_rules_that_would_be_met(policy: Policy) -> None:
    found = near(policy, ask(person("ana@example.com", "data-eng"), "nosuch"))
    assert found[0] == ("engineers-reach-staging", "would allow it", ("it does not speak of nosuch",))


def test_of_many_rules_few_are_shown(tmp_path: Path) -> None:
    rules = "".join(f"  - {{name: r{at}, effect: allow, who: {{groups: [g{at}]}}, targets: [t]}}\n" for at in range(20))
    text = f"targets:\n  t: {{protocol: tcp, address: 'db:1'}}\nrules:\n{rules}"
    policy = load_policy(write_policy(tmp_path, many=text))
    assert len(near(policy, ask(person(), "t"))) == 5
