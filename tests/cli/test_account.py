"""From what is written down to an account that can be used."""

from pathlib import Path

from airtunnel.cli.account import reach, trust
from airtunnel.config.client import Context
from tests.lab import Site


async def test_a_context_becomes_an_account_at_its_gateway(site: Site) -> None:
    account = await reach(Context("x", site.address, str(site.ca), "memory"))
    assert (account.gateway, account.published, account.ca) == (site.address, site.published, site.ca)


def test_without_a_ca_the_systems_own_vouch() -> None:
    assert trust(Context("x", "a:1")) is None
    assert trust(Context("x", "a:1", "/ca.pem")) == Path("/ca.pem")
