"""`targets`: what I may reach, and why not the rest."""

from typing import TYPE_CHECKING

import typer

from airtunnel.cli import output
from airtunnel.cli.account import open_account
from airtunnel.cli.command import command
from airtunnel.cli.complete import remember_targets
from airtunnel.cli.options import ContextOption, IdentityOption, JsonOption

if TYPE_CHECKING:
    from airtunnel.wire.control import Catalog


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app)(targets)


async def targets(context: ContextOption = None, identity: IdentityOption = None, json: JsonOption = False) -> None:
    """List what you may reach, and why not the rest.

    \b
    airtunnel targets
    airtunnel targets --json | jq -r '.targets[] | select(.allowed) | .name'
    """
    account = await open_account(context, identity)
    catalog = await account.catalog()
    remember_targets(catalog)
    if json:
        _document(catalog)
    else:
        _show(catalog)


def _document(catalog: "Catalog") -> None:
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
    output.document({"who": catalog.who, "groups": list(catalog.groups), "targets": listed})


def _show(catalog: "Catalog") -> None:
    allowed = [one for one in catalog.targets if one.refusal is None]
    if allowed:
        rows = [(one.name, one.airflow_connection or "-", f"{one.rule} ({one.place})", one.description) for one in allowed]
        output.table(("TARGET", "AIRFLOW", "RULE", "WHAT IT IS"), rows)
    refusals = [one.refusal for one in catalog.targets if one.refusal is not None]
    if refusals:
        output.note(("\n" if allowed else "") + "Not open to you:")
    for refusal in refusals:
        output.note(f"  {refusal.target}: {refusal.because}")
    if not allowed:
        groups = ", ".join(catalog.groups) or "no group"
        output.note(
            f"You are {catalog.who}, in {groups}. The rules above say what is missing; the gateway's owners can give it."
        )
