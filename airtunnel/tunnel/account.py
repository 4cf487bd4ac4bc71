"""A login at one gateway, in use: what the gateway publishes, a token that is fresh, and what both are good for."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from airtunnel.identity.store import TokenStore
from airtunnel.identity.tokens import fresh_tokens, presented
from airtunnel.model import Tags
from airtunnel.tunnel.control import Control, Granted
from airtunnel.tunnel.link import Link, open_link
from airtunnel.wire.control import Catalog, Published


@dataclass(slots=True)
class Account:
    """Who we are at `gateway`. Every call may refresh the token, and raises LoginRequired when that no longer works."""

    gateway: str
    published: Published
    store: TokenStore = field(repr=False)
    ca: Path | None = None
    state: Path | None = None
    """Where locks are; None for the user's state directory."""

    async def token(self) -> str:
        """The token to present to the gateway. Secret."""
        tokens = await fresh_tokens(self.store, self.published, self.gateway, now=datetime.now(UTC), locks=self.state)
        return presented(tokens, self.published)

    async def catalog(self) -> Catalog:
        """Who the gateway takes us for, and every target with the decision on it."""
        return await Control(self.gateway, self.ca).targets(await self.token())

    async def grant(self, targets: tuple[str, ...], tags: Tags) -> Granted:
        """A grant for all of `targets`. Raises Refused for the first that is not allowed."""
        return await Control(self.gateway, self.ca).grant(await self.token(), targets, tags)

    async def link(self, granted: Granted) -> Link:
        """The SSH connection that uses a grant."""
        return await open_link(self.published, granted)
