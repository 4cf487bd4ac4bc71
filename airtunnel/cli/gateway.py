"""`gateway serve`, `gateway init`, `gateway check`: for whoever runs a gateway."""

from pathlib import Path
from typing import Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.command import command
from airtunnel.cli.options import JsonOption

ConfigOption = Annotated[Path, typer.Option("--config", help="The gateway's configuration.", envvar="AIRTUNNEL_GATEWAY_CONFIG")]
DEFAULT = Path("gateway.yaml")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Run a gateway.", no_args_is_help=True, rich_markup_mode=None)
    command(group)(serve)
    command(group)(init)
    command(group)(check)
    app.add_typer(group, name="gateway")


async def serve(
    config: ConfigOption = DEFAULT,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more.")] = False,
) -> None:
    """Serve: HTTPS for identity and control, SSH for data. SIGTERM and Ctrl-C end it in order.

    \b
    airtunnel gateway serve --config gateway.yaml
    """
    from airtunnel.cli.logs import start_logging
    from airtunnel.gateway.serve import Gateway
    from airtunnel.gateway.setup import check as check_config

    checked = check_config(config)
    start_logging(verbose=verbose)
    async with Gateway.open(checked.config) as gateway:
        gateway.stop_on_signals()
        output.note(f"gateway {checked.config.name}: {checked.targets} targets, {checked.rules} rules; ready")
        await gateway.run()
        output.note("draining")
    output.note("stopped")


def init(
    directory: Annotated[Path, typer.Argument(help="Where to write it.")] = Path(),
    host: Annotated[str, typer.Option(help="The name under which clients reach the gateway.")] = "localhost",
    issuer: Annotated[str, typer.Option(help="Your OpenID provider's issuer URL.")] = "https://login.example.com",
) -> None:
    """Write a commented configuration with fresh keys and a certificate.

    \b
    airtunnel gateway init /etc/airtunnel --host gateway.example.com --issuer https://login.example.com
    """
    from airtunnel.gateway.setup import init as write

    config = write(directory, host=host, issuer=issuer)
    output.note(f"Wrote {config}, an example policy, keys and a certificate.")
    output.note(f"Next: edit it, then airtunnel gateway check --config {config}")
    output.note(f"      airtunnel gateway serve --config {config}")


def check(config: ConfigOption = DEFAULT, json: JsonOption = False) -> None:
    """Say what is wrong with a configuration or its policy, by file and line; touch nothing."""
    from airtunnel.gateway.setup import check as check_config

    checked = check_config(config)
    if json:
        output.document({"ok": True, "targets": checked.targets, "rules": checked.rules, "commit": checked.commit})
    commit = f", commit {checked.commit}" if checked.commit else ""
    output.note(f"{config} is good: {checked.targets} targets, {checked.rules} rules{commit}.")
