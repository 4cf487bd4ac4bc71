"""Reading the record of what happened: as a table, as JSON, as a picture, as a page."""

import asyncio
import json
from pathlib import Path

import psycopg
import pytest

from airtunnel.errors import Refused
from airtunnel.model import Tags
from airtunnel.tunnel.tunnels import Tunnels
from tests.audit.runs import ANA, RUN, Audit, eventful, task
from tests.cli.terminal import Terminal, on_terminal
from tests.lab import Lab

TAGS = Tags(dag_id="billing", task_id="load", run_id="manual__1", reason="incident 42")


@pytest.fixture
def audit(terminal: Terminal) -> Path:
    """An audit where the commands look for one by themselves."""
    terminal.variables["TZ"] = "UTC"
    return eventful().write(terminal.home / "audit" / "audit.jsonl")


def lines_of(path: Path) -> list[str]:
    """The records as they were written."""
    return path.read_text().splitlines()


async def test_what_a_whole_gateway_recorded_is_found_and_shown(terminal: Terminal, lab: Lab) -> None:
    async with lab.gateway() as site:
        account = await site.account("ana")
        async with Tunnels.open(account, ["warehouse"], TAGS) as tunnels:
            way = await tunnels.listen("warehouse")
            async with await psycopg.AsyncConnection.connect(way.url) as connection:
                await connection.execute("SELECT 1")
        with pytest.raises(Refused) as refused:
            async with Tunnels.open(account, ["payroll"], TAGS):
                pass
    place = str(site.directory / "audit")
    found = await terminal.run("audit", "search", place, "--who", "ana@example.com", "--event", "refused", "--json")
    assert (found.code, [one["id"] for one in found.events]) == (0, [refused.value.request])

    shown = await terminal.run("audit", "show", "manual__1", place)
    assert shown.code == 0
    assert "ana@example.com reached warehouse with 1 connection in 1 session" in shown.out
    assert "Reason given: incident 42." in shown.out
    assert "Allowed by engineers (policy.yaml:" in shown.out.replace("policy/policy.yaml", "policy.yaml")
    assert f"(request {refused.value.request})" in shown.out
    # Where the name stands beside its bar depends on how long things took.
    assert any("warehouse" in line and set(line) & set("█▐▌▏") for line in shown.out.splitlines())
    assert "payroll refused" in shown.out

    page = terminal.home / "run.html"
    written = await terminal.run("audit", "show", "manual__1", place, "--html", str(page))
    assert (written.code, written.out) == (0, "")
    assert "payroll refused" in page.read_text()


async def test_a_table_says_who_what_where_and_why(terminal: Terminal, audit: Path) -> None:
    found = await terminal.run("audit", "search", "--event", "refused", "--dag", "billing")
    head, first, second = found.out.splitlines()
    assert (found.code, found.err) == (0, "")
    assert head.split("  ")[0] == "TIME, UTC"
    cells = [cell.strip() for cell in first.split("   ") if cell.strip()]
    why = "payroll-is-for-finance (policy/prod.yaml:42); needs group finance"
    assert cells == [
        "2026-11-22 03:01:54",
        "worker-billing",
        "refused",
        "payroll",
        why,
        f"billing / enrich_customers / {RUN}",
        "-",
        "-",
    ]
    assert second.startswith("2026-11-22 03:01:56")


async def test_json_is_the_records_untouched(terminal: Terminal, audit: Path) -> None:
    found = await terminal.run("audit", "search", str(audit), "--json")
    assert found.out.splitlines() == lines_of(audit)
    latest = await terminal.run("audit", "search", str(audit), "--json", "--limit", "2")
    assert latest.out.splitlines() == lines_of(audit)[-2:]
    assert latest.err == ""


