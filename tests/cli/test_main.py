"""The command line as a whole: help, version, and what is no command."""

import re

import pytest

from airtunnel import __version__
from tests.cli.terminal import Terminal

COMMANDS = (
    "login",
    "whoami",
    "logout",
    "targets",
    "connect",
    "exec",
    "demo",
    "completion",
    "gateway",
    "gateway serve",
    "gateway init",
    "gateway check",
    "audit",
    "audit verify",
)


async def test_alone_it_shows_its_help(terminal: Terminal) -> None:
    alone, asked = await terminal.run(), await terminal.run("--help")
    assert asked.code == 0
    assert (alone.out or alone.err) == asked.out
    assert "airtunnel login gateway.example.com" in asked.out


@pytest.mark.parametrize("columns", ["80", "200"])
async def test_each_help_begins_with_an_example_and_explains_every_option(terminal: Terminal, columns: str) -> None:
    terminal.variables["COLUMNS"] = columns
    shown = {name: await terminal.run(*name.split(), "-h") for name in COMMANDS}
    for name, ended in shown.items():
        lines = ended.out.splitlines()
        assert ended.code == 0, name
        assert max(map(len, lines)) <= 100, name
        assert lines[4].startswith(f"  airtunnel {name}"), name
        assert "..." not in lines[2], name
        options = ended.out.partition("Options:\n")[2].partition("\n\n")[0]
        for entry in re.split(r"\n(?=  -)", options.rstrip()):
            assert re.search(r"\S\s{2,}\w", entry.strip()), (name, entry)


async def test_the_list_of_commands_is_not_cut_short(terminal: Terminal) -> None:
    terminal.variables["COLUMNS"] = "80"
    for words in ((), ("gateway",), ("audit",)):
        ended = await terminal.run(*words, "--help")
        assert "..." not in ended.out.partition("Commands:")[2]


async def test_it_says_its_version(terminal: Terminal) -> None:
    ended = await terminal.run("--version")
    assert (ended.code, ended.out, ended.err) == (0, f"airtunnel {__version__}\n", "")


@pytest.mark.parametrize("words", [("nosuch",), ("connect",), ("targets", "--nosuch"), ("gateway", "nosuch")], ids=str)
async def test_what_makes_no_sense_is_exit_code_2(terminal: Terminal, words: tuple[str, ...]) -> None:
    ended = await terminal.run(*words)
    assert (ended.code, ended.out) == (2, "")
    assert "Traceback" not in ended.err


async def test_a_broken_configuration_is_named_by_file_and_line(terminal: Terminal) -> None:
    terminal.config.mkdir()
    (terminal.config / "config.toml").write_text("current = 1\n[")
    ended = await terminal.run("targets")
    assert ended.code == 78
    assert ended.err.startswith(f"error: {terminal.config / 'config.toml'}:2: ")
