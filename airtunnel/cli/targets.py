"""`targets`: what I may reach, and why not the rest."""

import typer

from airtunnel.cli import output
from airtunnel.cli.account import open_account
from airtunnel.cli.command import command
from airtunnel.cli.complete import remember_targets
from airtunnel.cli.options import ContextOption, JsonOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app)(targets)


async def targets(context: ContextOption = None, json: JsonOption = False) -> None:
    """List what you may reach, and why not the rest.

    \b
    airtunnel targets
    airtunnel targets --json | jq -r '.targets[] | select(.allowed) | .name'
    """
    account = await open_account(context)
    catalog = await account.catalog()
    remember_targets(catalog)
    if json:
        listed = [
            {
                "name": one.name,
                "protocol": one.protocol,
                "description": one.description,
                "labels": dict(one.labels),
                "database": one.database,
                "airflow_connection": one.airflow_connection,
                "allowed": one.refusal is None,
                "rule": one.rule,
                "place": one.place,
                "reasons": list(one.refusal.reasons) if one.refusal else [],
            }
            for one in catalog.targets
        ]
        output.document({"who": catalog.who, "targets": listed})
        return
    open_to_me = [one for one in catalog.targets if one.refusal is None]
    closed = [one for one in catalog.targets if one.refusal is not None]
    if open_to_me:
        rows = [(one.name, one.airflow_connection or "-", f"{one.rule} ({one.place})", one.description) for one in open_to_me]
        output.table(("TARGET", "AIRFLOW", "RULE", "WHAT IT IS"), rows)
    if closed:
        output.note(("\n" if open_to_me else "") + "Not open to you:")
        for one in closed:
            output.note(f"  {one.name}: {one.refusal.because if one.refusal else ''}")
    if not open_to_me:
        output.note(
            f"You are {catalog.who}, in {', '.join(catalog.groups) or 'no group'}. Ask for one of the groups that are named."
        )
