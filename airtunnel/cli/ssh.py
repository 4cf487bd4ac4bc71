"""`ssh-config`: a grant for a stock `ssh`, where airtunnel itself cannot run."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.account import find_context, open_account
from airtunnel.cli.command import command
from airtunnel.cli.complete import complete_target
from airtunnel.cli.options import ContextOption, IdentityOption, ReasonOption, TicketOption

if TYPE_CHECKING:
    from airtunnel.model import Tags
    from airtunnel.tunnel.account import Account
    from airtunnel.tunnel.control import Granted


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "ssh-config")(ssh_config)


async def ssh_config(
    targets: Annotated[list[str], typer.Argument(help="What to reach.", metavar="TARGET", autocompletion=complete_target)],
    directory: Annotated[
        Path | None,
        typer.Option(
            "--dir", help="Where to write the files, for you alone. Default: a place of airtunnel's.", file_okay=False
        ),
    ] = None,
    agent: Annotated[bool, typer.Option("--agent", help="Give the key to your ssh-agent; no secret is written.")] = False,
    reason: ReasonOption = None,
    ticket: TicketOption = None,
    context: ContextOption = None,
    identity: IdentityOption = None,
) -> None:
    """Print the line with which a stock ssh reaches targets.

    It also writes the files that the line needs. They are good for the minutes of a grant.

    \b
    airtunnel ssh-config postgres-prod --agent
    ssh -F ~/.local/state/airtunnel/ssh/prod/config -N -L 15432:postgres-prod:5432 airtunnel
    """
    import shlex

    from airtunnel.config.client import ClientConfig, state_directory
    from airtunnel.model import Tags
    from airtunnel.tunnel.openssh import write_files

    account = await open_account(context, identity)
    if directory is None:
        name = find_context(ClientConfig.load(), context).name
        directory = state_directory() / "ssh" / name.replace("/", "_")
    tags = Tags(reason=reason, ticket=ticket)
    granted = await (_held(account, targets, tags) if agent else account.grant(tuple(targets), tags))
    config = write_files(directory, account.published, granted, in_agent=agent)
    forwards = " ".join(f"-L {15432 + at}:{name}:5432" for at, name in enumerate(targets))
    output.data(f"ssh -F {shlex.quote(str(config))} -N {forwards} airtunnel")
    reply = granted.reply
    output.note(
        f"{reply.who} may connect with it until {output.clock(reply.valid_before)}; "
        f"the session ends at {output.clock(reply.ends_at)}."
    )
    if agent:
        output.note("Then your ssh-agent forgets the key.")


async def _held(account: "Account", targets: list[str], tags: "Tags") -> "Granted":
    """A grant whose key the ssh-agent holds. Without an agent none is asked for."""
    import os
    from datetime import UTC, datetime

    from airtunnel.tunnel.openssh import add_to_agent, open_agent

    async with open_agent(os.environ.get("SSH_AUTH_SOCK")) as agent:
        granted = await account.grant(tuple(targets), tags)
        await add_to_agent(agent, granted, datetime.now(UTC))
    return granted
