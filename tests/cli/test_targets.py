"""The list of what one may reach."""

import json

from tests.cli.terminal import Terminal
from tests.lab import POLICY, Lab


async def test_it_says_what_is_open_on_stdout_and_why_the_rest_is_not_on_stderr(ana: Terminal) -> None:
    ended = await ana.run("targets")
    assert ended.code == 0
    assert [line.split() for line in ended.out.splitlines()] == [
        ["TARGET", "AIRFLOW", "RULE", "WHAT", "IT", "IS"],
        ["warehouse", "warehouse", "engineers", "(policy/policy.yaml:15)"],
    ]
    assert ended.err.splitlines() == [
        "",
        "Not open to you:",
        "  payroll: payroll-is-for-finance (policy/policy.yaml:20), needs group finance; you are in: data-eng",
    ]


async def test_as_json_it_is_one_object(ana: Terminal) -> None:
    ended = await ana.run("targets", "--json")
    assert (ended.code, ended.err) == (0, "")
    body = json.loads(ended.out)
    assert (body["who"], body["groups"]) == ("ana@example.com", ["data-eng"])
    assert [(one["name"], one["allowed"]) for one in body["targets"]] == [("warehouse", True), ("payroll", False)]
    assert "address" not in ended.out


async def test_who_may_reach_nothing_is_told_who_they_are(terminal: Terminal, lab: Lab) -> None:
    async with lab.gateway(POLICY.replace("[data-eng]", "[other]").replace("[finance]", "[other]")) as site:
        terminal.log_in(site, await lab.tokens("ana"))
        ended = await terminal.run("targets")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith("Not open to you:\n")
    assert "You are ana@example.com, in data-eng." in ended.err


async def test_targets_are_remembered_for_completion(ana: Terminal) -> None:
    await ana.run("targets")
    assert json.loads((ana.state / "targets.json").read_text()) == {"warehouse": ""}
