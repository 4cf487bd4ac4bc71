"""A change of the policy counts at once; a broken one changes nothing."""

import asyncio
from pathlib import Path

import psycopg
import pytest

from airtunnel.errors import Ended, Refused
from airtunnel.gateway.reload import stamp_policy
from airtunnel.model import Tags
from airtunnel.tunnel.tunnels import Tunnels
from tests.lab import POLICY, Lab, Site

LIMIT = 10.0
"""Seconds: a look a second, and a machine that may be busy."""


async def seen(site: Site, event: str) -> None:
    """Wait until the audit has such a record."""
    async with asyncio.timeout(LIMIT):
        while not site.records(event):
            await asyncio.sleep(0.05)


async def test_a_session_that_the_new_policy_would_not_grant_ends_and_says_so(lab: Lab) -> None:
    async with lab.gateway() as site:
        account = await site.account("ana")
        async with Tunnels.open(account, ["warehouse"], Tags()) as tunnels:
            way = await tunnels.listen("warehouse")
            connection = await asyncio.to_thread(lambda: psycopg.connect(way.url, autocommit=True))
            policy = POLICY.replace("groups: [data-eng]", "groups: [on-call]")
            lab.write(policy)
            await asyncio.wait_for(tunnels.link.over.wait(), LIMIT)
            with pytest.raises(psycopg.errors.AdminShutdown, match="policy_changed"):
                await asyncio.to_thread(connection.execute, "SELECT 1")
            connection.close()
            assert isinstance(tunnels.link.error, Ended)
            assert tunnels.link.error.reason == "policy_changed"
        with pytest.raises(Refused, match="warehouse") as refused:
            await account.grant(("warehouse",), Tags())
        assert refused.value.reasons == ("needs group on-call; you are in: data-eng",)
        assert [one["close_reason"] for one in site.records("session.closed")] == ["policy_changed"]


async def test_a_session_that_the_new_policy_still_grants_goes_on(lab: Lab) -> None:
    async with lab.gateway() as site, Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels:
        way = await tunnels.listen("warehouse")
        with await asyncio.to_thread(lambda: psycopg.connect(way.url, autocommit=True)) as connection:
            lab.write(POLICY.replace("name: engineers", "name: all-engineers"))
            await seen(site, "policy.reloaded")
            assert await asyncio.to_thread(lambda: connection.execute("SELECT 1").fetchone()) == (1,)


async def test_a_broken_policy_changes_nothing_and_is_told_by_line(lab: Lab, caplog: pytest.LogCaptureFixture) -> None:
    async with lab.gateway() as site:
        account = await site.account("ana")
        lab.write(POLICY + "    nonsense: true\n")
        async with asyncio.timeout(LIMIT):
            while "the old one still holds" not in caplog.text:
                await asyncio.sleep(0.05)
        assert "policy/policy.yaml:24:5" in caplog.text
        await account.grant(("warehouse",), Tags())
        assert not site.records("policy.reloaded")


def test_a_stamp_tells_changed_and_new_and_lost_files(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a")
    first = stamp_policy(tmp_path)
    (tmp_path / "b.yaml").write_text("b")
    second = stamp_policy(tmp_path)
    (tmp_path / "a.yaml").unlink()
    assert len({first, second, stamp_policy(tmp_path), stamp_policy(tmp_path / "a.yaml")}) == 4
