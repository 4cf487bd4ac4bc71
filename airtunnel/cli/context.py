"""`context`: the gateways where this person is logged in, and which of them is meant when none is named."""

from typing import Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.command import command
from airtunnel.cli.complete import complete_context
from airtunnel.cli.options import JsonOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app)(context)


def context(
    name: Annotated[
        str | None, typer.Argument(help="The one to use from now on.", metavar="NAME", autocompletion=complete_context)
    ] = None,
    json: JsonOption = False,
) -> None:
    """Show your gateways, or choose the one that commands use.

    \b
    airtunnel context                   where you are logged in
    airtunnel context staging           use that one from now on
    airtunnel connect db --context prod use another one once

    A context is a login at one gateway, called as the gateway or as `login --context NAME` said. What is named on the command
    line or in AIRTUNNEL_CONTEXT comes first, then AIRTUNNEL_GATEWAY, then `gateway` in the project's .airtunnel.toml.
    """
    from airtunnel.config.client import ClientConfig

    config = ClientConfig.load()
    if name is not None:
        config.put(config.context(name))
        config.save()
    if json:
        listed = [
            {
                "name": one.name,
                "gateway": one.gateway,
                "who": one.user,
                "issuer": one.issuer,
                "store": one.store,
                "current": one.name == config.current,
            }
            for one in config.contexts.values()
        ]
        output.document({"contexts": listed})
        return
    if name is not None:
        output.note(f"From now on: {name}, at {config.contexts[name].gateway}.")
        return
    if not config.contexts:
        output.note("You are not logged in anywhere. airtunnel login HOST")
        return
    rows = [
        ("*" if one.name == config.current else "", one.name, one.gateway, one.user or "-", one.store)
        for one in config.contexts.values()
    ]
    output.table(("", "CONTEXT", "GATEWAY", "WHO", "KEPT IN"), rows)
