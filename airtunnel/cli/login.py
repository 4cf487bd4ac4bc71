"""`login`: who this person is, asked at the provider of a gateway, and kept."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.account import find_context, gateway_address, reach, trust
from airtunnel.cli.command import command, typed
from airtunnel.cli.complete import complete_context, remember_targets
from airtunnel.cli.options import JsonOption
from airtunnel.errors import AirtunnelError, LoginFailed, LoginRequired, Unreachable

if TYPE_CHECKING:
    from datetime import timedelta

    from airtunnel.cli.page import LoginPage
    from airtunnel.config.client import ClientConfig, Context
    from airtunnel.identity.login.drive import Flow
    from airtunnel.identity.store import TokenStore
    from airtunnel.identity.tokenset import TokenSet
    from airtunnel.wire.control import Catalog, Published

TIMEOUT = 180
"""Seconds that a person has to approve a login, unless they say otherwise."""


class StoreKind(StrEnum):
    """Where the login is kept."""

    KEYRING = "keyring"
    FILE = "file"


class FlowKind(StrEnum):
    """How to log in."""

    AUTO = "auto"
    DEVICE = "device"
    BROWSER = "browser"


_FLOWS: dict[FlowKind, "Flow | None"] = {FlowKind.AUTO: None, FlowKind.DEVICE: "device", FlowKind.BROWSER: "browser"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app)(login)


async def login(
    gateway: Annotated[
        str | None,
        typer.Argument(
            help="The gateway: host or host:port. Default: the one you used last.",
            metavar="HOST",
            autocompletion=complete_context,
        ),
    ] = None,
    flow: Annotated[
        FlowKind,
        typer.Option(
            help="device: a code that you confirm on any device. browser: a page that opens here and comes back. "
            "auto: what the gateway names and this machine can do."
        ),
    ] = FlowKind.AUTO,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Whether a browser may be opened here.")] = True,
    qr: Annotated[
        bool | None,
        typer.Option(
            "--qr/--no-qr", help="Show the page's address as a QR code. Default: where no browser is here.", show_default=False
        ),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(
            help="PEM file of the CA that signed the gateway's certificate.",
            exists=True,
            dir_okay=False,
            envvar="AIRTUNNEL_CA",
        ),
    ] = None,
    store: Annotated[
        StoreKind | None,
        typer.Option(help="Keep the login in the system's keyring (default), or in a file that only you can read."),
    ] = None,
    context: Annotated[str | None, typer.Option(help="A name of your own for this login. Default: the host.")] = None,
    timeout: Annotated[int, typer.Option(help="Seconds that you have to approve it.", min=5)] = TIMEOUT,
    json: JsonOption = False,
) -> None:
    """Log in to a gateway, with your company's identity provider.

    \b
    airtunnel login gateway.example.com
    airtunnel login                             the last gateway again
    airtunnel login --flow browser              where codes are forbidden
    airtunnel login localhost:8443 --ca ca.pem --store file

    On a machine without a browser, open the page on any other: it takes a code, or its last address is pasted here. A later
    login at the same gateway remembers --ca, --store and --context. `airtunnel context` lists your gateways.
    """
    from airtunnel.cli.page import LoginPage
    from airtunnel.config.client import ClientConfig
    from airtunnel.identity.published import fetch_published
    from airtunnel.identity.store import open_store

    there = _destination(ClientConfig.load(), gateway, context, ca, store)
    try:
        published = await fetch_published(there.gateway, ca=trust(there))
    except Unreachable as error:
        if "certificate" in error.message and there.ca is None:
            error.details = ("if the gateway has a CA of its own, ask its operator for that file",)
            error.hint = typed("--ca", "FILE")
        raise
    _probe(open_store(there.store), there.gateway)
    page = LoginPage(there.gateway, browser=browser, qr=qr, as_json=json)
    there = await log_in_once(published, there, page, flow=_FLOWS[flow], timeout=timeout)
    try:
        catalog = await (await reach(there)).catalog()
    except LoginFailed:
        raise
    except LoginRequired as error:
        # Another login would end the same way: it is the gateway's configuration that does not fit the provider's tokens.
        error.message = "the gateway does not accept what the provider has just issued"
        error.hint = "give the request's number to the gateway's operator: its audit says what is wrong (token.rejected)"
        raise
    remember_targets(catalog)
    _welcome(there, catalog, as_json=json)


async def log_in_once(
    published: "Published",
    there: "Context",
    page: "LoginPage | None" = None,
    *,
    store: "TokenStore | None" = None,
    flow: "Flow | None" = None,
    timeout: int = TIMEOUT,
) -> "Context":
    """Log in and keep the login, one process at a time: who had to wait for another's login uses that. The context as kept.

    store: where to keep it, if not in that of the context; what is kept in memory is not written down as a context either
    """
    from dataclasses import replace
    from datetime import timedelta

    from airtunnel.cli.page import LoginPage
    from airtunnel.config.client import ClientConfig
    from airtunnel.identity.store import open_store
    from airtunnel.identity.tokens import keep_login, login_turn

    page = page or LoginPage(there.gateway)
    store, limit = store or open_store(there.store), timedelta(seconds=timeout)

    def wait() -> None:
        page.say(f"Another airtunnel is logging in to {there.gateway}: waiting for that.")

    async with login_turn(there.gateway, published.issuer, limit=limit, wait=wait) as waited:
        tokens = await _others(store, published, there) if waited else None
        if tokens is None:
            tokens = await _ask(published, there, page, flow, limit)
            await keep_login(store, published, there.gateway, tokens)
        there = replace(there, subject=tokens.subject, user=tokens.name, issuer=published.issuer)
        if there.store != "memory":
            config = ClientConfig.load()
            config.put(there)
            config.save()
    return there


async def _others(store: "TokenStore", published: "Published", there: "Context") -> "TokenSet | None":
    """The login that another process has made a moment ago for this context; None if it did not come to that."""
    from datetime import UTC, datetime

    from airtunnel.config.client import ClientConfig
    from airtunnel.errors import LoginRequired
    from airtunnel.identity.tokens import fresh_tokens

    kept = ClientConfig.load().contexts.get(there.name)
    if kept is None or kept.subject is None:
        return None  # the other one was for another context, perhaps as another person
    try:
        return await fresh_tokens(store, published, there.gateway, now=datetime.now(UTC), user=kept.subject)
    except LoginRequired:
        return None


async def _ask(
    published: "Published", there: "Context", page: "LoginPage", flow: "Flow | None", limit: "timedelta"
) -> "TokenSet":
    """The tokens of a person who went to the page that is shown."""
    from airtunnel.identity.login.drive import log_in

    try:
        return await log_in(
            published,
            show=page.show_code,
            open_page=page.show_link,
            pasted=page.pasted,
            flow=flow,
            local_browser=page.local,
            say=page.say,
            gateway=there.gateway,
            timeout=limit,
        )
    except AirtunnelError as error:
        if error.hint and error.hint.startswith("airtunnel login") and typed().startswith("airtunnel login"):
            error.hint = _retyped(error.hint)
        raise
    finally:
        page.close()


def _retyped(hint: str) -> str:
    """The hint of a flow, with everything else that was typed: it does not know how this person reaches the gateway."""
    return typed("--flow", hint.rpartition("--flow ")[2]) if "--flow " in hint else typed()


def _destination(
    config: "ClientConfig", gateway: str | None, name: str | None, ca: Path | None, store: StoreKind | None
) -> "Context":
    """Where to log in, and how: as it was said, else as it was the last time. Raises LoginRequired, UsageError."""
    from airtunnel.config.client import Context

    if gateway is None:
        gateway = find_context(config, name).gateway
    elif gateway in config.contexts and name is None:
        name, gateway = gateway, config.contexts[gateway].gateway
    address = gateway_address(gateway)
    before = config.contexts.get(name) if name else None
    if before is None or before.gateway != address:
        before = next((one for one in config.contexts.values() if one.gateway == address), None)
    if before is None:
        before = Context(name or address.removesuffix(":443"), address)
    return Context(
        name=name or before.name,
        gateway=address,
        ca=str(ca.resolve()) if ca else before.ca,
        store=store.value if store else before.store,
    )


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


def _probe(kept: "TokenStore", gateway: str) -> None:
    """A keyring that cannot keep the login is better known before it than after. Raises as the store does."""
    from airtunnel.identity.store import StoreKey

    try:
        kept.get(StoreKey(gateway, "probe"))
    except AirtunnelError as error:
        if error.hint and error.hint.startswith("airtunnel login"):
            error.hint = typed("--store", "file")
        raise
