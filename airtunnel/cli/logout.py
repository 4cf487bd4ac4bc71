"""`logout`: end the sessions, revoke the login, forget it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.account import find_context, reach
from airtunnel.cli.command import command
from airtunnel.cli.options import ContextOption, JsonOption
from airtunnel.errors import AirtunnelError, LoginRequired

if TYPE_CHECKING:
    from airtunnel.config.client import ClientConfig, Context
    from airtunnel.tunnel.account import Account


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

    The gateway ends your sessions, this machine forgets the login, and the provider revokes it, in that order. It is
    forgotten here even where gateway or provider cannot be told.
    """
    from airtunnel.config.client import ClientConfig

    config = ClientConfig.load()
    chosen = list(config.contexts.values()) if every else [find_context(config, context)]
    if not chosen:
        output.note("You are not logged in anywhere.")
    code = 0
    for here in chosen:
        people = _people(config, here)
        account, error = await _end_sessions(here, people)
        if error is not None and not isinstance(error, LoginRequired):
            code = output.fail(error, as_json=json)
        revoked = await _forget(here, people, account)
        config.remove(here.name)
        config.save()
        if json:
            output.event("logged_out", {"gateway": here.gateway, "context": here.name, "revoked": revoked})
        output.note(f"Logged out of {here.gateway}. {_said(people, error, revoked=revoked)}".rstrip())
    return code


def _people(config: "ClientConfig", here: "Context") -> tuple[str, ...]:
    """Whose logins end (subjects): that of the context, and those that no context names, so that none could end them later.

    A context that names nobody, as older versions wrote them, is everybody's. Raises as the store does.
    """
    from airtunnel.identity.store import open_store
    from airtunnel.identity.tokens import logged_in

    if here.issuer is None:
        return ()
    everybody = logged_in(open_store(here.store), here.gateway, here.issuer)
    if here.subject is None:
        return everybody
    place = (here.gateway, here.store, here.issuer)
    there = [one for one in config.contexts.values() if (one.gateway, one.store, one.issuer) == place]
    others = {one.subject for one in there if one.name != here.name}
    return tuple(one for one in everybody if one == here.subject or not others & {one, None})


async def _end_sessions(here: "Context", people: Sequence[str]) -> "tuple[Account | None, AirtunnelError | None]":
    """Tell the gateway: the account there, if it can be reached, and what went wrong last, if anything did."""
    from airtunnel.identity.present import StoredLogin
    from airtunnel.identity.store import open_store
    from airtunnel.tunnel.control import Control

    if not people:
        return None, None
    try:
        account = await reach(here)
    except AirtunnelError as error:
        return None, error
    trouble = None
    for user in people:
        login = StoredLogin(open_store(here.store), here.gateway, user=user)
        try:
            await Control(account.gateway, account.ca).log_out(await login.present(account.published))
        except AirtunnelError as error:
            trouble = error
    return account, trouble


async def _forget(here: "Context", people: Sequence[str], account: "Account | None") -> bool:
    """Forget the logins, and whether the provider has revoked them all. Raises as the store does, and Temporary."""
    from airtunnel.identity.login.drive import revoke
    from airtunnel.identity.store import open_store
    from airtunnel.identity.tokens import forget_login

    if here.issuer is None or not people:
        return False
    forgotten = await forget_login(open_store(here.store), here.gateway, here.issuer, people)
    if account is None or account.published.issuer != here.issuer:
        return False  # nobody else than their own provider may see them
    revoked = [await revoke(account.published, one) for one in forgotten]
    return bool(revoked) and all(revoked)


def _said(people: Sequence[str], error: AirtunnelError | None, *, revoked: bool) -> str:
    """What is left to know after a logout."""
    if not people:
        return "No login was kept."
    if isinstance(error, LoginRequired):
        return "The login there had ended already: a session that is still open ends by itself."
    if error is not None:
        return "The gateway was not told: a session that is open there ends by itself."
    return "" if revoked else "The provider did not confirm it: the login ends there by itself."
