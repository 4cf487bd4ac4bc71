"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

from airtunnel.cli.complete import complete_context

ContextOption = Annotated[
    str | None,
    typer.Option(
        "--context",
        envvar="AIRTUNNEL_CONTEXT",
        help="Which of your logins. Default: the latest.",
        autocompletion=complete_context,
    ),
]
IdentityOption = Annotated[
    str | None,
    typer.Option(
        "--identity",
        metavar="KIND",
        envvar="AIRTUNNEL_IDENTITY",
        help="Not your login, but the identity of this job or machine: token, kubernetes, github, gitlab, gcp, aws, "
        "client-credentials, or auto.",
    ),
]
EnvironmentOption = Annotated[
    str | None, typer.Option(metavar="ENV", help="Only this environment's targets: those with the label `env`. Default: all.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout, one object per line.")]
ReasonOption = Annotated[
    str | None,
    typer.Option(envvar="AIRTUNNEL_REASON", help="Why you need it: goes to the audit, and some rules ask for it."),
]
TicketOption = Annotated[
    str | None, typer.Option(envvar="AIRTUNNEL_TICKET", help="The ticket this is for: goes to the audit, too.")
]
ConfigOption = Annotated[Path, typer.Option("--config", help="The gateway's configuration.", envvar="AIRTUNNEL_GATEWAY_CONFIG")]
GATEWAY_FILE = Path("gateway.yaml")
