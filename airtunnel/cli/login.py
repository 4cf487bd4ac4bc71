"""`login`, `whoami`, `logout`: who this person is at which gateway."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.account import reach, trust
from airtunnel.cli.command import command, typed
from airtunnel.cli.complete import complete_context, remember_targets
from airtunnel.cli.options import ContextOption, JsonOption
from airtunnel.errors import AirtunnelError, Unreachable

if TYPE_CHECKING:
    from airtunnel.config.client import ClientConfig, Context
    from airtunnel.identity.device import DevicePrompt
    from airtunnel.identity.store import TokenStore
    from airtunnel.identity.tokenset import TokenSet
    from airtunnel.wire.control import Catalog, Published


class StoreKind(StrEnum):
    """Where the login is kept."""

    KEYRING = "keyring"
    FILE = "file"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for one in (login, whoami, logout):
        command(app)(one)


async def login(
    gateway: Annotated[
        str | None,
        typer.Argument(
            help="The gateway: host or host:port. Default: the one you used last.",
            metavar="HOST",
            autocompletion=complete_context,
        ),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(help="PEM file of the CA that signed the gateway's certificate.", exists=True, dir_okay=False),
    ] = None,
    store: Annotated[
        StoreKind | None,
        typer.Option(help="Keep the login in the system's keyring (default), or in a file that only you can read."),
    ] = None,
    context: Annotated[str | None, typer.Option(help="A name of your own for this login. Default: the host.")] = None,
    timeout: Annotated[int, typer.Option(help="Seconds that you have to approve it.", min=5)] = 180,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Offer to open a browser here.")] = True,
    json: JsonOption = False,
) -> None:
    """Log in to a gateway, with your company's identity provider.

    \b
    airtunnel login gateway.example.com
    airtunnel login                             the last gateway again
    airtunnel login localhost:8443 --ca ca.pem --store file

    A later login at the same gateway remembers --ca, --store and --context.
    """
    from dataclasses import replace

    from airtunnel.config.client import ClientConfig
    from airtunnel.identity.present import StoredLogin
    from airtunnel.identity.published import fetch_published
    from airtunnel.identity.store import open_store
    from airtunnel.identity.tokens import save_tokens
    from airtunnel.tunnel.account import Account

    config = ClientConfig.load()
    there = _destination(config, gateway, context, ca, store)
    try:
        published = await fetch_published(there.gateway, ca=trust(there))
    except Unreachable as error:
        if "certificate" in error.message and there.ca is None:
            error.details = ("if the gateway has a CA of its own, ask its operator for that file",)
            error.hint = typed("--ca", "FILE")
        raise
    kept = open_store(there.store)
    _probe(kept, there.gateway)
    tokens = await _ask(published, there, timeout, browser=browser, as_json=json)
    save_tokens(kept, published, there.gateway, tokens)
    config.put(replace(there, subject=tokens.subject, user=tokens.name, issuer=published.issuer))
    config.save()
    catalog = await Account(there.gateway, published, StoredLogin(kept, there.gateway), trust(there)).catalog()
    remember_targets(catalog)
    _welcome(there, catalog, as_json=json)


async def whoami(context: ContextOption = None, json: JsonOption = False) -> None:
    """Show who you are at the gateway, and until when.

    \b
    airtunnel whoami
    airtunnel whoami --json | jq -r .who
    """
    from airtunnel.config.client import ClientConfig
    from airtunnel.identity.store import open_store
    from airtunnel.identity.tokens import load_tokens

    here = ClientConfig.load().context(context)
    account = await reach(here)
    catalog = await account.catalog()
    remember_targets(catalog)
    tokens = load_tokens(open_store(here.store), here.gateway, account.published.issuer)
    until = tokens.expires_at if tokens else None
    renews = bool(tokens and tokens.refresh_token)
    if json:
        output.document(
            {
                "who": catalog.who,
                "issuer": catalog.issuer,
                "groups": list(catalog.groups),
                "gateway": here.gateway,
                "context": here.name,
                "store": here.store,
                "token_expires_at": until.isoformat() if until else None,
                "renews": renews,
            }
        )
        return
    for name, value in (
        ("who", catalog.who),
        ("groups", ", ".join(catalog.groups) or "none"),
        ("provider", catalog.issuer),
        ("gateway", here.gateway),
        ("kept in", "the system's keyring" if here.store == "keyring" else "a file that only you can read"),
        ("token", f"good until {output.clock(until)}{', then renewed by itself' if renews else ''}" if until else "none"),
    ):
        output.data(f"{name:<9} {output.clean(value)}")


async def logout(
    context: ContextOption = None,
    every: Annotated[bool, typer.Option("--all", help="Log out of every gateway.")] = False,
    json: JsonOption = False,
) -> int:
    """Log out: end your sessions and forget the login.

    \b
    airtunnel logout
    airtunnel logout --all

    The gateway ends your sessions, the provider revokes the login, and this machine forgets it, in that order. It is
    forgotten here even where gateway or provider cannot be told.
    """
    from airtunnel.config.client import ClientConfig

    config = ClientConfig.load()
    chosen = list(config.contexts.values()) if every else [config.context(context)]
    if not chosen:
        output.note("You are not logged in anywhere.")
    code = 0
    for here in chosen:
        try:
            said, revoked = await _leave(here)
        except AirtunnelError as error:
            code = output.fail(error, as_json=json)
            said, revoked = "The gateway was not told: a session that is open there ends by itself.", False
        _forget(here)
        config.remove(here.name)
        config.save()
        if json:
            output.event("logged_out", {"gateway": here.gateway, "context": here.name, "revoked": revoked})
        output.note(f"Logged out of {here.gateway}. {said}".rstrip())
    return code


def _destination(
    config: "ClientConfig", gateway: str | None, name: str | None, ca: Path | None, store: StoreKind | None
) -> "Context":
    """Where to log in, and how: as it was said, else as it was the last time. Raises LoginRequired, UsageError."""
    from airtunnel.config.client import Context
    from airtunnel.identity.endpoint import gateway_name

    if gateway is None:
        gateway = config.context(name).gateway
    elif gateway in config.contexts and name is None:
        name, gateway = gateway, config.contexts[gateway].gateway
    host = gateway_name(gateway)
    address = host if host.rpartition(":")[2].isdecimal() else f"{host}:443"
    before = config.contexts.get(name) if name else None
    if before is None or before.gateway != address:
        before = next((one for one in config.contexts.values() if one.gateway == address), None)
    if before is None:
        before = Context(name or host, address)
    return Context(
        name=name or before.name,
        gateway=address,
        ca=str(ca.resolve()) if ca else before.ca,
        store=store.value if store else before.store,
    )


async def _ask(published: "Published", there: "Context", timeout: int, *, browser: bool, as_json: bool) -> "TokenSet":
    """The tokens of a person who went to the page that is shown here."""
    from datetime import timedelta

    from airtunnel.identity.login import log_in

    with _browser(browser and output.interactive()) as offer:
        try:
            return await log_in(
                published,
                show=lambda prompt: offer(_show(prompt, there.gateway, as_json=as_json)),
                timeout=timedelta(seconds=timeout),
            )
        except AirtunnelError as error:
            if error.hint and error.hint.startswith("airtunnel login"):
                error.hint = typed()  # the flow does not know how this person reaches the gateway
            raise


def _welcome(there: "Context", catalog: "Catalog", *, as_json: bool) -> None:
    allowed = [one.name for one in catalog.targets if one.refusal is None]
    if as_json:
        said = {"gateway": there.gateway, "context": there.name, "who": catalog.who, "targets": allowed}
        output.event("logged_in", said)
    groups = f", in {', '.join(catalog.groups)}" if catalog.groups else ", in no group"
    output.note(f"You are {catalog.who} at {there.gateway}{groups}.")
    if allowed:
        output.note(f"You may reach: {', '.join(allowed)}")
        output.note(f"Next: airtunnel connect {allowed[0]}")
    else:
        output.note("You may reach nothing there yet: `airtunnel targets` says why.")


async def _leave(here: "Context") -> tuple[str, bool]:
    """Tell gateway and provider: what to say of it, and whether the provider revoked the login. Raises as they do."""
    from airtunnel.identity.login import revoke
    from airtunnel.identity.store import open_store
    from airtunnel.identity.tokens import load_tokens
    from airtunnel.tunnel.control import Control

    account, store = await reach(here), open_store(here.store)
    if load_tokens(store, here.gateway, account.published.issuer) is None:
        return "No login was kept.", False
    revoked = False
    try:
        await Control(account.gateway, account.ca).log_out(await account.present())
    finally:
        # Read again: asking for a token may have renewed it.
        if tokens := load_tokens(store, here.gateway, account.published.issuer):
            revoked = await revoke(account.published, tokens)
    return "" if revoked else "The provider did not confirm it: the login ends there by itself.", revoked


def _forget(here: "Context") -> None:
    from airtunnel.identity.store import open_store
    from airtunnel.identity.tokens import drop_tokens

    if here.issuer is not None:
        drop_tokens(open_store(here.store), here.gateway, here.issuer)


def _show(prompt: "DevicePrompt", gateway: str, *, as_json: bool) -> str:
    """Show the code; the address to open."""
    link = prompt.verification_uri_complete or prompt.verification_uri
    if as_json:
        shown = {"url": prompt.verification_uri, "url_complete": link, "code": prompt.user_code, "host": prompt.host}
        output.event("login_required", shown | {"gateway": gateway, "expires_at": prompt.expires_at.isoformat()})
    output.note(f"To log in to {gateway}, open this page of {prompt.host}, and only if you typed this command yourself:")
    output.note()
    output.note(f"  {link}")
    output.note(f"  code  {prompt.user_code}      the page must show this one")
    output.note()
    return link


def _probe(kept: "TokenStore", gateway: str) -> None:
    """A keyring that cannot keep the login is better known before it than after. Raises as the store does."""
    from airtunnel.identity.store import StoreKey

    try:
        kept.get(StoreKey(gateway, "probe"))
    except AirtunnelError as error:
        if error.hint and error.hint.startswith("airtunnel login"):
            error.hint = typed("--store", "file")
        raise


@contextlib.contextmanager
def _browser(wanted: bool) -> Iterator[Callable[[str], None]]:
    """What offers a page: it opens when the person presses Enter, and not by itself, so that they read the code first."""
    import asyncio
    import webbrowser

    loop = asyncio.get_running_loop()

    def open_page(link: str) -> None:
        sys.stdin.readline()
        loop.remove_reader(sys.stdin)
        loop.run_in_executor(None, webbrowser.open, link)

    def offer(link: str) -> None:
        if wanted:
            output.note("Enter opens it in a browser here; any other device does as well. Waiting ...")
            loop.add_reader(sys.stdin, open_page, link)
        else:
            output.note("Waiting for you to approve it there ...")

    try:
        yield offer
    finally:
        if wanted:
            loop.remove_reader(sys.stdin)
