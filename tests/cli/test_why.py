"""A refusal that somebody saw, told once more."""

import json
from pathlib import Path

from airtunnel.gateway.ids import new_id
from airtunnel.gateway.service import wall_clock
from tests.cli.terminal import Terminal
from tests.lab import Lab, Site


async def refused(terminal: Terminal) -> str:
    """The id that a refused person reads."""
    ended = await terminal.run("connect", "payroll", "--reason", "month's end")
    assert ended.code == 77
    (line,) = [one for one in ended.err.splitlines() if one.startswith("  request: ")]
    return line.removeprefix("  request: ")


async def test_a_refused_person_reads_all_of_it_and_what_to_type(ana: Terminal) -> None:
    number = await refused(ana)
    ended = await ana.run("why", number)
    assert ended.code == 0
    lines = ended.out.splitlines()
    assert lines[0] == "ana@example.com may not reach payroll"
    assert lines[1].startswith("  when     20")
    assert lines[2:] == [
        "  rule     payroll-is-for-finance (policy/policy.yaml:20)",
        "  because  needs group finance; you are in: data-eng",
        "  groups   data-eng",
        "  tags     reason=month's end",
        "  from     127.0.0.1",
        f"  request  {number}",
        "  now      the same",
    ]
    assert ended.err == "hint: airtunnel targets\n"

    told = json.loads((await ana.run("why", number.upper(), "--json")).out)
    assert (told["request"], told["rule"], told["now"]["rule"]) == (number, *["payroll-is-for-finance"] * 2)


async def test_another_person_is_told_what_is_told_of_an_id_that_never_was(terminal: Terminal, lab: Lab, site: Site) -> None:
    terminal.log_in(site, await lab.tokens("ana"))
    number = await refused(terminal)
    terminal.log_in(site, await lab.tokens("fin"))
    said = [await terminal.run("why", one) for one in (number, new_id(wall_clock()))]
    assert {(ended.code, ended.out) for ended in said} == {(1, "")}
    assert said[0].err == said[1].err
    assert "no refusal of yours is known here under this id" in said[0].err


async def test_an_operator_looks_it_up_and_is_told_what_to_ask_the_policy(ana: Terminal, site: Site, tmp_path: Path) -> None:
    number = await refused(ana)
    operator = Terminal(site.directory)
    ended = await operator.run("why", number, "--audit", "audit")
    assert ended.code == 0
    assert "ana@example.com was refused payroll" in ended.out
    assert "rule     payroll-is-for-finance (policy/policy.yaml:20)" in ended.out
    assert "  now " not in ended.out
    assert ended.err.startswith("Next: airtunnel policy explain policy --as ana@example.com --target payroll --group data-eng ")

    *words, reason = ended.err.removeprefix("Next: airtunnel ").split(" --tag 'reason=month'\"'\"'s end' ")
    explained = await operator.run(*words[0].split(), "--tag", "reason=month's end", *reason.split())
    assert explained.code == 77
    assert "needs group finance; you are in: data-eng" in explained.out


async def test_what_is_not_in_the_audit_or_no_refusal_is_told(ana: Terminal, site: Site) -> None:
    await refused(ana)
    (started,) = site.records("gateway.started")
    audit = str(site.directory / "audit" / "audit.jsonl")
    ended = await ana.run("why", started["id"], "--audit", audit)
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith(f"error: request {started['id']} was not refused by the policy\n  20")
    assert "gateway.started" in ended.err

    number = new_id(wall_clock())
    ended = await ana.run("why", number, "--audit", audit)
    assert ended.code == 1
    assert ended.err.startswith(f"error: there is no request {number} in {audit}\nhint: look in the audit of 20")
    assert (await ana.run("why", number, "--audit", "nosuch.jsonl")).code == 2


async def test_what_is_no_id_is_a_wrong_command_line(terminal: Terminal) -> None:
    ended = await terminal.run("why", "42")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("error: `42` is no request id: 26 letters and digits")
