"""`ssh-config`: a grant for a stock `ssh`, where airtunnel itself cannot run."""

from pathlib import Path
from typing import Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.account import open_account
from airtunnel.cli.command import command
from airtunnel.cli.complete import complete_target
from airtunnel.cli.options import ContextOption, ReasonOption, TicketOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app, "ssh-config")(ssh_config)


async def ssh_config(
    targets: Annotated[list[str], typer.Argument(help="What to reach.", metavar="TARGET", autocompletion=complete_target)],
    directory: Annotated[
        Path, typer.Option("--dir", help="Where to write key, certificate and configuration, for you alone.", file_okay=False)
    ],
    reason: ReasonOption = None,
    ticket: TicketOption = None,
    context: ContextOption = None,
) -> None:
    """Write the files with which a stock ssh reaches targets.

    They are good for the minutes of a grant.

    \b
    airtunnel ssh-config postgres-prod --dir /tmp/at
    ssh -F /tmp/at/config -N -L 15432:postgres-prod:5432 airtunnel
    """
    import shlex

    from airtunnel.model import Tags
    from airtunnel.tunnel.openssh import write_files

    account = await open_account(context)
    granted = await account.grant(tuple(targets), Tags(reason=reason, ticket=ticket))
    config = write_files(directory, account.published, granted)
    forwards = " ".join(f"-L {15432 + at}:{name}:5432" for at, name in enumerate(targets))
    output.data(f"ssh -F {shlex.quote(str(config))} -N {forwards} airtunnel")
    reply = granted.reply
    output.note(
        f"{reply.who} may connect with it until {output.clock(reply.valid_before)}; "
        f"the session ends at {output.clock(reply.ends_at)}."
    )
