"""`connect`: tunnels that last as long as the command."""

import asyncio
import functools
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.account import open_account
from airtunnel.cli.command import command
from airtunnel.cli.complete import complete_target
from airtunnel.cli.options import ContextOption, JsonOption, ReasonOption, TicketOption
from airtunnel.errors import UsageError
from airtunnel.model import Tags

if TYPE_CHECKING:
    from airtunnel.tunnel.listen import Bind, Traffic
    from airtunnel.tunnel.tunnels import Tunnels, Way

WARNINGS = (timedelta(minutes=5), timedelta(minutes=1))
"""How long before the end of a session its user is told."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app)(connect)


async def connect(
    targets: Annotated[
        list[str],
        typer.Argument(
            help="What to reach, and optionally where.", metavar="TARGET[=PORT|=unix:DIR]", autocompletion=complete_target
        ),
    ],
    test: Annotated[bool, typer.Option("--test/--no-test", help="Log in to each target once before saying ready.")] = True,
    reason: ReasonOption = None,
    ticket: TicketOption = None,
    context: ContextOption = None,
    json: JsonOption = False,
) -> int:
    """Open local ports that lead to targets, until Ctrl-C.

    \b
    airtunnel connect postgres-prod
    airtunnel connect postgres-prod=15432 staging=unix:/tmp/pg
    """
    from airtunnel.tunnel.tunnels import Tunnels

    wanted = dict(_parse(one) for one in targets)
    account = await open_account(context)
    with _stop_signals() as stopped:
        async with Tunnels.open(account, list(wanted), Tags(reason=reason, ticket=ticket)) as tunnels:
            if test:
                for name in wanted:
                    await tunnels.test(name)
            for name, bind in wanted.items():
                await tunnels.listen(name, bind, on_close=functools.partial(_closed, name, as_json=json))
            _ready(tunnels, account.published.issuer, as_json=json)
            return await _wait(tunnels, stopped, as_json=json)


async def _wait(tunnels: "Tunnels", stopped: "asyncio.Future[int]", *, as_json: bool) -> int:
    """Until a signal or the end of the link; the exit code."""
    async with asyncio.TaskGroup() as group:
        warning = group.create_task(_warn(tunnels, as_json=as_json))
        over = group.create_task(tunnels.link.over.wait())
        over.add_done_callback(lambda _: stopped.done() or stopped.cancel())
        await asyncio.wait((stopped,))
        warning.cancel()
        over.cancel()
    if not stopped.cancelled():
        number = stopped.result()
        if as_json:
            output.event("ended", {"reason": "signal", "signal": signal.Signals(number).name})
        output.note("Closed.")
        return 128 + number
    error = tunnels.link.error
    if as_json:
        output.event("ended", {"reason": getattr(error, "reason", "link_lost")})
    if error is None:
        return 0
    raise error


async def _warn(tunnels: "Tunnels", *, as_json: bool) -> None:
    for before in WARNINGS:
        # Compared with the wall clock each time: a laptop may have slept.
        while (wait := (tunnels.ends_at - before - datetime.now(UTC)).total_seconds()) > 0:  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(min(wait, 30))
        left = tunnels.ends_at - datetime.now(UTC)
        if left <= before and left > before - timedelta(seconds=45):
            if as_json:
                output.event("expiring", {"expires_at": tunnels.ends_at.isoformat()})
            output.note(f"This session ends in {output.span(left)}.")


def _ready(tunnels: "Tunnels", issuer: str, *, as_json: bool) -> None:
    reply, ways = tunnels.reply, list(tunnels.ways.values())
    if as_json:
        listed = [
            {
                "name": way.target.name,
                "protocol": way.target.protocol,
                "host": way.host,
                "port": way.port,
                "socket": way.path or None,
                "user": way.user,
                "password": way.password,
                "database": way.database,
                "url": way.url,
                "rule": way.target.rule,
                "place": way.target.place,
            }
            for way in ways
        ]
        ready = {"targets": listed, "pid": os.getpid(), "session": reply.session, "expires_at": reply.ends_at.isoformat()}
        output.event("ready", ready)
    output.note(f"{reply.who} via {issuer}; this session ends at {output.clock(reply.ends_at)}")
    for way in ways:
        where = way.path or f"{way.host}:{way.port}"
        output.note(f"{way.target.name}   {where}   ready   rule {way.target.rule} ({way.target.place})")
        output.note(f"  {paste(way)}")
    output.note("Ctrl-C closes.")


def paste(way: "Way") -> str:
    """A line for a shell that reaches the target when it is pasted."""
    import shlex

    if way.target.protocol != "postgres":
        return f"{way.host} {way.port}" if not way.path else way.path
    user, database = shlex.quote(way.user), shlex.quote(way.database)
    if way.path:
        return f"psql -h {shlex.quote(way.directory)} -U {user} {database}"
    return f"PGPASSWORD={way.password} psql -h {way.host} -p {way.port} -U {user} {database}"


def _closed(name: str, traffic: "Traffic", *, as_json: bool) -> None:
    if as_json:
        error = traffic.error.as_json() if traffic.error else None
        output.event("connection_closed", {"target": name, "bytes_up": traffic.up, "bytes_down": traffic.down, "error": error})
    elif traffic.error is not None:
        output.note(f"{name}: a connection failed: {traffic.error.message}")


def _parse(word: str) -> "tuple[str, Bind]":
    """`name`, `name=15432` or `name=unix:/tmp/pg`. Raises UsageError."""
    from airtunnel.tunnel.listen import Bind

    name, equals, where = word.partition("=")
    if not equals:
        return name, Bind()
    if where.startswith("unix:") and len(where) > 5:
        return name, Bind(path=Path(where[5:]).absolute())
    if where.isdecimal() and int(where) < 65536:
        return name, Bind(port=int(where))
    raise UsageError(f"{word}: {where or 'nothing'} is no port and no unix:DIRECTORY", hint=f"airtunnel connect {name}=15432")


@contextmanager
def _stop_signals() -> Iterator["asyncio.Future[int]"]:
    """A future that becomes the number of the signal that asks us to stop."""
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[int] = loop.create_future()

    def stop(number: int) -> None:
        if not stopped.done():
            stopped.set_result(number)

    chosen: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in chosen:
        loop.add_signal_handler(number, stop, number)
    try:
        yield stopped
    finally:
        for number in chosen:
            loop.remove_signal_handler(number)
