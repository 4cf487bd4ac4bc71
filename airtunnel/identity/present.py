"""What is shown to a gateway to say who asks, and where it comes from: a login that was kept, or a workload's identity."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from airtunnel.identity.store import TokenStore
from airtunnel.identity.tokens import fresh_tokens, load_tokens
from airtunnel.identity.tokenset import Bound, TokenSet, presented
from airtunnel.wire.control import Published


@dataclass(frozen=True, slots=True)
class Presented:
    """A token, and the key that it is tied to, if it is."""

    token: str = field(repr=False)
    bound: Bound | None = None


class Identity(Protocol):
    """Who asks. `present` may renew or fetch a token, and raises an AirtunnelError that says what to do where it cannot."""

    @property
    def name(self) -> str:
        """Where it comes from, in words for a person."""

    async def present(self, published: Published) -> Presented: ...


@dataclass(frozen=True, slots=True)
class StoredLogin:
    """The person who logged in at `gateway` last. locks: the directory of lock files, by default the user's state directory."""

    store: TokenStore
    gateway: str
    locks: Path | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    @property
    def name(self) -> str:
        """As `airtunnel whoami` shows it."""
        return "your login"

    def kept(self, issuer: str) -> TokenSet | None:
        """The tokens as they lie in the store. Raises as the store does."""
        return load_tokens(self.store, self.gateway, issuer)

    async def present(self, published: Published) -> Presented:
        """A fresh token. Raises LoginRequired if nobody is logged in, or no longer; and as `fresh_tokens` does."""
        tokens = await fresh_tokens(self.store, published, self.gateway, now=self.clock(), locks=self.locks)
        return Presented(presented(tokens, published), tokens.bound)
