"""`login`, `whoami`, `logout`: who this person is at which gateway."""

import asyncio
import contextlib
import sys
import webbrowser
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.account import open_account, trust
from airtunnel.cli.command import command
from airtunnel.cli.complete import remember_targets
from airtunnel.cli.options import ContextOption, JsonOption
from airtunnel.config.client import ClientConfig, Context
from airtunnel.errors import AirtunnelError

if TYPE_CHECKING:
    from airtunnel.identity.device import DevicePrompt
    from airtunnel.identity.store import TokenStore
    from airtunnel.wire.control import Published


class StoreKind(StrEnum):
    """Where the login is kept."""

    KEYRING = "keyring"
    FILE = "file"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    command(app)(login)
    command(app)(whoami)
    command(app)(logout)


async def login(
    gateway: Annotated[str, typer.Argument(help="The gateway's host, or host:port.", metavar="HOST")],
    ca: Annotated[
        Path | None, typer.Option(help="PEM file of the CA that signed the gateway's certificate.", exists=True, dir_okay=False)
    ] = None,
    store: Annotated[
        StoreKind, typer.Option(help="Where the login is kept: the system's keyring, or a file that only you can read.")
    ] = StoreKind.KEYRING,
    context: Annotated[str | None, typer.Option(help="A name for this login. Default: the host.")] = None,
    timeout: Annotated[int, typer.Option(help="Seconds to wait for you.", min=5)] = 180,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Offer to open the browser.")] = True,
    json: JsonOption = False,
) -> None:
    """Log in to a gateway with your company's identity provider.

    \b
    airtunnel login gateway.example.com
    airtunnel login localhost:8443 --ca ca.pem --store file
    """
    from airtunnel.identity.endpoint import gateway_name
    from airtunnel.identity.login import log_in
    from airtunnel.identity.published import fetch_published
    from airtunnel.identity.store import open_store
    from airtunnel.identity.tokens import save_tokens
    from airtunnel.tunnel.account import Account

    host = gateway_name(gateway)
    there = Context(context or host, host, str(ca.resolve()) if ca else None, store.value)
    published = await fetch_published(host, ca=trust(there))
    kept = open_store(store.value)
    _probe(kept, host)
    with _browser(browser and output.interactive()) as offer:
        tokens = await log_in(
            published,
            show=lambda prompt: offer(_show(prompt, published, host, as_json=json)),
            timeout=timedelta(seconds=timeout),
        )
    save_tokens(kept, published, host, tokens)
    account = Account(host, published, kept, trust(there))
    catalog = await account.catalog()
    config = ClientConfig.load()
    config.put(replace(there, subject=tokens.subject, user=catalog.who, issuer=published.issuer))
    config.save()
    remember_targets(catalog)
    allowed = [one.name for one in catalog.targets if one.refusal is None]
    if json:
        output.event("logged_in", {"gateway": host, "context": there.name, "who": catalog.who, "targets": allowed})
    output.note(f"You are {catalog.who} at {host}" + (f", in {', '.join(catalog.groups)}." if catalog.groups else "."))
    output.note(
        f"You may reach: {', '.join(allowed)}" if allowed else "You may reach nothing there yet: `airtunnel targets` says why."
    )
    if allowed:
        output.note(f"Next: airtunnel connect {allowed[0]}")


async def whoami(context: ContextOption = None, json: JsonOption = False) -> None:
    """Show who you are at the gateway, until when, and where the login is kept."""
    from airtunnel.identity.tokens import load_tokens

    here = ClientConfig.load().context(context)
    account = await open_account(here.name)
    catalog = await account.catalog()
    remember_targets(catalog)
    tokens = load_tokens(account.store, here.gateway, account.published.issuer)
    until = tokens.expires_at if tokens else None
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
                "renews": bool(tokens and tokens.refresh_token),
            }
        )
        return
    rows = [
        ("who", catalog.who),
        ("groups", ", ".join(catalog.groups) or "none"),
        ("provider", catalog.issuer),
        ("gateway", here.gateway),
        ("kept in", "the system's keyring" if here.store == "keyring" else "a file that only you can read"),
        ("token", f"good until {output.clock(until)}" + (", renewed by itself" if tokens and tokens.refresh_token else ""))
        if until
        else ("token", "none"),
    ]
    for name, value in rows:
        output.data(f"{name:<9} {output.clean(value)}")


