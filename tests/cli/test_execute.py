"""A command inside tunnels: what it finds, and whose exit code it is."""

import json
import shutil
import signal
import sys

import pytest

from airtunnel.cli.account import WITHOUT_A_PERSON
from airtunnel.cli.execute import _private_directory
from tests.cli.terminal import Terminal
from tests.lab import Lab, Site

ASK = """
import os, psycopg
with psycopg.connect("") as first, psycopg.connect(os.environ["DATABASE_URL"]) as second:
    for one in (first, second):
        print(one.execute("SELECT current_database() || ' ' || current_user").fetchone()[0])
"""


async def test_a_program_finds_its_database_without_being_told(ana: Terminal) -> None:
    ana.variables["PGSSLMODE"] = "require"  # a user's own must not stand in the way
    ended = await ana.run("exec", "warehouse", "--", sys.executable, "-c", ASK)
    assert (ended.code, ended.out, ended.err) == (0, "shop shop_rw\nshop shop_rw\n", "")


@pytest.mark.skipif(shutil.which("psql") is None, reason="there is no psql")
async def test_psql_needs_no_argument(ana: Terminal) -> None:
    ended = await ana.run("exec", "warehouse", "--", "psql", "-AXtc", "SELECT 1")
    assert (ended.code, ended.out, ended.err) == (0, "1\n", "")


async def test_each_target_has_variables_of_its_own(terminal: Terminal, lab: Lab, site: Site) -> None:
    terminal.log_in(site, await lab.tokens("fin"))
    script = "import json, os; print(json.dumps(dict(os.environ)))"
    ended = await terminal.run("exec", "warehouse", "payroll", "--", sys.executable, "-c", script)
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert found["PGDATABASE"] == "shop"
    assert found["AIRTUNNEL_PAYROLL_PORT"] != found["AIRTUNNEL_WAREHOUSE_PORT"] == found["PGPORT"]
    assert found["AIRTUNNEL_PAYROLL_URL"].endswith("/payroll")
    assert [one["name"] for one in json.loads(found["AIRTUNNEL_TARGETS"])] == ["warehouse", "payroll"]
    assert found["AIRTUNNEL_SESSION_ID"] == site.records("session.opened")[0]["sid"]


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("exit 79", 79)])
async def test_the_exit_code_is_the_commands_own(ana: Terminal, script: str, code: int) -> None:
    ended = await ana.run("exec", "warehouse", "--", "sh", "-c", script)
    assert (ended.code, ended.out, ended.err) == (code, "", "")


async def test_what_stands_behind_the_dashes_reaches_the_command_to_the_letter(ana: Terminal) -> None:
    ended = await ana.run("exec", "--", "printf", "%s|", "--help", "--", "a b", "-c", "", given=b"")
    assert (ended.code, ended.out) == (0, "--help|--|a b|-c||")


async def test_the_command_reads_our_stdin(ana: Terminal) -> None:
    assert (await ana.run("exec", "--", "cat", given=b"said\n")).out == "said\n"


@pytest.mark.parametrize("words", [("exec",), ("exec", "--"), ("exec", "psql")], ids=str)
async def test_without_a_command_it_says_how(terminal: Terminal, words: tuple[str, ...]) -> None:
    ended = await terminal.run(*words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == "error: there is no command to run\nhint: airtunnel exec [TARGET...] -- COMMAND\n"


async def test_a_refusal_before_the_command_is_125_and_says_what_it_was(ana: Terminal) -> None:
    ended = await ana.run("exec", "nosuch", "--", "true")
    assert (ended.code, ended.out) == (125, "")
    first, *_, last = ended.err.splitlines()
    assert first == "error: ana@example.com may not reach nosuch"
    assert last == "airtunnel: true was not run: exit code 125, for 77"


async def test_without_a_login_it_is_125_as_well(terminal: Terminal) -> None:
    ended = await terminal.run("exec", "warehouse", "--", "true")
    assert ended.code == 125
    assert ended.err.splitlines() == [
        "error: not logged in to any gateway",
        *(f"  {line}" for line in WITHOUT_A_PERSON),
        "hint: airtunnel login HOST",
        "airtunnel: true was not run: exit code 125, for 79",
    ]


async def test_what_cannot_be_run_is_126_and_what_is_not_there_127(ana: Terminal) -> None:
    plain = ana.home / "plain"
    plain.write_text("no program")
    ended = await ana.run("exec", "--", str(plain))
    assert (ended.code, ended.err) == (126, f"error: {plain}: permission denied\nhint: ls -l {plain}\n")
    ended = await ana.run("exec", "--", "no-such-program")
    assert (ended.code, ended.err) == (127, "error: no-such-program: command not found\nhint: check the name, and PATH\n")


async def test_a_signal_is_passed_on_and_the_commands_code_is_ours(ana: Terminal) -> None:
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        async with ana.start("exec", "--", "sh", "-c", "echo up; exec sleep 60") as running:
            await running.heard("up", "out")
            ended = await running.end(number)
        assert (ended.code, ended.err) == (code, "")


async def test_the_agents_directory_is_for_us_alone_and_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/nonexistent")
    with _private_directory() as place:
        assert place.stat().st_mode & 0o777 == 0o700
    assert not place.exists()
