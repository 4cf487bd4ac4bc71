"""What a change of policy would have allowed or refused."""

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest

from airtunnel.model import Tags
from airtunnel.policy.diff import Asked, Comparison, Kind, compare, phrase
from airtunnel.policy.load import load_policy
from airtunnel.policy.rules import Policy
from tests.policy.shop import PROD, STAGING, SUNDAY, WEDNESDAY, ask, job, person, write_policy

ANA = person("ana@example.com", "data-eng")
BO = person("bo@example.com", "on-call")


def policy(home: Path, old: str = "", new: str = "") -> Policy:
    """The shop's policy with one text replaced."""
    assert old in PROD + STAGING
    return load_policy(write_policy(home, prod=PROD.replace(old, new), staging=STAGING.replace(old, new)))


def changed(home: Path, old: str, new: str, requests: Iterable[Asked]) -> Comparison:
    return compare(policy(home), policy(home, old, new), requests)


def test_a_policy_is_no_different_from_itself(tmp_path: Path) -> None:
    found = changed(tmp_path, "rules:", "# a comment\nrules:", [Asked(ask(ANA, "postgres-staging"), WEDNESDAY)])
    assert found == Comparison(1, ())


@pytest.mark.parametrize(
    ("old", "new", "asked", "kind", "rules"),
    [
        (
            "[data-eng, on-call]",
            "[on-call]",
            Asked(ask(ANA, "postgres-staging"), WEDNESDAY),
            Kind.REFUSED,
            ("engineers-reach-staging", "engineers-reach-staging"),
        ),
        (
            "require: [reason]",
            "require: [ticket]",
            Asked(ask(BO, "postgres-prod", ticket="OPS-1"), WEDNESDAY),
            Kind.ALLOWED,
            ("prod-is-for-on-call", "prod-is-for-on-call"),
        ),
        (
            "duration: 30m",
            "duration: 20m",
            Asked(ask(BO, "postgres-prod", reason="pager"), WEDNESDAY),
            Kind.LIMITS,
            ("prod-is-for-on-call", "prod-is-for-on-call"),
        ),
        (
            "name: engineers-reach-staging",
            "name: engineers",
            Asked(ask(ANA, "postgres-staging"), WEDNESDAY),
            Kind.RULE,
            ("engineers-reach-staging", "engineers"),
        ),
        (
            "days: [mon-fri]",
            "days: [sun]",
            Asked(ask(ANA, "legacy"), WEDNESDAY),
            Kind.REFUSED,
            ("legacy-by-day", "legacy-by-day"),
        ),
    ],
)
def test_each_kind_of_change_is_told_with_both_rules(
    tmp_path: Path, old: str, new: str, asked: Asked, kind: Kind, rules: tuple[str, str]
) -> None:
    (only,) = changed(tmp_path, old, new, [asked]).differences
    assert (only.kind, (only.old.rule, only.new.rule), only.asked, only.count) == (kind, rules, asked, 1)


def test_a_no_that_stays_a_no_is_no_difference(tmp_path: Path) -> None:
    requests = [Asked(ask(person("eve@example.com"), "postgres-prod"), WEDNESDAY)]
    assert changed(tmp_path, "[on-call]", "[pagers]", requests).differences == ()


def test_the_same_change_for_the_same_person_is_counted_and_another_persons_is_not(tmp_path: Path) -> None:
    later = WEDNESDAY + timedelta(hours=3)
    requests = [
        Asked(ask(ANA, "postgres-staging", dag_id="billing"), WEDNESDAY),
        Asked(ask(person("eva@example.com", "data-eng"), "postgres-staging"), SUNDAY),
        Asked(ask(ANA, "postgres-staging"), later),
        Asked(ask(BO, "postgres-staging"), later),
    ]
    found = changed(tmp_path, "[data-eng, on-call]", "[on-call]", requests)
    assert (found.looked_at, found.count(Kind.REFUSED), found.count(Kind.ALLOWED)) == (4, 3, 0)
    ana, eva = found.differences
    assert (ana.asked.request.principal, ana.asked.at, ana.last, ana.count) == (ANA, WEDNESDAY, later, 2)
    assert (eva.asked.request.principal.name, eva.count) == ("eva@example.com", 1)


def test_what_somebody_loses_is_told_first(tmp_path: Path) -> None:
    requests = [
        Asked(ask(job(namespace="etl"), "legacy", dag_id="billing"), WEDNESDAY),
        Asked(ask(job(namespace="airflow"), "legacy", dag_id="billing"), WEDNESDAY),
    ]
    found = changed(tmp_path, "namespace: airflow", "namespace: etl", requests)
    assert [one.kind for one in found.differences] == [Kind.REFUSED, Kind.ALLOWED]


def test_what_a_request_said_is_a_phrase() -> None:
    assert phrase(Tags(dag_id="billing", reason="look"), "10.1.2.3") == "dag_id=billing, reason=look, from 10.1.2.3"
    assert phrase(Tags(), None) == ""
