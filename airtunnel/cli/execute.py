"""`exec`: a command inside tunnels; with Airflow in it, connections open when a task first asks for them."""

import contextlib
import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.account import open_account, project_targets
from airtunnel.cli.command import command
from airtunnel.cli.complete import complete_target
from airtunnel.cli.options import ContextOption, IdentityOption, ReasonOption, TicketOption
from airtunnel.errors import AirtunnelError, UsageError

if TYPE_CHECKING:
    from datetime import timedelta
    from pathlib import Path

    from airtunnel.model import Tags
    from airtunnel.tunnel.account import Account
    from airtunnel.tunnel.agent import Agent
    from airtunnel.tunnel.lazy import LazyTunnels

OWN_FAILURE = 125
"""As `env` and docker have it: what went wrong outside of the command. The command's codes stay its own."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "exec")(execute)


async def execute(
    context_: typer.Context,
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            help="What to reach. Airflow needs none: it opens what its tasks ask for. Without any: those of .airtunnel.toml.",
            metavar="TARGET",
            autocompletion=complete_target,
        ),
    ] = None,
    dag: Annotated[str | None, typer.Option(help="The DAG this is for, where the command does not say.")] = None,
    task: Annotated[str | None, typer.Option(help="The task this is for.")] = None,
    run: Annotated[str | None, typer.Option(help="The run this is for.")] = None,
    reason: ReasonOption = None,
    ticket: TicketOption = None,
    kill_after: Annotated[int, typer.Option(help="Seconds the command has to end after SIGTERM.", min=1)] = 30,
    context: ContextOption = None,
    identity: IdentityOption = None,
) -> int:
    """Run a command that reaches targets: exec [TARGET] -- COMMAND

    \b
    airtunnel exec -- airflow tasks test billing load_invoices
    airtunnel exec postgres-prod -- psql
    airtunnel exec postgres-prod -- python report.py

    The command finds the first target in PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE and DATABASE_URL, and each in
    AIRTUNNEL_<TARGET>_HOST, _PORT and _URL.

    The exit code is the command's own; 126 or 127 if it cannot be run; 125 if airtunnel failed before it; 77 if it was
    refused a target and said 0 all the same.
    """
    from datetime import timedelta

    from airtunnel.model import Tags
    from airtunnel.tunnel.run import CommandNotExecutable, CommandNotFound

    words = context_.obj
    if not words:
        raise UsageError("there is no command to run", hint="airtunnel exec [TARGET...] -- COMMAND")
    said = Tags(dag_id=dag, task_id=task, run_id=run, reason=reason, ticket=ticket)
    try:
        account = await open_account(context, identity)
        return await _run(account, words, targets or [], said, timedelta(seconds=kill_after))
    except (CommandNotFound, CommandNotExecutable):
        raise
    except Exception as error:
        code = output.fail(error)
        output.note(f"airtunnel: {words[0]} was not run: exit code {OWN_FAILURE}, for {code}")
        return OWN_FAILURE


async def _run(account: "Account", words: Sequence[str], targets: list[str], said: "Tags", kill_after: "timedelta") -> int:
    from airtunnel.airflow.environment import UnknownAirflow, airflow_environment, is_airflow, is_task_test
    from airtunnel.tunnel.agent import Agent
    from airtunnel.tunnel.lazy import LazyTunnels
    from airtunnel.tunnel.run import final_code, run_command
    from airtunnel.tunnel.tunnels import Tunnels
    from airtunnel.tunnel.variables import variables

    env = dict(os.environ)
    if not targets and not is_airflow(words):
        targets = [one.partition("=")[0] for one in project_targets()]
    async with contextlib.AsyncExitStack() as stack:
        if targets:
            tunnels = await stack.enter_async_context(Tunnels.open(account, targets, said))
            for name in targets:
                await tunnels.test(name)
                await tunnels.listen(name)
            env |= variables(tunnels)
        if not is_airflow(words):
            return await run_command(words, env, airflow=False, kill_after=kill_after)
        lazy = LazyTunnels(account, await account.catalog(), said)
        agent = await stack.enter_async_context(Agent(lazy, stack.enter_context(_private_directory()) / "agent.sock"))
        try:
            env = stack.enter_context(airflow_environment(words, env, socket=agent.path, managed=lazy.managed))
        except (UnknownAirflow, ValueError) as error:
            raise AirtunnelError(str(error), hint="is this the Airflow you mean? `which airflow`") from error
        child = await run_command(words, env, airflow=True, kill_after=kill_after)
        failed = bool(agent.failed) and is_task_test(words)
        code = final_code(child, refused=bool(agent.refusals), failed=failed)
    _summarise(lazy, agent, child, code)
    return code


@contextlib.contextmanager
def _private_directory() -> "Iterator[Path]":
    """A directory of mode 0700 for the agent's socket, gone at the end. Short: a socket's path may have 103 bytes."""
    import tempfile
    from pathlib import Path

    runtime = os.environ.get("XDG_RUNTIME_DIR")
    # It names another user's directory, or none, after `su`.
    usable = runtime if runtime and os.access(runtime, os.W_OK | os.X_OK) else None
    with tempfile.TemporaryDirectory(prefix="airtunnel-", dir=usable, ignore_cleanup_errors=True) as place:
        yield Path(place)


def _summarise(lazy: "LazyTunnels", agent: "Agent", child: int, code: int) -> None:
    """What was opened, under which rule, for how long; and why the code is not the command's own, if it is not."""
    from datetime import UTC, datetime

    for use in lazy.uses:
        length = output.span((use.closed or datetime.now(UTC)) - use.opened)
        task = "/".join(part for part in (use.tags.dag_id, use.tags.task_id) if part)
        moved = f"{output.size(use.up)} up, {output.size(use.down)} down"
        output.note(f"airtunnel: {use.target} for {task or 'the command'}, {length}, {moved}, rule {use.rule} ({use.place})")
    for refusal in agent.refusals:
        output.note(f"airtunnel: refused {refusal.target}: {refusal.because}; request {refusal.request}")
    if code != child:
        why = "a connection was refused" if agent.refusals else "a task failed"
        output.note(f"airtunnel: the command said {child}, but {why}: exit code {code}")
