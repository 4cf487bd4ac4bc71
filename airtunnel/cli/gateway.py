"""`gateway serve`, `gateway init`, `gateway check`, `gateway ca`, and where the rest of `gateway` is hung in."""

from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.command import command
from airtunnel.cli.extras import need_extra
from airtunnel.cli.lock import gateway_lock, gateway_locks, gateway_unlock
from airtunnel.cli.options import GATEWAY_FILE, ConfigOption, JsonOption
from airtunnel.cli.sessions import gateway_sessions
from airtunnel.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from airtunnel.gateway.rotation import TrustedKey


class Action(StrEnum):
    """What can be done with a CA."""

    ROTATE = "rotate"


class Ca(StrEnum):
    """Whose CA."""

    USER = "user"
    HOST = "host"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    for one in (serve, init, check, ca):
        command(group)(one)
    command(group, "sessions")(gateway_sessions)
    for name, other in (("lock", gateway_lock), ("unlock", gateway_unlock), ("locks", gateway_locks)):
        command(group, name)(other)

    @group.callback()
    def gateway() -> None:
        """Run a gateway, or prepare one.

        \b
        airtunnel gateway init . --host gateway.example.com --issuer https://login.example.com
        airtunnel gateway check --config gateway.yaml
        airtunnel gateway serve --config gateway.yaml
        airtunnel gateway ca --config gateway.yaml
        airtunnel gateway sessions --config gateway.yaml
        airtunnel gateway lock user ana@example.com --reason "laptop stolen" --config gateway.yaml
        """

    app.add_typer(group, name="gateway")


async def serve(
    config: ConfigOption = GATEWAY_FILE,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log more, also of the libraries.")] = False,
) -> None:
    """Serve until SIGTERM or Ctrl-C.

    \b
    airtunnel gateway serve --config gateway.yaml

    HTTPS for identity and control, SSH for data. When it is ended, open connections are closed with a reason, temporary
    database logins are dropped, and the exit code is 0. The log goes to stderr.
    """
    need_extra("gateway")
    import gc

    from airtunnel.cli.logs import start_logging
    from airtunnel.gateway.serve import Gateway, lift_limits
    from airtunnel.gateway.setup import check as check_config

    checked = check_config(config)
    start_logging(verbose=verbose)
    lift_limits()
    async with Gateway.open(checked.config) as gateway:
        gateway.stop_on_signals()
        # What is loaded stays. Else a full collection walks over all of it, for 16 ms in the middle of somebody's request.
        gc.collect()
        gc.freeze()
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
    output.note(f"      airtunnel login {host}:8443 --ca {config.parent / 'tls' / 'ca.pem'}")


async def check(
    config: ConfigOption = GATEWAY_FILE,
    provider: Annotated[bool, typer.Option("--provider", help="Ask each provider, too, and say what will fail.")] = False,
    json: JsonOption = False,
) -> None:
    """Say what is wrong in configuration and policy, by line.

    \b
    airtunnel gateway check --config gateway.yaml
    airtunnel gateway check --provider          is each provider set up as the configuration says?

    It opens no port and changes nothing. Exit code 0 if all is in order, 78 if not.
    """
    need_extra("gateway")
    from dataclasses import asdict

    from airtunnel.gateway.probe import probe
    from airtunnel.gateway.setup import check as check_config

    checked = check_config(config)
    probed = [await probe(one) for one in checked.config.providers] if provider else []
    broken = [one for one in probed if not one.works]
    if json:
        body = {"ok": not broken, "targets": checked.targets, "rules": checked.rules, "commit": checked.commit}
        output.document(body | ({"providers": [asdict(one) for one in probed]} if provider else {}))
    commit = f", commit {checked.commit}" if checked.commit else ""
    output.note(f"{config} is good: {checked.targets} targets, {checked.rules} rules{commit}.")
    for one in probed:
        output.note(f"{one.issuer} ({one.provider})")
        for finding in one.findings:
            output.note(f"  {finding.mark:<5}  {finding.text}")
    if broken:
        raise ConfigError(f"{len(broken)} of {len(probed)} providers would let nobody in", hint=broken[0].hint)


def ca(
    action: Annotated[
        Action | None, typer.Argument(help="Do the next step of a rotation. Default: show the keys.", metavar="rotate")
    ] = None,
    which: Annotated[Ca | None, typer.Argument(help="Of which CA.", metavar="user|host")] = None,
    config: ConfigOption = GATEWAY_FILE,
    public_key: Annotated[
        Path | None, typer.Option(help="The next key, where an ssh-agent holds it.", dir_okay=False, exists=True)
    ] = None,
    kms: Annotated[str | None, typer.Option(help="The next key, where AWS KMS holds it: its ARN, id or alias.")] = None,
    json: JsonOption = False,
) -> None:
    """Show the keys of the CAs, or replace one, step by step.

    \b
    airtunnel gateway ca --config gateway.yaml
    airtunnel gateway ca rotate user --config gateway.yaml

    Three steps: the next key is trusted; it signs, and the former one is still trusted; the former one is dropped. Each says
    what comes after it, and when. A running gateway takes it up within seconds, and writes it into its audit.
    """
    need_extra("gateway")
    from airtunnel.config.gateway import load_gateway
    from airtunnel.gateway.rotation import list_keys

    if action is None:
        _show_keys(list_keys(load_gateway(config).authority), as_json=json)
    elif which is None:
        raise UsageError("which CA: user or host?", hint=f"airtunnel gateway ca rotate user --config {config}")
    else:
        _rotate(config, which, public_key, kms, as_json=json)


def _show_keys(keys: "tuple[TrustedKey, ...]", *, as_json: bool) -> None:
    if as_json:
        listed = [
            {
                "ca": one.ca,
                "role": one.role,
                "algorithm": one.algorithm,
                "fingerprint": one.fingerprint,
                "since": one.since.isoformat(),
                "held_by": one.held_by,
            }
            for one in keys
        ]
        output.document({"keys": listed})
        return
    rows = [(one.ca, one.role, one.fingerprint, output.clock(one.since), one.held_by) for one in keys]
    output.table(("CA", "ROLE", "KEY", "SINCE", "HELD BY"), rows)


def _rotate(file: Path, which: Ca, public_key: Path | None, kms: str | None, *, as_json: bool) -> None:
    from airtunnel.config.gateway import load_gateway
    from airtunnel.gateway.authority import load_authority
    from airtunnel.gateway.rotation import Which, advice, bring, of, rotate

    config = load_gateway(file)
    path, holder = of(config.authority, Which(which))
    step, key = rotate(path, holder, bring(public_key, kms))
    safe_at, lines = advice(Which(which), step, config.grant_ttl, datetime.now(UTC))
    if as_json:
        safe = None if safe_at is None else safe_at.isoformat()
        output.document({"ca": which, "step": step, "fingerprint": key.get_fingerprint(), "safe_at": safe})
    output.note(f"{which} CA: {key.get_fingerprint()} {lines[0]}")
    for line in lines[1:]:
        output.note(line)
    if step in ("staged", "promoted"):
        when = "" if safe_at is None else f", not before {output.clock(safe_at)}"
        output.note(f"Next: airtunnel gateway ca rotate {which} --config {file}{when}")
    # The step is done. What else is broken there keeps a running gateway from taking all of it.
    load_authority(config.authority)
