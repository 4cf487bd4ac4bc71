"""`audit verify`: whether anybody has touched what was written down."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.command import command
from airtunnel.cli.options import JsonOption
from airtunnel.errors import AirtunnelError


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Read what was written down.", no_args_is_help=True, rich_markup_mode=None)
    command(group)(verify)

    @group.callback()
    def audit() -> None:
        """Read what was written down."""

    app.add_typer(group, name="audit")


def verify(
    file: Annotated[Path, typer.Argument(help="The audit's file.", exists=True, dir_okay=False)], json: JsonOption = False
) -> None:
    """Check the chain of an audit file: 0 if nothing was changed, removed or put in, 1 otherwise.

    \b
    airtunnel audit verify audit/audit.jsonl
    """
    from airtunnel.audit.file import verify_file

    found = verify_file(file)
    broken = found.broken
    if json:
        where = None if broken is None else asdict(broken)
        output.document({"ok": broken is None, "records": found.count, "head": found.head, "broken": where})
    if broken is not None:
        before = f"the {found.count} records before it are unbroken"
        raise AirtunnelError(f"{file}:{broken.line}: {broken.message}", details=(before,))
    when = f", {found.first_time} to {found.last_time}" if found.count else ""
    output.note(f"{file}: {found.count} records, unbroken{when}")
