"""`lock`, `unlock`, `locks`: shut somebody or something out at once. For a gateway's admins; under `gateway`, its operator."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.account import open_account
from airtunnel.cli.command import command
from airtunnel.cli.extras import need_extra
from airtunnel.cli.options import GATEWAY_FILE, ConfigOption, ContextOption, JsonOption
from airtunnel.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from airtunnel.gateway.desk import Operator
    from airtunnel.gateway.store import Store
    from airtunnel.identity.present import Presented
    from airtunnel.tunnel.control import Control
    from airtunnel.wire.sessions import LockEntry

KindArgument = Annotated[str, typer.Argument(help="What to lock.", metavar="user|group|workload|target")]
NameArgument = Annotated[str, typer.Argument(help="Whom, or which.", metavar="NAME")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why: those who are locked read it, and it goes to the audit.")]
ForOption = Annotated[
    str | None, typer.Option("--for", help="For how long: 30m, 2h, 7d. Default: until it is lifted.", metavar="TIME")
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for one in (lock, unlock, locks):
        command(app)(one)


async def lock(
    kind: KindArgument,
    name: NameArgument,
    reason: ReasonOption,
    hold: ForOption = None,
    context: ContextOption = None,
    json: JsonOption = False,
) -> None:
    """Shut a user, group, workload or target out, at once.

    \b
    airtunnel lock user ana@example.com --reason "laptop stolen"
    airtunnel lock target postgres-prod --reason "restore in progress" --for 2h

    Running sessions end within two seconds, on all gateways, and nothing new opens. For the gateway's admins.
    """
    from airtunnel.wire.sessions import LockRequest

    held = _length(hold)
    control, shown = await open_control(context)
    answer = await control.lock(shown, LockRequest(kind, name, reason, None if held is None else int(held.total_seconds())))
    _tell(answer.lock, answer.ends, as_json=json)


async def unlock(kind: KindArgument, name: NameArgument, context: ContextOption = None, json: JsonOption = False) -> None:
    """Lift a lock.

    \b
    airtunnel unlock user ana@example.com

    What was ended by it stays ended. For the gateway's admins.
    """
    control, shown = await open_control(context)
    await control.unlock(shown, kind, name)
    _lifted(kind, name, as_json=json)


async def locks(context: ContextOption = None, json: JsonOption = False) -> None:
    """List the locks that hold.

    \b
    airtunnel locks

    For the gateway's admins.
    """
    control, shown = await open_control(context)
    _show((await control.locks(shown)).locks, as_json=json)


async def gateway_lock(
    kind: KindArgument,
    name: NameArgument,
    reason: ReasonOption,
    hold: ForOption = None,
    config: ConfigOption = GATEWAY_FILE,
    json: JsonOption = False,
) -> None:
    """Shut a user, group, workload or target out, at the store.

    \b
    airtunnel gateway lock user ana@example.com --reason "laptop stolen" --for 2h --config gateway.yaml

    For the operator: no login, and no gateway needs to run. Those that run hear of it within two seconds, end the sessions,
    and write it into their audit.
    """
    from datetime import UTC, datetime

    held = _length(hold)
    async with open_desk(config) as (_, operator):
        from airtunnel.gateway.desk import lock_entry

        found, ends = await operator.lock(kind, name, reason, datetime.now(UTC), held)
        _tell(lock_entry(found), ends, as_json=json)


async def gateway_unlock(
    kind: KindArgument, name: NameArgument, config: ConfigOption = GATEWAY_FILE, json: JsonOption = False
) -> None:
    """Lift a lock, at the store.

    \b
    airtunnel gateway unlock user ana@example.com --config gateway.yaml
    """
    from datetime import UTC, datetime

    async with open_desk(config) as (_, operator):
        await operator.unlock(kind, name, datetime.now(UTC))
        _lifted(kind, name, as_json=json)


async def gateway_locks(config: ConfigOption = GATEWAY_FILE, json: JsonOption = False) -> None:
    """List the locks that hold, at the store.

    \b
    airtunnel gateway locks --config gateway.yaml
    """
    from datetime import UTC, datetime

    async with open_desk(config) as (store, _):
        from airtunnel.gateway.desk import lock_entry

        _show([lock_entry(one) for one in await store.locks.held(datetime.now(UTC))], as_json=json)


async def open_control(context: str | None, identity: str | None = None) -> "tuple[Control, Presented]":
    """The API of the gateway that is meant, and what to show there. Raises as open_account does."""
    from airtunnel.tunnel.control import Control

    account = await open_account(context, identity)
    return Control(account.gateway, account.ca), await account.present()


@contextlib.asynccontextmanager
async def open_desk(config: Path) -> "AsyncIterator[tuple[Store, Operator]]":
    """The store of the gateway with this configuration, and its desk, as the person at this machine. Raises as they do."""
    need_extra("gateway")
    import getpass
    import socket

    from airtunnel.config.gateway import load_gateway
    from airtunnel.gateway.desk import Operator
    from airtunnel.gateway.store import Store

    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = "operator"
    async with Store.open(load_gateway(config).state) as store:
        yield store, Operator(store, f"{user} at {socket.gethostname()}")


def _length(typed: str | None) -> "timedelta | None":
    from airtunnel.config.values import parse_duration

    if typed is None:
        return None
    try:
        return parse_duration(typed)
    except ValueError as error:
        raise UsageError(f"--for: {error}", hint="--for 2h") from error


def _tell(lock: "LockEntry", ends: int, *, as_json: bool) -> None:
    if as_json:
        output.document({"lock": lock.as_json(), "ends": ends})
    until = "until it is lifted" if lock.until is None else f"until {output.clock(lock.until)}"
    output.note(f"Locked: {lock.kind} {lock.name}, {until}. It ends {ends} running session{'' if ends == 1 else 's'}.")


def _lifted(kind: str, name: str, *, as_json: bool) -> None:
    if as_json:
        output.document({"unlocked": {"kind": kind, "name": name}})
    output.note(f"Unlocked: {kind} {name}.")


def _show(locks: "Sequence[LockEntry]", *, as_json: bool) -> None:
    if as_json:
        output.document({"locks": [one.as_json() for one in locks]})
    elif not locks:
        output.note("Nothing is locked.")
    else:
        rows = [
            (
                f"{one.kind} {one.name}",
                output.clock(one.since),
                output.clock(one.until) if one.until else "-",
                one.by,
                one.reason,
            )
            for one in locks
        ]
        output.table(("LOCKED", "SINCE", "UNTIL", "BY", "WHY"), rows)