async def logout(
    context: ContextOption = None,
    every: Annotated[bool, typer.Option("--all", help="At every gateway.")] = False,
    json: JsonOption = False,
) -> int:
    """Log out: end your sessions at the gateway, revoke the login at the provider, forget it here."""
    config = ClientConfig.load()
    chosen = list(config.contexts.values()) if every else [config.context(context)]
    failures = 0
    for here in chosen:
        try:
            revoked = await _leave(here)
        except AirtunnelError as error:
            # What is kept here goes in any case: an unreachable gateway must not keep anybody logged in.
            output.fail(error, as_json=json)
            failures, revoked = failures + 1, False
        _forget(here)
        config.remove(here.name)
        if json:
            output.event("logged_out", {"gateway": here.gateway, "context": here.name, "revoked": revoked})
        output.note(f"Logged out of {here.gateway}." + ("" if revoked else " The provider could not be told."))
    config.save()
    return 1 if failures else 0


async def _leave(here: Context) -> bool:
    """Tell gateway and provider. True if the provider revoked the login."""
    from airtunnel.identity.login import revoke
    from airtunnel.identity.tokens import load_tokens
    from airtunnel.tunnel.control import Control

    account = await open_account(here.name)
    tokens = load_tokens(account.store, here.gateway, account.published.issuer)
    if tokens is None:
        return False
    try:
        await Control(account.gateway, account.ca).log_out(await account.token())
    finally:
        latest = load_tokens(account.store, here.gateway, account.published.issuer) or tokens
        revoked = await revoke(account.published, latest)
    return revoked


def _forget(here: Context) -> None:
    from airtunnel.identity.store import open_store
    from airtunnel.identity.tokens import drop_tokens

    if here.issuer is not None:
        drop_tokens(open_store(here.store), here.gateway, here.issuer)


def _show(prompt: "DevicePrompt", published: "Published", host: str, *, as_json: bool) -> str:
    """Show the code; the address to open."""
    link = prompt.verification_uri_complete or prompt.verification_uri
    if as_json:
        output.event(
            "login_required",
            {"url": prompt.verification_uri, "url_complete": link, "code": prompt.user_code, "host": prompt.host},
        )
    output.note(f"airtunnel asks {prompt.host} to log you in to {host}. Go on only if you just typed this command yourself.")
    output.note()
    output.note(f"  open   {link}")
    output.note(f"  code   {prompt.user_code}      (the page must show this one)")
    output.note()
    return link


def _probe(kept: "TokenStore", host: str) -> None:
    """A keyring that cannot keep the login is better known before it than after."""
    from airtunnel.identity.store import StoreKey

    kept.get(StoreKey(host, "probe"))


@contextlib.contextmanager
def _browser(wanted: bool) -> Iterator[Callable[[str], None]]:
    """What offers a page: it opens when the person presses Enter, and not by itself, so that they read the code first."""
    loop = asyncio.get_running_loop()

    def open_page(link: str) -> None:
        sys.stdin.readline()
        loop.remove_reader(sys.stdin)
        loop.run_in_executor(None, webbrowser.open, link)

    def offer(link: str) -> None:
        if wanted:
            output.note("Press Enter to open it in a browser, or open it anywhere else. Waiting ...")
            loop.add_reader(sys.stdin, open_page, link)
        else:
            output.note("Waiting ...")

    try:
        yield offer
    finally:
        if wanted:
            loop.remove_reader(sys.stdin)
