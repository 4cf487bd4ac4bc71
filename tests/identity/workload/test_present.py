import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from airtunnel.errors import LoginFailed, LoginRequired, ProtocolError, Unreachable
from airtunnel.identity.present import Identity
from airtunnel.identity.workload.accept import by_provider
from airtunnel.identity.workload.present import WorkloadIdentity
from airtunnel.wire.control import Published, WorkloadIssuer

from .tokens import ACCOUNT, AUDIENCE, CLUSTER, gateway, made


@dataclass
class Sts:
    """A source whose issuer is settled, and whose audience is free: as a cloud's."""

    issuer: str
    asked: list[str] = field(default_factory=list)
    name: str = "aws"
    where: str = "the cloud's answer"

    def wants(self, published: Published) -> tuple[WorkloadIssuer, ...]:
        return by_provider(published, self.name)

    def advice(self, audience: str) -> tuple[str, ...]:
        return (f"advice for {audience}",)

    async def token(self, wanted: WorkloadIssuer, published: Published) -> str:
        self.asked.append(wanted.audience)
        return made(self.issuer, wanted.audience)


class Silent(Sts):
    async def token(self, wanted: WorkloadIssuer, published: Published) -> str:
        await asyncio.Event().wait()
        raise AssertionError


async def test_a_token_is_made_for_the_audience_that_the_gateway_publishes() -> None:
    source = Sts(ACCOUNT)
    identity: Identity = WorkloadIdentity(source)
    shown = await identity.present(gateway("kubernetes", "aws"))
    assert source.asked == [AUDIENCE]
    assert shown.token not in repr(shown)


async def test_of_several_issuers_of_a_kind_the_own_one_is_found() -> None:
    one, two, same = (
        WorkloadIssuer("https://one", "aws", "first"),
        WorkloadIssuer(ACCOUNT, "aws", "second"),
        WorkloadIssuer("https://two", "aws", "second"),
    )
    source = Sts(ACCOUNT)
    await WorkloadIdentity(source).present(replace(gateway(), workloads=(one, same, two)))
    assert source.asked == ["first", "second"]


async def test_if_none_fits_the_first_failure_is_told() -> None:
    published = replace(
        gateway(), workloads=(WorkloadIssuer("https://one", "aws", "1"), WorkloadIssuer("https://two", "aws", "2"))
    )
    with pytest.raises(LoginFailed, match=f"made by {ACCOUNT} for 1") as caught:
        await WorkloadIdentity(Sts(ACCOUNT)).present(published)
    assert caught.value.details[-1] == "advice for 1"


async def test_a_gateway_that_takes_no_such_workloads_is_not_shown_anything() -> None:
    source = Sts(ACCOUNT)
    with pytest.raises(LoginRequired, match=r"gateway\.example\.com takes no identity of the kind aws") as caught:
        await WorkloadIdentity(source).present(gateway("kubernetes"))
    assert source.asked == []
    assert f"  kubernetes: {CLUSTER}" in caught.value.details


async def test_a_gateway_that_asks_for_the_keys_to_a_cloud_is_not_shown_anything() -> None:
    source = Sts(ACCOUNT)
    published = replace(gateway(), workloads=(WorkloadIssuer(ACCOUNT, "aws", "sts.amazonaws.com"),))
    with pytest.raises(LoginFailed, match="asks for tokens made for sts"):
        await WorkloadIdentity(source).present(published)
    assert source.asked == []


async def test_a_gateway_whose_names_move_the_cursor_is_not_shown_anything() -> None:
    source = Sts(ACCOUNT)
    with pytest.raises(ProtocolError):
        await WorkloadIdentity(source).present(replace(gateway(), workloads=(WorkloadIssuer(ACCOUNT, "aws", "a\x1b[2J"),)))
    assert source.asked == []


@pytest.mark.timeout(5)
async def test_a_source_that_is_silent_has_a_limit() -> None:
    identity = WorkloadIdentity(Silent(ACCOUNT), limit=timedelta(milliseconds=20))
    with pytest.raises(Unreachable, match=r"the cloud's answer did not come within 0\.02 s"):
        await identity.present(gateway("aws"))


def test_its_name_is_that_of_the_option() -> None:
    assert WorkloadIdentity(Sts(ACCOUNT)).name == "aws"
