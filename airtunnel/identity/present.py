"""What is shown to a gateway to say who asks, and where it comes from: a login that was kept, or a workload's identity."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from airtunnel.errors import LoginFailed, TokenRejected
from airtunnel.identity.answer import printable
from airtunnel.identity.compact import read_parts
from airtunnel.identity.powerful import is_powerful
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
    """A person who logged in at `gateway`: `user` (a subject), or whoever was the last.

    locks: the directory of lock files, by default the user's state directory
    """

    store: TokenStore
    gateway: str
    locks: Path | None = None
    user: str | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    @property
    def name(self) -> str:
        """As `airtunnel whoami` shows it."""
        return "your login"

    def kept(self, issuer: str) -> TokenSet | None:
        """The tokens as they lie in the store. Raises as the store does."""
        return load_tokens(self.store, self.gateway, issuer, self.user)

    async def present(self, published: Published) -> Presented:
        """A fresh token. Raises LoginRequired if they are not logged in, or no longer; LoginFailed if the token opens more
        than a gateway; and as `fresh_tokens` does.
        """
        now = self.clock()
        tokens = await fresh_tokens(self.store, published, self.gateway, now=now, user=self.user, locks=self.locks)
        token = presented(tokens, published)
        _check_power(token, published)
        return Presented(token, tokens.bound)


def _check_power(token: str, published: Published) -> None:
    """Raises LoginFailed if the token opens more than a gateway: what a login asks for is published by the gateway itself."""
    audiences = _audiences(token)
    if published.token == "access_token":  # noqa: S105 a kind, not a token
        # An access token need not be a JWT; then only what was asked for says what it is good for.
        audiences += [published.request.get("audience", ""), published.request.get("resource", ""), *published.scopes]
    if (found := next(filter(is_powerful, audiences), None)) is not None:
        raise LoginFailed(
            f"your token for {published.name} was made for {printable(found)[:120]}, which would open more than a gateway",
            details=("it was not sent; the gateway must have an audience of its own", "gateway.yaml: providers, audiences"),
        )


def _audiences(token: str) -> list[str]:
    try:
        aud = read_parts(token)[1].get("aud")
    except TokenRejected:
        return []
    return [one for one in (aud if isinstance(aud, list) else [aud]) if isinstance(one, str)]
