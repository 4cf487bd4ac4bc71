"""The command line: `airtunnel COMMAND ...`. Each command loads what it needs when it runs."""

import sys
from typing import Annotated

import typer

from airtunnel import __version__
from airtunnel.cli import (
    audit,
    connect,
    context,
    demo,
    execute,
    gateway,
    lock,
    login,
    logout,
    policy,
    sessions,
    ssh,
    targets,
    who,
    why,
)
from airtunnel.cli.complete import add_completion

EPILOG = """\
\b
Exit codes: 0 done, 1 other error, 2 usage, 69 no answer, 73 port in use, 75 try later,
77 refused by policy, 78 configuration, 79 log in first, 80 session ended, 128+n signal n.
"""

app = typer.Typer(
    name="airtunnel",
    no_args_is_help=True,
    # Plain text: rich costs as much to load as everything else here together.
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"airtunnel {__version__}")
        raise typer.Exit


@app.callback()
def airtunnel(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Reach private databases as yourself, without a password.

    \b
    airtunnel login gateway.example.com
    airtunnel connect postgres-prod
    airtunnel exec -- airflow tasks test billing load_invoices
    """


for part in (login, who, logout, context, targets, connect, execute, ssh, why, sessions, lock, demo, gateway, policy, audit):
    part.register(app)
add_completion(app)


def main() -> None:
    """The console script."""
    words = sys.argv[1:]
    command = None
    if words[:1] == ["exec"] and "--" in words:
        # Everything behind `--` is the command's, to the letter; a parser of options would eat the dashes.
        at = words.index("--")
        words, command = words[:at], words[at + 1 :]
    app(words, obj=command, prog_name="airtunnel")
