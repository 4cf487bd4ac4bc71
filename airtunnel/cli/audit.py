"""`audit verify`: whether anybody has touched what was written down."""

from pathlib import Path
from typing import Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.command import command
from airtunnel.cli.options import JsonOption
from airtunnel.errors import AirtunnelError


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    command(group)(verify)

    @group.callback()
    def audit() -> None:
        """Look after the gateway's record of what happened.

        \b
        airtunnel audit verify audit/audit.jsonl
        """

    app.add_typer(group, name="audit")


def verify(
    file: Annotated[Path, typer.Argument(help="The audit's file.", metavar="FILE", exists=True, dir_okay=False)],
    json: JsonOption = False,
) -> int:
    """Check that nobody changed an audit file.

    \b
    airtunnel audit verify audit/audit.jsonl

    Each record holds the hash of the one before it. Exit code 0 if none was changed, removed or put in, 1 otherwise.
    """
    from dataclasses import asdict

    from airtunnel.audit.file import verify_file

    found = verify_file(file)
    broken = found.broken
    if json:
        where = None if broken is None else asdict(broken)
        output.document({"ok": broken is None, "records": found.count, "head": found.head, "broken": where})
    if broken is not None:
        before = f"the {found.count} records before it are unbroken"
        return output.fail(AirtunnelError(f"{file}:{broken.line}: {broken.message}", details=(before,)))
    when = f", {found.first_time} to {found.last_time}" if found.count else ""
    output.note(f"{file}: {found.count} records, unbroken{when}")
    return 0
