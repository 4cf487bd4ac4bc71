"""`whoami` and `status`: who this person or machine is at the gateway, and for how long."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.account import find_context, open_account, reach
from airtunnel.cli.command import command
from airtunnel.cli.complete import remember_targets
from airtunnel.cli.options import ContextOption, IdentityOption, JsonOption
from airtunnel.errors import LoginRequired, UsageError

if TYPE_CHECKING:
    from airtunnel.config.client import Context
    from airtunnel.identity.tokenset import TokenSet

STORES = {
    "keyring": "the system's keyring",
    "file": "a file that only you can read",
    "memory": "memory, for this command",
}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    for one in (whoami, status):
        command(app)(one)


async def whoami(context: ContextOption = None, identity: IdentityOption = None, json: JsonOption = False) -> None:
    """Show who you are at the gateway, and until when.

    \b
    airtunnel whoami
    airtunnel whoami --json | jq -r .who
    airtunnel whoami --identity kubernetes      what a worker here would be
    """
    from airtunnel.identity.present import StoredLogin

    account = await open_account(context, identity)
    catalog = await account.catalog()
    remember_targets(catalog)
    login, tokens = account.identity, None
    if isinstance(login, StoredLogin):
        tokens = login.kept(account.published.issuer)
    until = tokens.expires_at if tokens else None
    renews = bool(tokens and tokens.refresh_token)
    if json:
        output.document(
            {
                "who": catalog.who,
                "issuer": catalog.issuer,
                "groups": list(catalog.groups),
                "gateway": account.gateway,
                "identity": login.name,
                "token_expires_at": until.isoformat() if until else None,
                "renews": renews,
                "bound": bool(tokens and tokens.bound),
            }
        )
        return
    for name, value in (
        ("who", catalog.who),
        ("groups", ", ".join(catalog.groups) or "none"),
        ("provider", catalog.issuer),
        ("gateway", account.gateway),
        ("by", login.name),
        ("token", _phrase(tokens) if tokens else "fetched when it is needed"),
    ):
        output.data(f"{name:<9} {output.clean(value)}")


async def status(
    expires_in: Annotated[
        str | None, typer.Option(metavar="15m", help="Exit code 79 unless the login is good for that much longer.")
    ] = None,
    context: ContextOption = None,
    json: JsonOption = False,
) -> int:
    """Say whether you are logged in; exit code 79 if not.

    \b
    airtunnel status
    airtunnel status --expires-in 15m || airtunnel login

    With --expires-in a token that ends sooner is renewed, if it can be. Without it nothing but your own machine is asked.
    """
    from airtunnel.config.client import ClientConfig
    from airtunnel.config.values import parse_duration

    try:
        length = parse_duration(expires_in) if expires_in else None
    except ValueError as error:
        raise UsageError(str(error), hint="airtunnel status --expires-in 15m") from error
    here = find_context(ClientConfig.load(), context)
    tokens = await _tokens(here, length)
    if json:
        output.document(
            {
                "context": here.name,
                "gateway": here.gateway,
                "who": tokens.name,
                "issuer": tokens.issuer,
                "store": here.store,
                "token_expires_at": tokens.expires_at.isoformat(),
                "renews": tokens.refresh_token is not None,
                "bound": tokens.bound is not None,
            }
        )
    else:
        output.data(f"{output.clean(tokens.name)} at {here.gateway}: token {_phrase(tokens)}; kept in {STORES[here.store]}")
    return 0


async def _tokens(here: "Context", length: timedelta | None) -> "TokenSet":
    """The tokens of a login that can be used for `length`, or now. Raises LoginRequired."""
    from datetime import UTC, datetime

    from airtunnel.identity.store import open_store
    from airtunnel.identity.tokens import fresh_tokens, load_tokens

    hint = f"airtunnel login {here.name}"
    now = datetime.now(UTC)
    store = open_store(here.store)
    tokens = load_tokens(store, here.gateway, here.issuer, here.subject) if here.issuer else None
    if tokens is None:
        raise LoginRequired(f"nobody is logged in at {here.gateway}", hint=hint)
    wanted = now + (length or timedelta())
    if tokens.expires_at > wanted or (length is None and tokens.refresh_token):
        return tokens
    if tokens.refresh_token is None:
        raise LoginRequired(
            f"the login at {here.gateway} ends at {output.clock(tokens.expires_at)}, and is not renewed", hint=hint
        )
    published = (await reach(here)).published
    # Renewed a moment ago, a login is good for as long as the provider lets it be renewed: it does not say how long that is.
    leeway = length or timedelta()
    return await fresh_tokens(store, published, here.gateway, now=now, user=here.subject, leeway=leeway)


def _phrase(tokens: "TokenSet") -> str:
    from datetime import UTC, datetime

    tied = ", tied to a key of this machine" if tokens.bound else ""
    if tokens.expires_at <= datetime.now(UTC):
        return f"ended at {output.clock(tokens.expires_at)}; the next command renews it, if the provider still lets it{tied}"
    renewed = ", then renewed by itself" if tokens.refresh_token else ""
    return f"good until {output.clock(tokens.expires_at)}{renewed}{tied}"
