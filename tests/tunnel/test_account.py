"""A login in use."""

import pytest

from airtunnel.errors import LoginRequired
from airtunnel.identity.present import StoredLogin
from airtunnel.identity.store import MemoryStore
from airtunnel.model import Tags
from airtunnel.tunnel.account import Account
from tests.lab import Lab


async def test_an_account_lists_grants_and_links(lab: Lab) -> None:
    async with lab.gateway() as site:
        account = await site.account("fin")
        assert {one.name for one in (await account.catalog()).targets if one.refusal is None} == {"warehouse", "payroll"}
        link = await account.link(await account.grant(("payroll",), Tags()))
        assert not link.over.is_set()
        await link.close()
        token = (await account.present()).token
        assert token
        assert token not in repr(account)


async def test_without_a_login_every_call_asks_for_one(lab: Lab) -> None:
    async with lab.gateway() as site:
        nobody = Account(
            site.address, site.published, StoredLogin(MemoryStore(), site.address, site.directory / "client"), site.ca
        )
        with pytest.raises(LoginRequired):
            await nobody.present()
        with pytest.raises(LoginRequired):
            await nobody.catalog()
        with pytest.raises(LoginRequired):
            await nobody.grant(("warehouse",), Tags())
