"""Whatever runs at once, a login survives a provider that ends it when a refresh token comes twice."""

from datetime import UTC, datetime
from pathlib import Path

from airtunnel.identity.tokenset import TokenSet
from tests.identity.provider import Provider, published_by
from tests.identity.racing import racing


def test_four_processes_that_refresh_at_once_for_fifty_rounds_refresh_once_a_round(provider: Provider, tmp_path: Path) -> None:
    provider.live.add("refresh-0")
    tokens = TokenSet("first", None, "refresh-0", datetime.now(UTC), "00u1", "ana@example.com", provider.issuer)
    with racing(tmp_path, published_by(provider.issuer), tokens, 4) as race:
        for number in range(1, 51):
            said = race()
            assert len(set(said)) == 1, said
            assert not said[0].startswith("error"), said
            assert (provider.asked["/token"], provider.reused) == (number, 0)
