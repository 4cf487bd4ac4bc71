"""Writing a policy: schema, findings, cases."""

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.cli.terminal import Terminal
from tests.policy.shop import PROD, write_policy

CASES = """\
people:
  ana: {name: ana@example.com, groups: [data-eng]}
cases:
  - {who: ana, target: postgres-staging, expect: allow, rule: engineers-reach-staging}
  - name: production is for on-call
    who: ana
    target: postgres-prod
    expect: refuse
    rule: prod-is-for-on-call
"""
WRONG = """\
  - name: production for all
    who: ana
    target: postgres-prod
    expect: allow
"""


@pytest.fixture
def writer(terminal: Terminal) -> Terminal:
    """The terminal of somebody who writes the shop's policy."""
    directory = write_policy(terminal.home)
    (directory / "shop.test.yaml").write_text(CASES)
    return terminal


async def test_the_schema_is_json_that_describes_a_rule(terminal: Terminal) -> None:
    ended = await terminal.run("policy", "schema")
    assert (ended.code, ended.err) == (0, "")
    assert {"targets", "rules"} <= set(json.loads(ended.out)["properties"])


async def test_findings_are_lines_that_an_editor_understands(writer: Terminal) -> None:
    ended = await writer.run("policy", "lint", "policy")
    assert ended.code == 0
    assert ended.out.startswith("policy/prod.yaml:9:3: warning: ")
    assert ended.err == "policy: 4 targets, 5 rules; 0 errors, 1 warnings\n"

    listed = json.loads((await writer.run("policy", "lint", "policy", "--json")).out)
    (finding,) = listed["findings"]
    assert (listed["ok"], finding["file"], finding["line"], finding["level"]) == (True, "policy/prod.yaml", 9, "warning")


async def test_a_group_that_nobody_knows_is_an_error_when_all_are_named(writer: Terminal) -> None:
    known = await writer.run("policy", "lint", "--groups", "data-eng,on-call,contractors")
    assert known.code == 0
    unknown = await writer.run("policy", "lint", "--groups", "data-eng contractors")
    assert unknown.code == 1
    (error, *_) = [line for line in unknown.out.splitlines() if ": error: " in line]
    assert error.startswith("policy/prod.yaml:14:5: error: prod-is-for-on-call ")
    assert "on-call" in error


async def test_of_a_broken_policy_all_faults_are_told_at_once(writer: Terminal) -> None:
    (writer.home / "policy" / "prod.yaml").write_text(PROD.replace("effect: deny", "efect: deny").replace("10m", "10"))
    for command in ("lint", "test"):
        ended = await writer.run("policy", command)
        assert (ended.code, ended.out) == (78, "")
        assert "policy/prod.yaml:19:" in ended.err
        assert "unknown key `efect`" in ended.err


async def test_broken_cases_are_told_by_lint_as_well(writer: Terminal) -> None:
    (writer.home / "policy" / "shop.test.yaml").write_text(CASES.replace("who: ana\n", "who: anna\n"))
    for command in ("lint", "test"):
        ended = await writer.run("policy", command)
        assert (ended.code, ended.out) == (78, "")
        assert ended.err.startswith("error: policy/shop.test.yaml:6:10: there is nobody called `anna`")


async def test_cases_that_hold_are_counted_and_rules_without_a_case_named(writer: Terminal) -> None:
    ended = await writer.run("policy", "test")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err == "2 cases, none failed\nNo case is about the rules: no-contractors, billing-job, legacy-by-day\n"


async def test_a_case_that_fails_is_one_line_with_all_there_is_to_know(writer: Terminal) -> None:
    (writer.home / "policy" / "shop.test.yaml").write_text(CASES + WRONG)
    ended = await writer.run("policy", "test", "policy", "--junit", "junit.xml")
    why = "needs group on-call; you are in: data-eng; needs a reason (--reason)"
    problem = f"expected allow; got refuse by prod-is-for-on-call (policy/prod.yaml:14): {why}"
    assert (ended.code, ended.out) == (1, f"policy/shop.test.yaml:10: production for all: {problem}\n")
    assert ended.err.startswith("3 cases, 1 failed\n")

    suite = ET.parse(writer.home / "junit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    assert [failure.get("message") for failure in suite.iter("failure")] == [f"policy/shop.test.yaml:10: {problem}"]

    told = json.loads((await writer.run("policy", "test", "--json")).out)
    assert (told["ok"], told["passed"], told["failed"]) == (False, 2, 1)
    last = told["cases"][-1]
    assert (last["passed"], last["place"], last["problems"]) == (False, "policy/shop.test.yaml:10", [problem])
    assert last["got"]["reasons"] == ["needs group on-call; you are in: data-eng", "needs a reason (--reason)"]


async def test_no_case_at_all_is_no_success(terminal: Terminal) -> None:
    write_policy(terminal.home)
    ended = await terminal.run("policy", "test", "policy")
    assert ended.code == 2
    assert ended.err.startswith("error: there are no cases beside policy: no *.test.yaml\n")


async def test_a_report_that_cannot_be_written_is_told(writer: Terminal) -> None:
    ended = await writer.run("policy", "test", "--junit", str(Path("nosuch") / "junit.xml"))
    assert ended.code == 2
    assert "nosuch/junit.xml cannot be written" in ended.err
