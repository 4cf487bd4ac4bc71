"""`connect`: tunnels that last as long as the command."""

import functools
from typing import TYPE_CHECKING, Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.account import open_account, project_targets
from airtunnel.cli.command import command, typed
from airtunnel.cli.complete import complete_target
from airtunnel.cli.options import ContextOption, IdentityOption, JsonOption, ReasonOption, TicketOption
from airtunnel.errors import Ended, Unreachable, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airtunnel.tunnel.listen import Bind, Traffic
    from airtunnel.tunnel.tunnels import Tunnels, Way

WARNINGS = (300, 60)
"""Seconds before the end of a session at which its user is told."""
LATEST = 45
"""Seconds by which a warning may be late, after a sleep of the machine, and still be worth a line."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app)(connect)


async def connect(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            help="What to reach; after `=` a local port, or a directory for a Unix socket. Default: any free port. "
            "Without any: those of the project's .airtunnel.toml.",
            metavar="TARGET[=PORT|=unix:DIR]",
            autocompletion=complete_target,
        ),
    ] = None,
    test: Annotated[bool, typer.Option("--test/--no-test", help="Log in to each target once before saying ready.")] = True,
    reason: ReasonOption = None,
    ticket: TicketOption = None,
    context: ContextOption = None,
    identity: IdentityOption = None,
    json: JsonOption = False,
) -> None:
    """Open local ports that lead to targets, until Ctrl-C.

    \b
    airtunnel connect postgres-prod
    airtunnel connect postgres-prod=15432 staging=unix:/tmp/pg
    airtunnel connect postgres-prod --json      host, port and password on stdout

    Only you can use the ports: each asks for a password that is made for this session and printed once.
    """
    import asyncio

    from airtunnel.model import Tags
    from airtunnel.tunnel.tunnels import Tunnels

    wanted = _parse(targets or project_targets())
    account = await open_account(context, identity)
    async with Tunnels.open(account, list(wanted), Tags(reason=reason, ticket=ticket)) as tunnels:
        for name in wanted if test else ():
            await tunnels.test(name)
        for name, bind in wanted.items():
            await tunnels.listen(name, bind, on_close=functools.partial(_closed, name, as_json=json))
        _ready(tunnels, account.published.issuer, as_json=json)
        try:
            await _wait(tunnels, as_json=json)
        except asyncio.CancelledError:
            if json:
                output.event("ended", {"reason": "signal"})
            output.note("Closed.")
            raise


async def _wait(tunnels: "Tunnels", *, as_json: bool) -> None:
    """Until the link's end, which is always an error: Ended if the gateway ended it, Unreachable if it broke."""
    import asyncio

    async with asyncio.TaskGroup() as group:
        warning = group.create_task(_warn(tunnels, as_json=as_json))
        await tunnels.link.over.wait()
        warning.cancel()
    error = tunnels.link.error or Unreachable("the gateway has closed the link")
    error.hint = error.hint or typed()
    if as_json:
        output.event("ended", {"reason": error.reason if isinstance(error, Ended) else "link_lost"})
    raise error


async def _warn(tunnels: "Tunnels", *, as_json: bool) -> None:
    import asyncio
    from datetime import UTC, datetime, timedelta

    for seconds in WARNINGS:
        # Compared with the wall clock each time: a laptop may have slept.
        while (wait := (tunnels.ends_at - datetime.now(UTC)).total_seconds() - seconds) > 0:  # noqa: ASYNC110 - no event tells it
            await asyncio.sleep(min(wait, 30))
        if wait > -LATEST:
            if as_json:
                output.event("expiring", {"expires_at": tunnels.ends_at.isoformat()})
            output.note(f"This session ends in {output.span(timedelta(seconds=seconds + wait))}.")


def _ready(tunnels: "Tunnels", issuer: str, *, as_json: bool) -> None:
    import os

    reply, ways = tunnels.reply, list(tunnels.ways.values())
    if as_json:
        output.event(
            "ready",
            {
                "who": reply.who,
                "targets": [_described(way) for way in ways],
                "pid": os.getpid(),
                "session": reply.session,
                "expires_at": reply.ends_at.isoformat(),
            },
        )
    output.note(f"{reply.who} via {issuer}; this session ends at {output.clock(reply.ends_at)}")
    for way in ways:
        where = way.path or f"{way.host}:{way.port}"
        output.note(f"{way.target.name}   {where}   ready   rule {way.target.rule} ({way.target.place})")
        output.note(f"  {paste(way)}")
    output.note("Ctrl-C closes.")


def _described(way: "Way") -> dict[str, str | int | None]:
    return {
        "name": way.target.name,
        "protocol": way.target.protocol,
        "host": way.host or None,
        "port": way.port or None,
        "socket": way.path or None,
        "user": way.user,
        "password": way.password,
        "database": way.database,
        "url": way.url,
        "rule": way.target.rule,
        "place": way.target.place,
    }


def paste(way: "Way") -> str:
    """A line for a shell that reaches the target when it is pasted."""
    import shlex

    if way.target.protocol != "postgres":
        return way.path or f"{way.host} {way.port}"
    user, database = shlex.quote(way.user), shlex.quote(way.database)
    if way.path:
        return f"psql -h {shlex.quote(way.directory)} -p 5432 -U {user} {database}"
    return f"PGPASSWORD={way.password} psql -h {way.host} -p {way.port} -U {user} {database}"


def _closed(name: str, traffic: "Traffic", *, as_json: bool) -> None:
    if as_json:
        error = traffic.error.as_json() if traffic.error else None
        output.event("connection_closed", {"target": name, "bytes_up": traffic.up, "bytes_down": traffic.down, "error": error})
    if traffic.error is not None:
        output.note(f"{name}: a connection failed: {traffic.error.message}")


def _parse(words: "Sequence[str]") -> "dict[str, Bind]":
    """Where each target is to be: `name`, `name=15432` or `name=unix:/tmp/pg`. Raises UsageError."""
    if not words:
        raise UsageError("no target is named, and no .airtunnel.toml here names any", hint="airtunnel targets")
    parsed: dict[str, Bind] = {}
    for word in words:
        name, _, where = word.partition("=")
        if name in parsed:
            raise UsageError(f"{name} is named twice", hint="one port serves as many connections as you like")
        parsed[name] = _bind(name, where) if "=" in word else _bind(name, "0")
    return parsed


def _bind(name: str, where: str) -> "Bind":
    from pathlib import Path

    from airtunnel.tunnel.listen import Bind

    if where.startswith("unix:") and len(where) > 5:
        return Bind(path=Path(where[5:]).expanduser().absolute())
    if where.isascii() and where.isdecimal() and int(where) < 65536:
        return Bind(port=int(where))
    raise UsageError(
        f"{name}={where}: after the = goes a port or unix:DIRECTORY",
        hint=f"airtunnel connect {name or 'TARGET'}=15432",
    )
