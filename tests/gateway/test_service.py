"""The policy is asked again at each channel, and each refusal stands in the audit once, before it is told."""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import asyncssh
import psycopg
import pytest

from airtunnel.errors import AuditUnavailable, Refused, Temporary
from airtunnel.model import Request, Tags
from airtunnel.policy.load import load_policy
from airtunnel.tunnel.stream import ChannelEnd
from airtunnel.tunnel.tunnels import Tunnels
from tests.gateway.grants import ANA, a_grant
from tests.gateway.guests import connect, granted, login_of
from tests.lab import POLICY, Lab, Site


def change(site: Site, policy: str) -> None:
    """Another policy holds from now on, for channels that open; running ones are reload.py's business."""
    address = f"unix:{site.lab.database.socket}"
    path = site.directory / "policy" / "policy.yaml"
    path.write_text(policy.format(address=address))
    site.gateway.service.policy = load_policy(path.parent)


async def test_what_the_grant_allowed_and_the_policy_no_longer_does_is_refused_natively(lab: Lab) -> None:
    async with lab.gateway() as site, Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels:
        way = await tunnels.listen("warehouse")
        await tunnels.test("warehouse")
        change(site, POLICY.replace("groups: [data-eng]", "groups: [on-call]"))
        with pytest.raises(
            psycopg.OperationalError, match=r"warehouse refused by rule engineers \(policy/policy\.yaml:\d+\)"
        ) as told:
            await psycopg.AsyncConnection.connect(way.url)
        (refusal,) = site.records("refused")
        assert refusal["id"] in str(told.value)
        assert refusal["sid"] == tunnels.reply.session
        assert refusal["policy"]["effect"] == "deny"
        with pytest.raises(psycopg.OperationalError, match="refused"):
            await psycopg.AsyncConnection.connect(way.url)
        assert len(site.records("refused")) == 2, "once for each try"


async def test_a_target_that_the_grant_does_not_name_is_refused_though_the_policy_allows_it(lab: Lab) -> None:
    async with lab.gateway() as site, Tunnels.open(await site.account("fin"), ["payroll"], Tags()) as tunnels:
        channel = await tunnels.link.open_channel("warehouse")
        channel.close()
        async with connect(site, **login_of(await granted(site, "fin", ("payroll",))), client_version="OpenSSH_9.9") as stock:
            with pytest.raises(
                asyncssh.ChannelOpenError, match=r"this session was granted for payroll only.*airtunnel connect warehouse"
            ):
                await stock.create_connection(ChannelEnd, "warehouse", 0)
        assert [one["policy"]["rule"] for one in site.records("refused")] == ["engineers", "engineers"]


async def test_a_refusal_is_written_down_before_it_is_raised(lab: Lab) -> None:
    async with lab.gateway() as site:
        with pytest.raises(Refused) as refused:
            await site.gateway.service.admit(Request(ANA, "payroll", Tags(ticket="T-1"), "10.0.0.1"), session="s1")
        (record,) = site.records("refused")
        assert (record["id"], record["sid"], record["client_ip"]) == (refused.value.request, "s1", "10.0.0.1")
        assert record["tags"] == {"ticket": "T-1"}
        assert record["user"]["sub"] == "ana"


async def test_a_revoked_grant_is_refused_before_the_policy_is_asked(lab: Lab) -> None:
    async with lab.gateway() as site:
        service, grant = site.gateway.service, a_grant()
        target, decision = await service.check_grant(grant, "warehouse", None, "c1")
        assert (target.name, decision.rule) == ("warehouse", "engineers")
        await service.store.revoke_session(grant.session, grant.ends_at)
        for name in ("warehouse", "nowhere"):
            with pytest.raises(Refused, match=r"^ana@example\.com may not reach") as refused:
                await service.check_grant(grant, name, None, "c1")
            assert refused.value.rule == "revoked"


async def test_a_revocation_holds_for_what_was_granted_before_and_not_after(lab: Lab) -> None:
    async with lab.gateway() as site:
        service, now = site.gateway.service, datetime.now(UTC)
        old, new = a_grant(now=now - timedelta(seconds=1)), a_grant(now=now + timedelta(seconds=1))
        await service.store.revoke_principal(ANA.issuer, ANA.subject, now)
        with pytest.raises(Refused):
            await service.check_grant(old, "warehouse", None, "c")
        await service.check_grant(new, "warehouse", None, "c")
        await service.check_grant(replace(old, principal=replace(ANA, subject="another")), "warehouse", None, "c")


async def test_what_cannot_be_recorded_does_not_start(lab: Lab) -> None:
    async with lab.gateway() as site:
        account = await site.account("ana")
        async with Tunnels.open(account, ["warehouse"], Tags()) as tunnels:
            way = await tunnels.listen("warehouse")
            before = _spoil(site)
            try:
                with pytest.raises(psycopg.OperationalError, match="the audit cannot be written"):
                    await psycopg.AsyncConnection.connect(way.url)
                with pytest.raises(asyncpg.PostgresError) as told:
                    await asyncpg.connect(
                        host=way.host, port=way.port, user="ana", password=way.password, database="shop", ssl=False, timeout=10
                    )
                assert told.value.sqlstate == "57P03"
                with pytest.raises(Temporary, match="the audit cannot be written"):
                    await account.grant(("warehouse",), Tags())
                with pytest.raises(AuditUnavailable):
                    await site.gateway.service.admit(Request(ANA, "payroll"))
                assert lab.roles() == []
            finally:
                _file(site).write_bytes(before)
            async with await psycopg.AsyncConnection.connect(way.url) as connection:
                await connection.execute("SELECT 1")
    assert [len(site.records(what)) for what in ("connection.opened", "connection.closed")] == [1, 1]


def _file(site: Site) -> Path:
    return site.directory / "audit" / "audit.jsonl"


def _spoil(site: Site) -> bytes:
    """Make every write to the audit fail: it does not go on in a file that somebody else has changed."""
    before = _file(site).read_bytes()
    os.truncate(_file(site), 0)
    return before


async def test_a_refused_channel_is_in_the_audit_with_its_session_and_its_connection(lab: Lab) -> None:
    async with lab.gateway() as site, Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels:
        channel = await tunnels.link.open_channel("payroll")
        channel.close()
        (refusal,) = site.records("refused")
        assert refusal["sid"] == tunnels.reply.session
        assert refusal["conn_id"]
