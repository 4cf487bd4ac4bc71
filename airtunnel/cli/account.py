"""From what is written down of a login to an account that can be used."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from airtunnel.config.client import Context
    from airtunnel.tunnel.account import Account


async def open_account(name: str | None) -> "Account":
    """The account of the context called `name`, or the current one. Raises LoginRequired, Unreachable."""
    from airtunnel.config.client import ClientConfig

    return await reach(ClientConfig.load().context(name))


async def reach(context: "Context") -> "Account":
    """The account of a context, with what its gateway publishes now. Raises Unreachable."""
    from airtunnel.identity.present import StoredLogin
    from airtunnel.identity.published import fetch_published
    from airtunnel.identity.store import open_store
    from airtunnel.tunnel.account import Account

    published = await fetch_published(context.gateway, ca=trust(context))
    return Account(context.gateway, published, StoredLogin(open_store(context.store), context.gateway), trust(context))


def trust(context: "Context") -> "Path | None":
    """The file of CA certificates that vouches for the gateway; None for the system's."""
    from pathlib import Path

    return None if context.ca is None else Path(context.ca)
