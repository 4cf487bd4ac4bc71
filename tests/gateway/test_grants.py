"""Grants as they are issued."""

from datetime import UTC, datetime, timedelta

import asyncssh
import pytest

from airtunnel.errors import ProtocolError, Refused, Temporary
from airtunnel.gateway.authority import read_grant
from airtunnel.gateway.grants import MAX_TARGETS, issue_grant, list_targets
from airtunnel.model import Tags
from airtunnel.wire.control import GrantRequest
from tests.gateway.grants import ANA, opened, public_line
from tests.lab import POLICY, Lab


def asked(*targets: str, tags: Tags | None = None) -> GrantRequest:
    return GrantRequest(targets, public_line(asyncssh.generate_private_key("ssh-ed25519")), tags or Tags())


def soon(**more: float) -> datetime:
    return datetime.now(UTC) + timedelta(**more)


async def test_a_grant_is_written_down_and_stands_in_its_certificate(lab: Lab) -> None:
    async with lab.gateway() as site:
        service, tags = site.gateway.service, Tags(dag_id="billing")
        reply = await issue_grant(service, ANA, asked("warehouse", tags=tags), until=soon(hours=1), source="10.0.0.1")
        grant = read_grant(opened(reply.certificate).options["force-command"], reply.session)
        assert (grant.principal, grant.targets, grant.tags) == (ANA, ("warehouse",), tags)
        assert (grant.valid_before, grant.ends_at) == (reply.valid_before, reply.ends_at)
        assert grant.ends_at - grant.issued_at == timedelta(hours=1)
        assert [one.grant for one in await service.store.running()] == [grant]
        (record,) = site.records("grant.issued")
        assert (record["sid"], record["target"], record["client_ip"]) == (grant.session, "warehouse", "10.0.0.1")


async def test_no_certificate_outlives_token_session_or_ttl(lab: Lab) -> None:
    async with lab.gateway(POLICY.replace("duration: 1h", "duration: 1m")) as site:
        for until, longest in ((soon(seconds=20), 20), (soon(hours=1), 60)):
            reply = await issue_grant(site.gateway.service, ANA, asked("warehouse"), until=until, source=None)
            assert reply.valid_before <= soon(seconds=longest)
            assert reply.valid_before <= reply.ends_at
    async with lab.gateway(extra="grants: {ttl: 7s}", name="second") as site:
        reply = await issue_grant(site.gateway.service, ANA, asked("warehouse"), until=soon(hours=1), source=None)
        assert reply.valid_before <= soon(seconds=7)


async def test_one_refused_target_refuses_all(lab: Lab) -> None:
    async with lab.gateway() as site:
        with pytest.raises(Refused, match="payroll"):
            await issue_grant(site.gateway.service, ANA, asked("warehouse", "payroll"), until=soon(hours=1), source=None)
        assert site.records("grant.issued") == []
        assert await site.gateway.service.store.running() == []


@pytest.mark.parametrize("names", [(), tuple(f"t{number}" for number in range(MAX_TARGETS + 1)), ("a\x00",), ("a" * 64,)])
async def test_requests_without_sense_are_not_decided(lab: Lab, names: tuple[str, ...]) -> None:
    async with lab.gateway() as site:
        with pytest.raises(ProtocolError):
            await issue_grant(site.gateway.service, ANA, asked(*names), until=soon(hours=1), source=None)
        assert site.records("refused") == []


async def test_a_draining_gateway_grants_nothing(lab: Lab) -> None:
    async with lab.gateway() as site:
        site.gateway.service.draining = True
        with pytest.raises(Temporary):
            await issue_grant(site.gateway.service, ANA, asked("warehouse"), until=soon(hours=1), source=None)


async def test_the_list_shows_every_target_with_its_reason_and_no_address(lab: Lab) -> None:
    async with lab.gateway() as site:
        catalog = await list_targets(site.gateway.service, ANA, None)
        shown = {one.name: one for one in catalog.targets}
        assert shown["warehouse"].refusal is None
        refusal = shown["payroll"].refusal
        assert refusal is not None
        assert refusal.rule == "payroll-is-for-finance"
        assert str(lab.database.socket).encode() not in catalog.encode()
