"""How a command's function becomes a command: run if it is a coroutine, errors told in one way, an exit code at the end."""

import asyncio
import functools
import inspect
from collections.abc import Callable
from typing import Any

import typer

from airtunnel.cli import output

INTERRUPTED = 130


def command(app: typer.Typer, name: str | None = None) -> Callable[[Callable[..., Any]], Callable[..., None]]:
    """Register a function as a command of `app`. What it returns is the exit code; None is 0.

    Any: whatever arguments the command takes.
    """

    def register(function: Callable[..., Any]) -> Callable[..., None]:  # Any: as above
        @functools.wraps(function)
        def run(**arguments: Any) -> None:  # Any: as above
            try:
                result = function(**arguments)
                code = asyncio.run(result) if inspect.iscoroutine(result) else result
            except KeyboardInterrupt:
                code = INTERRUPTED
            except (typer.Exit, typer.Abort):
                raise
            except Exception as error:
                code = output.fail(error, as_json=bool(arguments.get("json")))
            raise typer.Exit(code or 0)

        app.command(name)(run)
        return run

    return register
