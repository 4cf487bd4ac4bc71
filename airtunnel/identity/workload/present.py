"""A workload's identity in use: a token for this gateway, checked before it is shown."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from airtunnel.errors import LoginFailed, LoginRequired, Unreachable
from airtunnel.identity.present import Presented
from airtunnel.identity.workload.accept import check_asked, check_published, check_token, taken
from airtunnel.identity.workload.source import LIMIT, TokenSource
from airtunnel.wire.control import Published


@dataclass(frozen=True, slots=True)
class WorkloadIdentity:
    """Who asks, where nobody logged in. An `identity.present.Identity`."""

    source: TokenSource = field(repr=False)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    limit: timedelta = LIMIT

    @property
    def name(self) -> str:
        """What `--identity` calls it: `token`, `github`, ..."""
        return self.source.name

    async def present(self, published: Published) -> Presented:
        """A token that was made for this gateway, and holds now.

        Raises LoginRequired if there is none, LoginFailed if it is not for this gateway, ConfigError for a file that cannot be
        used, Unreachable or Temporary if a server fails or all of it takes longer than `limit`, ProtocolError if the gateway
        publishes what cannot be used.
        """
        check_published(published)
        wanted = self.source.wants(published)
        if not wanted:
            kinds = [f"  {one.provider}: {one.issuer}" for one in taken(published)]
            raise LoginRequired(
                f"{published.name} takes no identity of the kind {self.name}",
                details=("it takes those of", *kinds[:5]),
                hint=f"in gateway.yaml, under providers: - {{provider: {self.name}, audiences: [...]}}",
            )
        failed: LoginFailed | None = None
        try:
            async with asyncio.timeout(self.limit.total_seconds()):
                # Issuers of one kind may want several audiences, and which of them makes our tokens is not known before.
                for one in wanted:
                    check_asked(one.audience, published)
                    token = await self.source.token(one, published)
                    try:
                        advice = self.source.advice(one.audience)
                        check_token(token, published, self.clock(), where=self.source.where, advice=advice)
                        return Presented(token)
                    except LoginFailed as error:
                        failed = failed or error
        except TimeoutError as error:
            raise Unreachable(f"{self.source.where} did not come within {self.limit.total_seconds():g} s") from error
        assert failed is not None
        raise failed
