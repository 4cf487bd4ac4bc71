"""`demo`: the whole path on this machine."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.command import command
from airtunnel.cli.extras import need_extra
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
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Write the files here, and keep them.", metavar="DIRECTORY")
    ] = None,
    json: JsonOption = False,
) -> None:
    """Try it all on this machine, with a database of its own.

    \b
    airtunnel demo
    airtunnel demo --check
    airtunnel demo --check --airflow --airflow-python ~/airflow/bin/python

    It starts an OpenID provider, a gateway and a private PostgreSQL, and says what to type in a second terminal. Your own
    logins stay as they are. Ctrl-C removes everything.
    """
    need_extra("demo")
    if airflow_python is not None and not airflow:
        raise UsageError("--airflow-python goes with --airflow", hint="airtunnel demo --check --airflow")
    if airflow and not check:
        raise UsageError("--airflow goes with --check", hint="airtunnel demo --check --airflow")
    with _place(directory) as place:
        if check:
            await _check(place, airflow, airflow_python, as_json=json)
        else:
            await _show(place, as_json=json)


async def _check(place: Path, airflow: bool, python: Path | None, *, as_json: bool) -> None:
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


async def _show(place: Path, *, as_json: bool) -> None:
    import asyncio

    from airtunnel.demo.stage import open_stage
    from airtunnel.demo.story import follow

    output.note("Starting an OpenID provider, a private PostgreSQL and a gateway ...")
    try:
        async with open_stage(place) as stage:
            _explain(stage, as_json=as_json)
            try:
                async for sentence in follow(stage.audit):
                    output.note(f"  {time.strftime('%H:%M:%S')}  {sentence}")
            except asyncio.CancelledError:
                output.note("Closing ...")
                raise
    except asyncio.CancelledError:
        output.note("Gone: no process and no role is left.")
        raise


def _explain(stage: "Stage", *, as_json: bool) -> None:
    home, gateway = stage.directory, stage.address
    if as_json:
        ready = {"gateway": gateway, "ca": str(stage.ca), "dir": str(home), "provider": stage.provider.issuer}
        output.event("ready", ready)
    import shutil
    import sys

    found = shutil.which("airtunnel")
    reach = () if found else (f"  export PATH={Path(sys.executable).parent}:$PATH",)
    for line in (
        "",
        f"Ready. Its files, to be read and changed while it runs, are in {home}",
        "",
        "In a second terminal:",
        "",
        f"  cd {home}",
        *reach,
        "  export AIRTUNNEL_CONFIG_DIR=$PWD/client AIRTUNNEL_STATE_DIR=$PWD/client/state",
        f"  airtunnel login {gateway} --ca tls/ca.pem --store file",
        "                                   the page asks who you are: ana, password ana",
        "  airtunnel targets",
        "  airtunnel exec warehouse -- psql -c 'select * from orders limit 5'",
        "  airtunnel connect warehouse      prints a psql line to paste in a third terminal",
        "  airtunnel connect payroll        refused: see which rule, in which file and line",
        "  airtunnel policy test policy     the policy has tests of its own",
        "  airtunnel audit show --who ana@example.com audit     what you did, as a picture",
        "",
        "If that terminal has an Airflow:",
        "",
        "  export AIRFLOW__CORE__DAGS_FOLDER=$PWD/dags",
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
    import tempfile

    with tempfile.TemporaryDirectory(prefix="airtunnel-demo-") as place:
        yield Path(place)
