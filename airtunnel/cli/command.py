"""How a command's function becomes a command: run if it is a coroutine, errors told in one way, an exit code at the end."""

import functools
import inspect
import shlex
import signal
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import typer

from airtunnel.cli import output


def command(app: typer.Typer, name: str | None = None) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Register a function as a command of `app`. What it returns is the exit code; None is 0.

    A coroutine is cancelled by SIGINT, SIGTERM and SIGHUP, so that its `finally` runs; the code is 128 + the signal's number.
    Any: whatever arguments the command takes.
    """

    def register(function: Callable[..., Any]) -> Callable[..., None]:  # Any: as above
        @functools.wraps(function)
        def run(**arguments: Any) -> None:  # Any: as above
            try:
                result = function(**arguments)
                code = _run(result) if inspect.iscoroutine(result) else result
            except KeyboardInterrupt:
                code = 128 + signal.SIGINT
            except (typer.Exit, typer.Abort):
                raise
            except Exception as error:
                code = output.fail(error, as_json=bool(arguments.get("json")))
            raise typer.Exit(code or 0)

        app.command(name)(run)
        return run

    return register


def typed(*more: str) -> str:
    """The command as the user typed it, to be typed again, with `more` behind it: an option and its value, once."""
    words = sys.argv[1:]
    if more and more[0] in words:
        at = words.index(more[0])
        words = words[:at] + words[at + len(more) :]
    return shlex.join(["airtunnel", *words, *more])


def _run(work: Coroutine[Any, Any, int | None]) -> int | None:  # Any: what a coroutine yields is asyncio's affair
    import asyncio

    stopped: list[int] = []

    async def run() -> int | None:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def stop(number: int) -> None:
            stopped.append(number)
            task.cancel()

        # asyncio.run does the same for SIGINT. What is ignored stays so: that is what `nohup` asks for.
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, stop, number)
        return await work

    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        if not stopped:
            raise
        return 128 + stopped[0]
