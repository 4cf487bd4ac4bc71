"""Runs a command under the tunnels and gives its exit code: who gets which signal, and how long it may ignore it.

With a terminal the child shares our process group: the terminal itself signals both, so nothing is sent twice.

    Ctrl-C, Ctrl-\\       the child has it already; we wait. Airflow: a second one kills
    TERM HUP             sent to the child, then KILL after `kill_after`; a second one kills
    USR1 USR2 WINCH      sent to the child

Without one the child leads a group of its own, and all of it goes to that group, INT and QUIT like TERM.
Airflow 3 does not hear TERM while a task runs (27 s measured), and obeys INT (2.3 s), so for it TERM and HUP become
INT, then TERM after 10 s, then KILL after 15 s.
"""

import asyncio
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from types import FrameType

from airtunnel.errors import UsageError

AIRFLOW_STEPS = ((0.0, signal.SIGINT), (10.0, signal.SIGTERM), (15.0, signal.SIGKILL))
"""Seconds after the first request to stop, and what is sent then."""
FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT)
TO_STOP = (*FROM_TERMINAL, signal.SIGTERM, signal.SIGHUP)
TO_PASS_ON = (signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH)

Handler = Callable[[int, FrameType | None], object] | int | signal.Handlers | None


class CommandNotFound(UsageError):
    """There is no such command."""

    code = "command_not_found"
    exit_code = 127


class CommandNotExecutable(UsageError):
    """The command is there and cannot be run."""

    code = "command_not_executable"
    exit_code = 126


async def run_command(
    argv: Sequence[str], env: Mapping[str, str], *, airflow: bool, kill_after: timedelta = timedelta(seconds=30)
) -> int:
    """The child's exit code, 128+n where signal n ended it.

    env: the child's whole environment; its PATH is searched. airflow: the child is Airflow itself, see above.
    Must run in the main thread. Raises CommandNotFound, CommandNotExecutable. A cancelled caller leaves no child behind.
    """
    shared = _has_terminal()
    _allow_interrupt()
    child = _Child(shared=shared, airflow=airflow, kill_after=kill_after)
    with _handlers(child.receive):
        process = await _start(argv, env, shared=shared)
        try:
            child.begin(process.pid)
            code = await process.wait()
        except BaseException:
            child.send(signal.SIGKILL)
            await process.wait()
            raise
        finally:
            child.forget()
    return 128 - code if code < 0 else code


def final_code(child: int, *, refused: bool, failed: bool) -> int:
    """What `exec` returns: the child's code, unless the child says 0 where the policy refused (77) or a task failed (1)."""
    if child == 0 and refused:
        return 77
    return 1 if child == 0 and failed else child


class _Child:
    """The running command, and the plan for ending it."""

    def __init__(self, *, shared: bool, airflow: bool, kill_after: timedelta) -> None:
        self._pid = 0
        self._early: list[signal.Signals] = []
        self._shared = shared
        self._airflow = airflow
        self._kill_after = kill_after.total_seconds()
        self._asked = False
        self._timers: list[asyncio.TimerHandle] = []

    def begin(self, pid: int) -> None:
        """The child exists: it gets what came in the milliseconds of its start, which would else have ended us alone."""
        self._pid = pid
        for number in self._early:
            self.receive(number)

    def receive(self, number: signal.Signals) -> None:
        """What one signal to us means for the child."""
        if not self._pid:
            self._early.append(number)
        elif number in TO_PASS_ON:
            self.send(number)
        elif self._shared and number in FROM_TERMINAL:
            # psql and pdb use Ctrl-C for their own ends, as often as they like; only Airflow is known not to.
            if self._asked and self._airflow:
                self.send(signal.SIGKILL)
            self._asked = True
        elif self._asked:
            self.send(signal.SIGKILL)
        else:
            self._asked = True
            self._stop(number)

    def _stop(self, number: signal.Signals) -> None:
        steps = AIRFLOW_STEPS if self._airflow else ((0.0, number), (self._kill_after, signal.SIGKILL))
        (_, first), *later = steps
        self.send(first)
        loop = asyncio.get_running_loop()
        self._timers = [loop.call_later(delay, self.send, after) for delay, after in later]

    def send(self, number: signal.Signals) -> None:
        """To the child's whole group where it has one of its own, else to the child."""
        with suppress(ProcessLookupError, PermissionError):  # it has ended in this moment, or runs as another user now
            if self._shared:
                os.kill(self._pid, number)
            else:
                os.killpg(self._pid, number)

    def forget(self) -> None:
        """After the child's end: no timer may hit who has its number next. What it left behind when stopped is ended."""
        for timer in self._timers:
            timer.cancel()
        if self._asked and not self._shared:
            self.send(signal.SIGKILL)


async def _start(argv: Sequence[str], env: Mapping[str, str], *, shared: bool) -> asyncio.subprocess.Process:
    try:
        return await asyncio.create_subprocess_exec(*argv, env=dict(env), process_group=None if shared else 0)
    except FileNotFoundError as error:
        raise CommandNotFound(f"{argv[0]}: command not found", hint="check the name, and PATH") from error
    except OSError as error:
        reason = (error.strerror or "cannot be run").lower()
        raise CommandNotExecutable(f"{argv[0]}: {reason}", hint=f"ls -l {argv[0]}") from error


def _has_terminal() -> bool:
    """Whether we are what the terminal's keys reach. `exec ... &` has a terminal and is not."""
    try:
        return os.isatty(0) and os.tcgetpgrp(0) == os.getpgrp()
    except OSError:
        return False


def _allow_interrupt() -> None:
    """A shell starts `cmd &` with INT and QUIT ignored, exec(2) hands that down, and Airflow could not be stopped.

    A handler of ours is reset to the default by exec(2): no code has to run between fork and exec for it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN:
        signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@contextmanager
def _handlers(receive: Callable[[signal.Signals], None]) -> Iterator[None]:
    """Our handlers, and afterwards those from before. What was ignored stays so: that is what `nohup` asks for."""
    loop = asyncio.get_running_loop()
    before: dict[signal.Signals, Handler] = {}
    for number in (*TO_STOP, *TO_PASS_ON):
        if (handler := signal.getsignal(number)) is not signal.SIG_IGN:
            before[number] = handler
            loop.add_signal_handler(number, receive, number)
    try:
        yield
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)
