"""Two gateways with one state: what one is told holds at the other, and neither takes what the other has lent."""

import asyncio
import shutil

import psycopg
import pytest

from airtunnel.config.gateway import load_gateway
from airtunnel.gateway.serve import Gateway
from airtunnel.model import Tags
from airtunnel.tunnel.control import Control
from airtunnel.tunnel.tunnels import Tunnels
from tests.lab import POLICY, Lab, Site

LIMIT = 10.0


async def test_a_logout_at_one_gateway_ends_sessions_at_the_other(lab: Lab) -> None:
    state = f"state: {lab.root / 'shared.db'}"
    lab.write(extra=state, name="second")
    async with lab.gateway(extra=state) as site:
        # One CA for both, as in a fleet.
        shutil.copytree(site.directory / "authority", lab.root / "second" / "authority", dirs_exist_ok=True)
        config = load_gateway(lab.root / "second" / "gateway.yaml")
        async with (
            Gateway.open(config) as other,
            Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels,
        ):
            way = await tunnels.listen("warehouse")
            async with await psycopg.AsyncConnection.connect(way.url, autocommit=True) as connection:
                roles = lab.roles()
                # The other's janitor has made its first round by now, and more: what we have lent is still there.
                await other._leases.tend()
                assert lab.roles() == roles
                await connection.execute("SELECT 1")
                elsewhere = Site(lab, other, lab.root / "second")
                await Control(elsewhere.address, elsewhere.ca).log_out(await (await elsewhere.account("ana")).present())
                await asyncio.wait_for(tunnels.link.over.wait(), LIMIT)
                with pytest.raises(psycopg.errors.AdminShutdown, match="revoked"):
                    await connection.execute("SELECT 1")
    assert not lab.roles()


async def test_a_target_that_is_another_now_ends_the_sessions_that_have_the_old_one(lab: Lab) -> None:
    async with lab.gateway() as site, Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels:
        way = await tunnels.listen("warehouse")
        async with await psycopg.AsyncConnection.connect(way.url, autocommit=True) as connection:
            lab.write(POLICY.replace("role: shop_rw", "role: payroll_ro"))
            await asyncio.wait_for(tunnels.link.over.wait(), LIMIT)
            with pytest.raises(psycopg.errors.AdminShutdown, match="policy_changed"):
                await connection.execute("SELECT 1")


async def test_a_policy_whose_credential_lacks_an_option_does_not_hold(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    async with lab.gateway() as site:
        lab.write(POLICY.replace("admin_password_file: ../secrets/broker.password, ", "", 1))
        async with asyncio.timeout(LIMIT):
            while "the old one still holds" not in caplog.text:
                await asyncio.sleep(0.05)
        assert "needs the option admin_password_file" in caplog.text
        await (await site.account("ana")).grant(("warehouse",), Tags())
