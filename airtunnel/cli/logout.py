"""`logout`: end the sessions, revoke the login, forget it."""

from typing import TYPE_CHECKING, Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.account import find_context, reach
from airtunnel.cli.command import command
from airtunnel.cli.options import ContextOption, JsonOption
from airtunnel.errors import AirtunnelError

if TYPE_CHECKING:
    from airtunnel.config.client import Context


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app)(logout)


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
    chosen = list(config.contexts.values()) if every else [find_context(config, context)]
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


async def _leave(here: "Context") -> tuple[str, bool]:
    """Tell gateway and provider: what to say of it, and whether the provider revoked the login. Raises as they do."""
    from airtunnel.identity.login.drive import revoke
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