async def test_the_latest_are_shown_and_the_others_counted(terminal: Terminal, audit: Path) -> None:
    found = await terminal.run("audit", "search", "--limit", "1")
    count = len(lines_of(audit))
    assert [line.split()[3] for line in found.out.splitlines()[1:]] == ["logout"]
    assert found.err == f"The latest 1 of {count} records; --limit 0 shows all.\n"
    assert len((await terminal.run("audit", "search", "--limit", "0")).out.splitlines()) == count + 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("search", "--who", "nobody"), 1, "The audit has no such record."),
        (("show", "nosuch"), 1, "The audit has no such record."),
        (("search", "--event", "refusd"), 2, "hint: --event refused"),
        (("search", "--since", "soon"), 2, "hint: write -2h"),
        (("search", "nosuch.jsonl"), 2, "there is no audit file nosuch.jsonl"),
        (("show",), 2, "hint: airtunnel audit show RUN_ID"),
        (("show", RUN, "--html", "nosuch/run.html"), 2, "nosuch/run.html cannot be written"),
    ],
    ids=str,
)
async def test_what_is_not_found_or_not_understood_is_said(
    terminal: Terminal, audit: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    ended = await terminal.run("audit", *words)
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err


async def test_a_torn_last_line_is_told_and_a_damaged_one_ends_the_search(terminal: Terminal, audit: Path) -> None:
    lines = len(lines_of(audit))
    eventful().write(audit, torn=b'{"v":1,')
    ended = await terminal.run("audit", "search", "--event", "refused")
    assert ended.code == 0
    assert f"audit/audit.jsonl:{lines + 1} is not finished and was left out" in ended.err
    eventful().write(audit, torn=b"damage\n")
    ended = await terminal.run("audit", "search", "--event", "refused")
    assert ended.code == 78
    assert f"error: audit/audit.jsonl:{lines + 1}: not a record of the audit" in ended.err


async def test_a_run_is_a_picture_and_a_story_and_plain_where_nobody_looks(terminal: Terminal, audit: Path) -> None:
    terminal.variables["COLUMNS"] = "100"
    shown = await terminal.run("audit", "show", RUN, "--dag", "billing")
    assert shown.out.startswith(f"{RUN} of billing, 2026-11-22 03:00:04 to 03:13:24 UTC (13 min 20 s).\n\nUTC ")
    assert "▐▓ warehouse" in shown.out
    assert "Refused twice:\n  03:01:54 worker-billing was refused payroll" in shown.out
    assert "\033" not in shown.out


async def test_colours_are_for_terminals_that_want_them(terminal: Terminal, audit: Path) -> None:
    terminal.variables["TERM"] = "xterm"
    assert "\033[33m" in await asyncio.to_thread(on_terminal, terminal, "audit", "show", RUN)
    terminal.variables["NO_COLOR"] = "1"
    assert "\033" not in await asyncio.to_thread(on_terminal, terminal, "audit", "show", RUN)


async def test_a_terminal_that_is_too_narrow_for_the_table_gets_the_why_below(terminal: Terminal, audit: Path) -> None:
    terminal.variables |= {"COLUMNS": "80", "TERM": "xterm"}
    shown = await asyncio.to_thread(on_terminal, terminal, "audit", "search", "--event", "refused")
    assert "\r\n    payroll-is-for-finance (policy/prod.yaml:42); needs group finance\r\n" in shown
    assert max(map(len, shown.splitlines())) <= 80


async def test_a_session_and_a_persons_day_need_no_run(terminal: Terminal, audit: Path) -> None:
    session = next(one["sid"] for one in map(json.loads, lines_of(audit)) if one.get("sid"))
    shown = await terminal.run("audit", "show", "--session", session, str(audit))
    assert shown.out.startswith(f"session {session}, ")
    own = Audit()
    own.session(0, Tags(), (0, 60), who=ANA)
    path = own.write(terminal.home / "own.jsonl")
    shown = await terminal.run("audit", "show", "--who", "ana", "--since", "2026-11-22T00:00Z", str(path))
    assert "ana@example.com reached warehouse" in shown.out
    assert (await terminal.run("audit", "show", "--who", "ana", "--until", "2026-11-22T00:00Z", "own.jsonl")).code == 1


async def test_a_run_id_of_several_dags_is_said_to_be_one(terminal: Terminal) -> None:
    own = Audit()
    for dag in ("billing", "reports"):
        own.session(0, task("load", dag=dag), (0, 60))
    own.write(terminal.home / "audit" / "audit.jsonl")
    shown = await terminal.run("audit", "show", RUN)
    assert shown.err == "This run's id is used by 2 DAGs: billing, reports. Choose with --dag.\n"
    assert (await terminal.run("audit", "show", RUN, "--dag", "billing")).err == ""
