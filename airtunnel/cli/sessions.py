"""`sessions`: what of mine runs, and its end. `gateway sessions`: the same of everybody's, at the store, by its operator."""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.command import command
from airtunnel.cli.lock import open_control, open_desk
from airtunnel.cli.options import GATEWAY_FILE, ConfigOption, ContextOption, IdentityOption, JsonOption
from airtunnel.errors import AirtunnelError, UsageError

if TYPE_CHECKING:
    from airtunnel.wire.sessions import SessionEntry


class Action(StrEnum):
    """What can be done with sessions."""

    KILL = "kill"


ActionArgument = Annotated[Action | None, typer.Argument(help="End sessions. Default: list them.", metavar="kill")]
IdsArgument = Annotated[list[str] | None, typer.Argument(help="Which.", metavar="ID")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app)(sessions)


async def sessions(
    action: ActionArgument = None,
    ids: IdsArgument = None,
    every: Annotated[bool, typer.Option("--all", help="kill: all of mine. List: everybody's, for admins.")] = False,
    context: ContextOption = None,
    identity: IdentityOption = None,
    json: JsonOption = False,
) -> None:
    """List your sessions at the gateway, or end them.

    \b
    airtunnel sessions
    airtunnel sessions kill 01kas8z4kqe1v5h0w2y6t3d9mb
    airtunnel sessions kill --all

    It lists those of all your machines, and grants with which one may still begin. A session that is killed ends within two
    seconds, on whichever gateway it runs. The gateway's admins see everybody's with --all, and may end them by their id.
    """
    _check(action, ids, every=every, hint="airtunnel sessions kill ID, or airtunnel sessions kill --all")
    control, shown = await open_control(context, identity)
    if action is None:
        listed = await control.sessions(shown, everybody=every)
        show(listed.sessions, left_out=listed.left_out, everybody=every, as_json=json)
    elif every:
        said((await control.kill_all(shown)).sessions, as_json=json)
    else:
        await _kill(ids or (), lambda one: control.kill(shown, one), as_json=json)


async def gateway_sessions(
    action: ActionArgument = None, ids: IdsArgument = None, config: ConfigOption = GATEWAY_FILE, json: JsonOption = False
) -> None:
    """List everybody's sessions, or end some, at the store.

    \b
    airtunnel gateway sessions --config gateway.yaml
    airtunnel gateway sessions kill 01kas8z4kqe1v5h0w2y6t3d9mb --config gateway.yaml

    For the operator: no login, and no gateway needs to run. Those that run hear of it within two seconds, and write it into
    their audit.
    """
    from datetime import UTC, datetime

    _check(action, ids, every=False, hint="airtunnel gateway sessions kill ID")
    async with open_desk(config) as (store, operator):
        from airtunnel.gateway.desk import list_sessions

        now = datetime.now(UTC)
        if action is None:
            show(await list_sessions(store, now), everybody=True, as_json=json)
        else:
            await _kill(ids or (), lambda one: operator.kill(one, now), as_json=json)


def show(listed: "Sequence[SessionEntry]", *, left_out: int = 0, everybody: bool, as_json: bool) -> None:
    """Tell which sessions there are."""
    if as_json:
        output.document({"sessions": [one.as_json() for one in listed], "left_out": left_out})
        return
    if not listed:
        output.note("No session runs." if everybody else "No session of yours runs.")
        return
    who = ("WHO",) if everybody else ()
    head = ("SESSION", *who, "TARGETS", "SINCE", "ENDS", "CONNECTIONS", "BYTES", "FROM", "FOR")
    output.table(head, [_row(one, everybody=everybody) for one in listed])
    if left_out:
        output.note(f"and {left_out} more")


def said(ended: Sequence[str], *, as_json: bool) -> None:
    """Tell which sessions were ended."""
    if as_json:
        output.document({"killed": list(ended)})
    for one in ended:
        output.note(f"Killed {one}.")
    if not ended:
        output.note("No session of yours runs.")


async def _kill(ids: Iterable[str], kill: Callable[[str], Awaitable[object]], *, as_json: bool) -> None:
    """End one by one. What was ended is told, also if the next one fails."""
    ended: list[str] = []
    try:
        for one in ids:
            await kill(one)
            ended.append(one)
    except AirtunnelError:
        if ended:
            said(ended, as_json=as_json)
        raise
    said(ended, as_json=as_json)


def _row(one: "SessionEntry", *, everybody: bool) -> tuple[str, ...]:
    tags = one.tags
    task = "/".join(part for part in (tags.dag_id, tags.task_id, tags.run_id) if part)
    return (
        one.session,
        *((one.who,) if everybody else ()),
        " ".join(one.targets),
        output.clock(one.since),
        output.clock(one.ends_at),
        str(one.connections) if one.running else "not begun",
        output.size(one.bytes_up + one.bytes_down),
        one.source or "-",
        task or tags.reason or tags.ticket or "-",
    )


def _check(action: Action | None, ids: list[str] | None, *, every: bool, hint: str) -> None:
    if action is Action.KILL and bool(ids) == every:
        raise UsageError("which sessions: ids, or --all of mine?" if every else "which session?", hint=hint)
