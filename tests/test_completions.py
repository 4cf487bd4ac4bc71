"""The shells' scripts in completions/, and what they complete: in the shells themselves where they are installed."""

import json
import sys

import pytest

from tests.cli.conftest import terminal  # noqa: F401 - a fixture
from tests.cli.terminal import ROOT, Terminal

SCRIPTS = {"bash": "airtunnel.bash", "zsh": "_airtunnel", "fish": "airtunnel.fish"}


@pytest.fixture
def shell(terminal: Terminal) -> Terminal:  # noqa: F811 - the fixture
    """A terminal with `airtunnel` on its PATH, where two targets were seen."""
    programs = terminal.home / "bin"
    programs.mkdir()
    program = programs / "airtunnel"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m airtunnel "$@"\n')
    program.chmod(0o755)
    terminal.variables["PATH"] = f"{programs}:/usr/local/bin:/usr/bin:/bin"
    terminal.state.mkdir()
    (terminal.state / "targets.json").write_text(json.dumps({"warehouse": "what was sold", "payroll": ""}))
    return terminal


@pytest.mark.parametrize("name", SCRIPTS)
async def test_the_scripts_that_are_shipped_are_the_commands_own(shell: Terminal, name: str) -> None:
    made = await shell.run("completion", name)
    assert (made.code, made.out) == (0, (ROOT / "completions" / SCRIPTS[name]).read_text())


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        (("airtunnel", "conn"), ["connect"]),
        (("airtunnel", "gateway", ""), ["serve", "init", "check", "ca", "sessions", "lock", "unlock", "locks"]),
        (("airtunnel", "connect", "ware"), ["warehouse"]),
        (("airtunnel", "connect", ""), ["warehouse", "payroll"]),
        (("airtunnel", "exec", "pay"), ["payroll"]),
        (("airtunnel", "connect", "--tick"), ["--ticket"]),
        (("airtunnel", "login", "--store", ""), ["keyring", "file"]),
        (("airtunnel", "connect", "nosuch"), []),
    ],
    ids=str,
)
async def test_bash_completes(shell: Terminal, typed: tuple[str, ...], offered: list[str]) -> None:
    words = " ".join(f"'{word}'" for word in typed)
    source = ROOT / "completions" / SCRIPTS["bash"]
    script = f"""
        source {source}
        COMP_WORDS=({words}); COMP_CWORD={len(typed) - 1}
        _airtunnel_completion airtunnel
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    ended = await shell.run(program=("bash", "-c", script))
    assert (ended.code, ended.out.split(), ended.err) == (0, offered, "")


@pytest.mark.parametrize("name", ["zsh", "fish"])
async def test_the_other_shells_ask_and_are_answered(shell: Terminal, name: str) -> None:
    shell.variables |= {
        "_AIRTUNNEL_COMPLETE": f"complete_{name}",
        "_TYPER_COMPLETE_ARGS": "airtunnel connect ware",
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    ended = await shell.run()
    assert (ended.code, ended.err) == (0, "")
    assert "warehouse" in ended.out
    assert "what was sold" in ended.out
    assert "payroll" not in ended.out


async def test_a_tab_never_shows_an_error(shell: Terminal) -> None:
    shell.variables |= {"_AIRTUNNEL_COMPLETE": "complete_bash", "COMP_WORDS": "airtunnel connect ", "COMP_CWORD": "2"}
    for content in ("", "[]", "{", '{"a": 1'):
        (shell.state / "targets.json").write_text(content)
        ended = await shell.run()
        assert (ended.out.strip(), ended.err) == ("", "")
