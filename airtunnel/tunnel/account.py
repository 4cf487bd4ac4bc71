"""A login at one gateway, in use: what the gateway publishes, a token that is fresh, and what both are good for."""

from dataclasses import dataclass, field
from pathlib import Path

from airtunnel.identity.present import Identity, Presented
from airtunnel.identity.published import fetch_published
from airtunnel.model import Tags
from airtunnel.tunnel.control import Control, Granted
from airtunnel.tunnel.link import Link, WrongHost, open_link
from airtunnel.wire.control import Catalog, Published


@dataclass(slots=True)
class Account:
    """Who we are at `gateway`. Every call may renew the token, and raises LoginRequired when that no longer works."""

    gateway: str
    published: Published
    identity: Identity = field(repr=False)
    ca: Path | None = None

    async def present(self) -> Presented:
        """What to show to the gateway. Secret."""
        return await self.identity.present(self.published)

    async def catalog(self) -> Catalog:
        """Who the gateway takes us for, and every target with the decision on it."""
        return await Control(self.gateway, self.ca).targets(await self.present())

    async def grant(self, targets: tuple[str, ...], tags: Tags) -> Granted:
        """A grant for all of `targets`. Raises Refused for the first that is not allowed."""
        return await Control(self.gateway, self.ca).grant(await self.present(), targets, tags)

    async def link(self, granted: Granted) -> Link:
        """The SSH connection that uses a grant."""
        try:
            return await open_link(self.published, granted)
        except WrongHost:
            # The gateway may have another CA by now than when this process asked. It is asked over HTTPS, as it was then.
            known = self.published.host_cas
            self.published = await fetch_published(self.gateway, ca=self.ca)
            if set(self.published.host_cas) <= set(known):
                raise
            return await open_link(self.published, granted)
