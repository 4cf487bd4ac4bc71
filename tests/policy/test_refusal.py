"""The refusal as it travels, and as it is read aloud."""

from datetime import datetime
from pathlib import Path

import pytest

from airtunnel.errors import Refused
from airtunnel.model import Request
from airtunnel.policy.decide import decide
from airtunnel.policy.refusal import refused
from tests.policy.shop import SUNDAY, WEDNESDAY, ask, job, person, shop


def aloud(refusal: Refused) -> str:
    """As a terminal shows it."""
    return "\n".join(
        [f"error: {refusal.message}", *(f"  {line}" for line in refusal.details), f"hint: {refusal.hint}"],
    )


GOLDEN = [
    (
        ask(person("dev@example.com", "data-eng"), "postgres-prod", reason="look"),
        WEDNESDAY,
        """\
error: dev@example.com may not reach postgres-prod
  rule: prod-is-for-on-call (policy/prod.yaml:14), needs group on-call; you are in: data-eng
hint: airtunnel connect postgres-staging""",
    ),
    (
        ask(person("bo@example.com", "on-call"), "postgres-prod"),
        WEDNESDAY,
        """\
error: bo@example.com may not reach postgres-prod
  rule: prod-is-for-on-call (policy/prod.yaml:14), needs a reason (--reason)
hint: airtunnel connect postgres-prod --reason TEXT""",
    ),
    (
        ask(person("eve@example.com", "on-call", "contractors"), "postgres-prod", reason="x"),
        WEDNESDAY,
        """\
error: eve@example.com may not reach postgres-prod
  rule: no-contractors (policy/prod.yaml:20), denied to group contractors
hint: airtunnel connect postgres-staging""",
    ),
    (
        ask(person("ana@example.com"), "legacy"),
        SUNDAY,
        """\
error: ana@example.com may not reach legacy
  rule: legacy-by-day (policy/staging.yaml:20), only mon-fri 08:00-18:00 Europe/Berlin; it is Sun 03:00
hint: airtunnel targets""",
    ),
    (
        ask(job(namespace="airflow"), "legacy", dag_id="shipping"),
        WEDNESDAY,
        """\
error: airflow-worker may not reach legacy
  rule: billing-job (policy/staging.yaml:15), needs tag dag_id like billing*; you said shipping
hint: airtunnel targets""",
    ),
    (
        ask(person("dev@example.com", "data-eng"), "payroll"),
        WEDNESDAY,
        """\
error: dev@example.com may not reach payroll
  rule: default (policy/prod.yaml:9), no rule speaks of payroll
hint: airtunnel targets""",
    ),
    (
        ask(person("dev@example.com", "data-eng"), "posgres-staging"),
        WEDNESDAY,
        """\
error: dev@example.com may not reach posgres-staging
  rule: default (policy/prod.yaml:1), there is no target `posgres-staging`; did you mean `postgres-staging`?
hint: airtunnel connect postgres-staging""",
    ),
]


@pytest.mark.parametrize(("asked", "now", "text"), GOLDEN)
def test_a_refusal_reads_well(tmp_path: Path, asked: Request, now: datetime, text: str) -> None:
    assert aloud(refused(decide(shop(tmp_path), asked, now), asked)) == text


def test_a_refusal_carries_what_the_audit_and_a_script_need(tmp_path: Path) -> None:
    request = ask(person("ana@example.com"), "legacy")
    refusal = refused(decide(shop(tmp_path), request, SUNDAY), request, "01J9X")
    assert refusal.exit_code == 77
    assert refusal.as_json() == {
        "code": "refused",
        "message": "ana@example.com may not reach legacy",
        "details": ["rule: legacy-by-day (policy/staging.yaml:20), only mon-fri 08:00-18:00 Europe/Berlin; it is Sun 03:00"],
        "hint": "airtunnel targets",
        "who": "ana@example.com",
        "target": "legacy",
        "rule": "legacy-by-day",
        "place": "policy/staging.yaml:20",
        "reasons": ["only mon-fri 08:00-18:00 Europe/Berlin; it is Sun 03:00"],
        "request": "01J9X",
        "for_now": True,
    }


def test_a_targets_name_is_the_clients_word_and_comes_out_harmless(tmp_path: Path) -> None:
    request = ask(person(), "x\n\x1b[2Jrule: allow \u202e" + "y" * 9999)
    refusal = refused(decide(shop(tmp_path), request, WEDNESDAY), request)
    for line in (refusal.message, *refusal.details, refusal.target):
        assert line.isprintable()
        assert len(line) < 300


def test_what_is_allowed_is_no_refusal(tmp_path: Path) -> None:
    request = ask(person("ana@example.com", "data-eng"), "postgres-staging")
    decision = decide(shop(tmp_path), request, WEDNESDAY)
    with pytest.raises(ValueError, match="engineers-reach-staging allows this request"):
        refused(decision, request)
