"""Where a workload's token comes from: the border that every kind of machine has a tenant behind."""

from datetime import timedelta
from typing import Protocol

from airtunnel.wire.control import Published, WorkloadIssuer

LIMIT = timedelta(seconds=5)
"""For one token, whatever that takes: a person who waits for CI has no patience, and these answers come from next door."""


class TokenSource(Protocol):
    """One way to a token. Holds no token longer than it must, and none in its repr."""

    @property
    def name(self) -> str:
        """What `--identity` calls it."""

    @property
    def where(self) -> str:
        """Where its tokens come from, for errors: a file's path, a variable's name, a server."""

    def wants(self, published: Published) -> tuple[WorkloadIssuer, ...]:
        """For whom to ask, best first: of what the gateway takes, what this source can give; nothing, if there is none."""

    def advice(self, audience: str) -> tuple[str, ...]:
        """The lines that somebody must write somewhere, so that this source gives tokens for `audience`."""

    async def token(self, wanted: WorkloadIssuer, published: Published) -> str:
        """A token: secret, and not yet checked. Raises an AirtunnelError that says what is missing, and where."""
