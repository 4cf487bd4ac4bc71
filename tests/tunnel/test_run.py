"""Real processes under a real `run_command`. Where signals matter it runs in a process of its own, as `exec` does."""

import asyncio
import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from airtunnel.tunnel.run import CommandNotExecutable, CommandNotFound, _Child, final_code, run_command

EXEC = """
import asyncio, os, sys
from datetime import timedelta
from airtunnel.tunnel import run
if steps := eval(sys.argv[3]):
    run.AIRFLOW_STEPS = steps
options = {"airflow": sys.argv[1] == "airflow", "kill_after": timedelta(seconds=float(sys.argv[2]))}
sys.exit(asyncio.run(run.run_command(sys.argv[4:], dict(os.environ), **options)))
"""

CHILD = """
import signal, sys
def caught(number, frame):
    print(signal.Signals(number).name, flush=True)
    seen.append(number)
    if signal.Signals(number).name == ending:
        sys.exit(5)
seen, ending = [], sys.argv[1]
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH):
    signal.signal(number, caught)
print("ready", flush=True)
sys.stdin.readline()
print("saw", len(seen), flush=True)
"""
"""Says which signals it gets, ends with 5 at the one named, and at a line says how many there were."""

Starter = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def started() -> Iterator[Starter]:
    """Starts run_command in its own process and session, with pipes for stdin and stdout."""
    running: list[subprocess.Popen[bytes]] = []

    def start(*command: str, kind: str = "other", kill_after: float = 60, steps: object = None) -> "subprocess.Popen[bytes]":
        argv = [sys.executable, "-c", EXEC, kind, str(kill_after), repr(steps), *command]
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        running.append(process)
        return process

    yield start
    for process in running:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Also after a failure: what still runs loses its pipes, and two requests to stop are enough for any child."""
    for _ in range(2):
        process.terminate()
    for pipe in filter(None, (process.stdin, process.stdout)):
        with suppress(BrokenPipeError):
            pipe.close()
    process.wait()


def child(ending: str = "") -> tuple[str, ...]:
    return (sys.executable, "-c", CHILD, ending)


def line(process: "subprocess.Popen[bytes]") -> str:
    assert process.stdout
    return process.stdout.readline().decode().strip()


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143)])
async def test_exec_returns_the_childs_own_code(script: str, code: int) -> None:
    assert await run_command(["sh", "-c", script], os.environ, airflow=False) == code


async def test_the_child_has_the_environment_it_was_given_and_no_other(tmp_path: Path) -> None:
    out = tmp_path / "env"
    await run_command(["sh", "-c", f'echo "$ONE,$HOME" > {out}'], {"PATH": os.environ["PATH"], "ONE": "1"}, airflow=False)
    assert out.read_text() == "1,\n"


async def test_a_command_that_is_not_there_is_127() -> None:
    with pytest.raises(CommandNotFound) as caught:
        await run_command(["no-such-command-here"], os.environ, airflow=False)
    assert caught.value.exit_code == 127


async def test_the_childs_path_is_searched_and_not_ours(tmp_path: Path) -> None:
    tool = tmp_path / "only-there"
    tool.write_text("#!/bin/sh\nexit 3\n")
    tool.chmod(0o755)
    assert await run_command(["only-there"], {"PATH": str(tmp_path)}, airflow=False) == 3


@pytest.mark.parametrize("content", ["no program at all", "#!/bin/sh\nexit 0\n"])
async def test_a_command_that_cannot_be_run_is_126(tmp_path: Path, content: str) -> None:
    tool = tmp_path / "tool"
    tool.write_text(content)
    tool.chmod(0o755 if content.startswith("no") else 0o644)
    with pytest.raises(CommandNotExecutable) as caught:
        await run_command([str(tool)], os.environ, airflow=False)
    assert caught.value.exit_code == 126


@pytest.mark.parametrize(
    ("code", "refused", "failed", "final"),
    [
        (0, False, False, 0),
        (0, True, False, 77),
        (0, False, True, 1),
        (0, True, True, 77),
        (3, True, True, 3),
        (130, True, False, 130),
    ],
)
def test_a_refusal_or_a_failed_task_changes_a_zero_and_nothing_else(code: int, refused: bool, failed: bool, final: int) -> None:
    assert final_code(code, refused=refused, failed=failed) == final


def test_one_interrupt_without_a_terminal_reaches_the_child_once(started: Starter) -> None:
    process = started(*child())
    assert line(process) == "ready"
    process.send_signal(signal.SIGINT)
    assert line(process) == "SIGINT"
    out, _ = process.communicate(b"\n")
    assert out == b"saw 1\n"
    assert process.returncode == 0


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH"])
def test_signals_are_passed_on_by_their_own_name(started: Starter, name: str) -> None:
    process = started(*child(name))
    assert line(process) == "ready"
    process.send_signal(signal.Signals[name])
    assert line(process) == name
    assert process.wait() == 5


def test_a_child_that_ignores_term_is_killed_after_the_time_it_was_given(started: Starter) -> None:
    process = started(*child(), kill_after=0.2)
    assert line(process) == "ready"
    process.send_signal(signal.SIGTERM)
    assert line(process) == "SIGTERM"
    assert process.wait() == 137


def test_the_second_interrupt_kills_at_once(started: Starter) -> None:
    process = started(*child(), kill_after=3600)
    assert line(process) == "ready"
    process.send_signal(signal.SIGINT)
    assert line(process) == "SIGINT"
    process.send_signal(signal.SIGINT)
    assert process.wait() == 137


async def test_a_signal_in_the_moment_of_the_start_is_not_lost() -> None:
    # From within: from outside nobody can hit the moment for certain.
    child = _Child(shared=False, airflow=False, kill_after=timedelta(hours=1))
    child.receive(signal.SIGTERM)
    process = await asyncio.create_subprocess_exec("sleep", "3600", process_group=0)
    child.begin(process.pid)
    assert await process.wait() == -signal.SIGTERM
    child.forget()


def test_usr1_is_no_request_to_stop(started: Starter) -> None:
    process = started(*child("SIGTERM"), kill_after=3600)
    assert line(process) == "ready"
    for _ in range(2):
        process.send_signal(signal.SIGUSR1)
        assert line(process) == "SIGUSR1"
    process.send_signal(signal.SIGTERM)
    assert line(process) == "SIGTERM"
    assert process.wait() == 5


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_airflow_is_interrupted_whatever_we_are_sent(started: Starter, name: str) -> None:
    process = started(*child("SIGINT"), kind="airflow")
    assert line(process) == "ready"
    process.send_signal(signal.Signals[name])
    assert line(process) == "SIGINT"
    assert process.wait() == 5


def test_airflow_that_goes_on_is_terminated_and_then_killed(started: Starter) -> None:
    steps = ((0, signal.SIGINT.value), (0.1, signal.SIGTERM.value), (0.4, signal.SIGKILL.value))
    process = started(*child(), kind="airflow", steps=steps)
    assert line(process) == "ready"
    process.send_signal(signal.SIGTERM)
    assert [line(process), line(process)] == ["SIGINT", "SIGTERM"]
    assert process.wait() == 137


def test_nothing_that_the_child_started_outlives_a_stop(started: Starter) -> None:
    script = 'sh -c "trap \\"\\" TERM; echo grandchild; sleep 3600; sleep 3600" & wait'
    process = started("sh", "-c", script)
    assert line(process) == "grandchild"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate()  # returns only when nobody holds the pipe any more
    assert out == b""
    assert process.returncode == 143


def test_what_the_child_left_running_on_its_own_is_left(started: Starter) -> None:
    process = started("sh", "-c", "exec 3<&0; (read line <&3; echo still here) & echo gone")
    assert line(process) == "gone"
    assert process.wait() == 0
    assert process.communicate(b"\n")[0] == b"still here\n"


def test_a_command_in_the_background_of_a_script_can_still_be_interrupted() -> None:
    ask = "import signal; print([signal.getsignal(n) == signal.SIG_IGN for n in (signal.SIGINT, signal.SIGQUIT)])"
    script = ["sh", "-c", "trap '' INT QUIT; exec \"$@\"", "sh", sys.executable, "-c", EXEC, "other", "1", "None"]
    out = subprocess.run([*script, sys.executable, "-c", ask], stdin=subprocess.DEVNULL, capture_output=True, check=True)
    assert out.stdout == b"[False, False]\n"


def test_a_command_under_nohup_keeps_ignoring_the_hangup() -> None:
    script = ["sh", "-c", "trap '' HUP; exec \"$@\"", "sh", sys.executable, "-c", EXEC, "other", "1", "None"]
    ask = "kill -HUP $PPID; exec kill -HUP $$"
    assert subprocess.run([*script, "sh", "-c", ask], stdin=subprocess.DEVNULL, check=False).returncode == 0


async def test_a_cancelled_caller_leaves_no_child_behind(tmp_path: Path) -> None:
    os.mkfifo(fifo := tmp_path / "fifo")
    script = f"exec 3> {fifo}; echo ready >&3; sleep 3600 & wait"
    running = asyncio.ensure_future(run_command(["sh", "-c", script], os.environ, airflow=False))
    with await asyncio.to_thread(fifo.open, "rb", buffering=0) as pipe:
        assert await asyncio.to_thread(pipe.readline) == b"ready\n"
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert select.select([pipe], [], [], 10)[0]
        assert pipe.read() == b""  # nobody, child or grandchild, holds the other end any more


async def test_the_handlers_from_before_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    await run_command(["true"], os.environ, airflow=False)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


class Terminal:
    """run_command in the foreground of a pseudo-terminal of its own."""

    def __init__(self, *command: str, kind: str = "other") -> None:
        self._keys, end = pty.openpty()
        settings = termios.tcgetattr(end)
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(end, termios.TCSANOW, settings)
        self.process = subprocess.Popen(
            [sys.executable, "-c", EXEC, kind, "3600", "None", *command],
            stdin=end,
            stdout=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(end)

    def press(self, keys: bytes) -> None:
        os.write(self._keys, keys)

    def __enter__(self) -> "Terminal":
        return self

    def __exit__(self, *_: object) -> None:
        _end(self.process)
        os.close(self._keys)


def test_ctrl_c_at_a_terminal_reaches_the_child_once_and_not_through_us() -> None:
    with Terminal(*child()) as terminal:
        assert line(terminal.process) == "ready"
        terminal.press(b"\x03")
        assert line(terminal.process) == "SIGINT"
        terminal.press(b"\n")
        assert line(terminal.process) == "saw 1"
        assert terminal.process.wait() == 0


def test_a_program_that_uses_ctrl_c_itself_may_get_it_many_times() -> None:
    with Terminal(*child()) as terminal:
        assert line(terminal.process) == "ready"
        for _ in range(4):
            terminal.press(b"\x03")
            assert line(terminal.process) == "SIGINT"
        terminal.press(b"\n")
        assert line(terminal.process) == "saw 4"
        assert terminal.process.wait() == 0


def test_the_second_ctrl_c_at_a_terminal_kills_airflow() -> None:
    with Terminal(*child(), kind="airflow") as terminal:
        assert line(terminal.process) == "ready"
        terminal.press(b"\x03")
        assert line(terminal.process) == "SIGINT"
        # The kernel makes one of two signals where we have not yet run since the first: a person would press again, too.
        while terminal.process.poll() is None:
            terminal.press(b"\x03")
            with suppress(subprocess.TimeoutExpired):
                terminal.process.wait(0.2)
        assert terminal.process.wait() == 137


def test_term_at_a_terminal_is_passed_on() -> None:
    with Terminal(*child("SIGTERM")) as terminal:
        assert line(terminal.process) == "ready"
        terminal.process.send_signal(signal.SIGTERM)
        assert line(terminal.process) == "SIGTERM"
        assert terminal.process.wait() == 5


def test_the_child_may_read_from_the_terminal() -> None:
    with Terminal("sh", "-c", "read word; echo got $word") as terminal:
        terminal.press(b"hello\n")
        assert line(terminal.process) == "got hello"
        assert terminal.process.wait() == 0
