"""`gateway serve`, `gateway init`, `gateway check`: for whoever runs a gateway."""

from pathlib import Path
from typing import Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.command import command
from airtunnel.cli.extras import need_extra
from airtunnel.cli.options import JsonOption

ConfigOption = Annotated[Path, typer.Option("--config", help="The gateway's configuration.", envvar="AIRTUNNEL_GATEWAY_CONFIG")]
DEFAULT = Path("gateway.yaml")


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    for one in (serve, init, check):
        command(group)(one)

    @group.callback()
    def gateway() -> None:
        """Run a gateway, or prepare one.

        \b
        airtunnel gateway init . --host gateway.example.com --issuer https://login.example.com
        airtunnel gateway check --config gateway.yaml
        airtunnel gateway serve --config gateway.yaml
        """

    app.add_typer(group, name="gateway")


async def serve(
    config: ConfigOption = DEFAULT,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more, also of the libraries.")] = False,
) -> None:
    """Serve until SIGTERM or Ctrl-C.

    \b
    airtunnel gateway serve --config gateway.yaml

    HTTPS for identity and control, SSH for data. When it is ended, open connections are closed with a reason, temporary
    database logins are dropped, and the exit code is 0. The log goes to stderr.
    """
    need_extra("gateway")
    from airtunnel.cli.logs import start_logging
    from airtunnel.gateway.serve import Gateway, lift_limits
    from airtunnel.gateway.setup import check as check_config

    checked = check_config(config)
    start_logging(verbose=verbose)
    lift_limits()
    async with Gateway.open(checked.config) as gateway:
        gateway.stop_on_signals()
        output.note(f"gateway {checked.config.name}: {checked.targets} targets, {checked.rules} rules; ready")
        await gateway.run()
        output.note("draining")
    output.note("stopped")


def init(
    directory: Annotated[Path, typer.Argument(help="Where to write it.", metavar="DIRECTORY")] = Path(),
    host: Annotated[str, typer.Option(help="The name under which clients reach the gateway.")] = "localhost",
    issuer: Annotated[str, typer.Option(help="Your OpenID provider's issuer URL.")] = "https://login.example.com",
) -> None:
    """Write a configuration to start from, with fresh keys.

    \b
    airtunnel gateway init . --host gateway.example.com --issuer https://login.example.com

    It writes gateway.yaml, an example policy, the gateway's keys and a TLS certificate, and never over what is there.
    """
    need_extra("gateway")
    from airtunnel.gateway.setup import init as write

    config = write(directory, host=host, issuer=issuer)
    output.note(f"Wrote {config}, an example policy, keys and a certificate.")
    output.note(f"Next: edit it, then airtunnel gateway check --config {config}")
    output.note(f"      airtunnel gateway serve --config {config}")


def check(config: ConfigOption = DEFAULT, json: JsonOption = False) -> None:
    """Say what is wrong in configuration and policy, by line.

    \b
    airtunnel gateway check --config gateway.yaml

    It opens no port and changes nothing. Exit code 0 if all is in order, 78 if not.
    """
    need_extra("gateway")
    from airtunnel.gateway.setup import check as check_config

    checked = check_config(config)
    if json:
        output.document({"ok": True, "targets": checked.targets, "rules": checked.rules, "commit": checked.commit})
    commit = f", commit {checked.commit}" if checked.commit else ""
    output.note(f"{config} is good: {checked.targets} targets, {checked.rules} rules{commit}.")
