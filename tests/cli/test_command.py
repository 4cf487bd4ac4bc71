"""How commands end: real processes for signals and pipes, the function itself for errors."""

import json
import signal
import sys

import pytest
import typer

from airtunnel.cli.command import command, typed
from airtunnel.errors import AddressTaken, ConfigError, Unreachable
from tests.cli.terminal import Terminal

WAITING = """
import asyncio, typer
from airtunnel.cli.command import command
app = typer.Typer()
async def wait():
    print("waiting", flush=True)
    try:
        await asyncio.sleep(60)
    finally:
        print("cleaned up", flush=True)
command(app)(wait)
app()
"""


def end(error: BaseException, capsys: pytest.CaptureFixture[str], *, json: bool = False) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command that raises."""

    def fails(json: bool) -> None:
        raise error

    with pytest.raises(typer.Exit) as ending:
        command(typer.Typer())(fails)(json=json)
    printed = capsys.readouterr()
    return ending.value.exit_code, printed.out, printed.err


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)], ids=lambda one: str(one)
)
async def test_a_signal_lets_a_command_clean_up_and_is_its_exit_code(
    terminal: Terminal, number: signal.Signals, code: int
) -> None:
    async with terminal.start(program=(sys.executable, "-c", WAITING)) as running:
        await running.heard("waiting", "out")
        ended = await running.end(number)
    assert (ended.code, ended.out, ended.err) == (code, "waiting\ncleaned up\n", "")


async def test_a_reader_that_leaves_ends_a_command_without_a_word(terminal: Terminal) -> None:
    source = (
        "import typer; from airtunnel.cli import output; from airtunnel.cli.command import command; app = typer.Typer()\n"
        "def talk():\n    for _ in range(100000): output.data('line')\n"
        "command(app)(talk); app()"
    )
    script = f'{sys.executable} -c "$0" | head -1; echo ${{PIPESTATUS[0]}}'
    ended = await terminal.run(program=("bash", "-c", script, source))
    assert (ended.out, ended.err) == ("line\n141\n", "")


async def test_what_nohup_ignores_stays_ignored(terminal: Terminal) -> None:
    program = ("bash", "-c", "trap '' HUP; exec \"$@\"", "bash", sys.executable, "-c", WAITING)
    async with terminal.start(program=program) as running:
        await running.heard("waiting", "out")
        running.process.send_signal(signal.SIGHUP)
        assert (await running.end(signal.SIGTERM)).code == 143


def test_what_a_command_returns_is_its_exit_code() -> None:
    for returned, code in ((None, 0), (0, 0), (77, 77)):
        with pytest.raises(typer.Exit) as ending:
            command(typer.Typer())(lambda result=returned: result)()
        assert ending.value.exit_code == code


def test_an_error_is_told_with_its_hint_and_its_code(capsys: pytest.CaptureFixture[str]) -> None:
    error = Unreachable("nobody there", hint="airtunnel targets", details=("first", "second"))
    assert end(error, capsys) == (69, "", "error: nobody there\n  first\n  second\nhint: airtunnel targets\n")


def test_an_error_is_an_event_where_json_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = end(AddressTaken("port 1 is in use"), capsys, json=True)
    assert code == 73
    assert json.loads(out)["event"] == "error"
    assert json.loads(out)["exit_code"] == 73
    assert err == "error: port 1 is in use\n"


def test_each_error_of_a_group_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    group = ExceptionGroup(
        "both", [ConfigError("a.yaml:1:1: first"), ExceptionGroup("in", [ConfigError("a.yaml:2:1: second")])]
    )
    assert end(group, capsys) == (78, "", "error: a.yaml:1:1: first\nerror: a.yaml:2:1: second\n")


def test_a_fault_of_our_own_is_owned_up_to_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = end(KeyError("x"), capsys, json=True)
    assert code == 1
    assert json.loads(out)["code"] == "error"
    assert err == (
        "error: this is a fault of airtunnel's own: KeyError: 'x'\nhint: AIRTUNNEL_DEBUG=1 shows where; please report it\n"
    )


def test_a_fault_of_our_own_shows_its_traceback_where_asked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AIRTUNNEL_DEBUG", "1")
    with pytest.raises(KeyError):
        end(KeyError("x"), capsys)


def test_a_command_can_be_typed_again_with_more_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/airtunnel", "login", "a b"])
    assert typed("--store", "file") == "airtunnel login 'a b' --store file"
