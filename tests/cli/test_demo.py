"""The demo as a newcomer meets it, and what is left of it."""

import json
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal
from tests.cli.test_login import log_in


@pytest.fixture
def small(terminal: Terminal) -> Iterator[Terminal]:
    """A terminal whose temporary files are in sight: those of the database, too, which does not run as root."""
    with tempfile.TemporaryDirectory(prefix="at-", dir="/tmp") as place:
        Path(place).chmod(0o755)
        terminal.variables["TMPDIR"] = place
        yield terminal


def left(terminal: Terminal) -> list[str]:
    """What lies in the temporary directory."""
    return [one.name for one in Path(terminal.variables["TMPDIR"]).iterdir()]


async def test_it_shows_the_way_and_leaves_nothing_behind(small: Terminal) -> None:
    async with small.start("demo", "--json") as running:
        ready = await running.event("ready")
        await running.heard("Ctrl-C")
        assert len(left(small)) >= 1
        person = Terminal(small.home)
        logged_in = await log_in(person, ready["gateway"], "--ca", ready["ca"], "--store", "file")
        assert logged_in.code == 0, logged_in.err
        assert (await person.run("exec", "warehouse", "--", "true")).code == 0
        assert (await person.run("connect", "payroll")).code == 77
        await running.heard("ana@example.com is refused payroll: rule payroll-is-for-finance (policy/shop.yaml:")
        ended = await running.end(signal.SIGINT)
    assert ended.code == 130
    assert ended.err.endswith("Closing ...\nGone: no process and no role is left.\n")
    assert left(small) == []


async def test_an_end_in_the_middle_of_the_start_leaves_nothing_either(small: Terminal) -> None:
    async with small.start("demo") as running:
        await running.heard("Starting")
        ended = await running.end(signal.SIGTERM)
    assert ended.code == 143
    assert "Traceback" not in ended.err
    assert left(small) == []


async def test_the_check_tells_its_steps(small: Terminal) -> None:
    ended = await small.run("demo", "--check", "--json")
    assert ended.code == 0, ended.err
    assert [one["event"] for one in ended.events] == ["step"] * (len(ended.events) - 1) + ["done"]
    assert all(one["ok"] for one in ended.events)
    assert left(small) == []


async def test_a_directory_that_was_named_is_kept(small: Terminal, tmp_path: Path) -> None:
    place = tmp_path / "kept"
    async with small.start("demo", "--dir", str(place)) as running:
        await running.heard("Ctrl-C")
        await running.end(signal.SIGINT)
    assert json.loads((place / "audit" / "audit.jsonl").read_text().splitlines()[-1])["event"] == "gateway.stopped"


@pytest.mark.parametrize("words", [("--airflow",), ("--check", "--airflow-python", "/bin/sh")], ids=str)
async def test_options_that_go_together_are_asked_for_together(small: Terminal, words: tuple[str, ...]) -> None:
    ended = await small.run("demo", *words)
    assert (ended.code, ended.err.splitlines()[-1]) == (2, "hint: airtunnel demo --check --airflow")
