"""From what is written down of a login to an account that can be used."""

from pathlib import Path
from typing import TYPE_CHECKING

from airtunnel.config.client import ClientConfig, Context

if TYPE_CHECKING:
    from airtunnel.tunnel.account import Account


async def open_account(name: str | None) -> "Account":
    """The account of the context called `name`, or the current one. Raises LoginRequired, Unreachable."""
    from airtunnel.identity.published import fetch_published
    from airtunnel.identity.store import open_store
    from airtunnel.tunnel.account import Account

    context = ClientConfig.load().context(name)
    published = await fetch_published(context.gateway, ca=trust(context))
    return Account(context.gateway, published, open_store(context.store), trust(context))


def trust(context: Context) -> Path | None:
    """The file of CA certificates that vouches for the gateway; None for the system's."""
    return None if context.ca is None else Path(context.ca)
