"""The client of the HTTPS API, against a gateway and against what is none."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airtunnel.errors import LoginRequired, ProtocolError, Refused, Temporary, Unreachable
from airtunnel.gateway.setup import create_certificate
from airtunnel.identity.answer import Answer
from airtunnel.identity.present import Presented
from airtunnel.identity.proof import ProofKey
from airtunnel.model import Tags
from airtunnel.tunnel.control import Control, _clock_of
from tests.gateway.bound import NONCE, bound_gateway, dpop_login, nonce_login
from tests.lab import Lab


async def test_a_grant_comes_with_a_key_that_was_made_here(lab: Lab) -> None:
    async with lab.gateway() as site:
        control, token = Control(site.address, site.ca), await (await site.account("ana")).present()
        one, two = [await control.grant(token, ("warehouse",), Tags()) for _ in range(2)]
        assert one.key != two.key
        assert one.reply.session != two.reply.session
        assert one.reply.who == "ana@example.com"
        assert "PRIVATE" not in repr(one)
        assert (await control.targets(token)).who == "ana@example.com"
        await control.log_out(token)


async def test_each_kind_of_no_is_an_error_of_its_own(lab: Lab) -> None:
    async with lab.gateway() as site:
        control, token = Control(site.address, site.ca), await (await site.account("ana")).present()
        with pytest.raises(Refused, match="payroll") as refused:
            await control.grant(token, ("payroll",), Tags())
        assert refused.value.rule == "payroll-is-for-finance"
        with pytest.raises(LoginRequired) as stranger:
            await control.targets(Presented("rubbish"))
        assert stranger.value.hint == f"airtunnel login {site.address}"
        assert stranger.value.details[0].startswith("request: ")
        with pytest.raises(ProtocolError, match="1 to 32 targets"):
            await control.grant(token, (), Tags())
        site.gateway.service.draining = True
        with pytest.raises(Temporary, match="shutting down"):
            await control.grant(token, ("warehouse",), Tags())


async def test_a_gateway_that_is_not_there_or_not_itself_is_unreachable(lab: Lab, tmp_path: Path) -> None:
    create_certificate(tmp_path, ("127.0.0.1",))
    async with lab.gateway() as site:
        for control in (
            Control("127.0.0.1:1", site.ca),
            Control(site.address, tmp_path / "ca.pem"),
            Control(site.address),
            Control(f"127.0.0.1:{site.published.ssh_port}", site.ca),
        ):
            with pytest.raises(Unreachable, match=r"does not answer|is not trusted") as failed:
                await control.targets(Presented("secret-token"))
            assert "secret-token" not in str(failed.value)


async def test_an_answer_of_something_else_is_not_taken_for_a_gateways(lab: Lab) -> None:
    async with lab.gateway() as site:
        with pytest.raises(Unreachable, match=r"answered (HTTP )?404, and not as an airtunnel gateway does"):
            await Control(site.address, site.ca)._call("GET", "/elsewhere", Presented("token"))


async def test_a_bound_login_is_shown_with_its_key_in_every_call(lab: Lab) -> None:
    async with bound_gateway(lab) as (site, provider):
        control, shown = Control(site.address, site.ca), dpop_login(provider, ProofKey.generate())
        assert (await control.grant(shown, ("warehouse",), Tags())).reply.who == "ana@example.com"
        assert (await control.targets(shown)).who == "ana@example.com"
        await control.log_out(shown)
        with pytest.raises(LoginRequired):
            await control.targets(Presented(shown.token))
        assert "as a bearer token" in site.records("token.rejected")[0]["detail"]


async def test_so_is_an_id_token_that_its_nonce_binds(lab: Lab) -> None:
    async with bound_gateway(lab, NONCE) as (site, provider):
        shown = nonce_login(provider, ProofKey.generate(), renewed=True)
        assert (await Control(site.address, site.ca).grant(shown, ("warehouse",), Tags())).reply.who == "ana@example.com"


@pytest.mark.parametrize("off", [timedelta(minutes=10), timedelta(minutes=-10), timedelta(days=-400)])
async def test_a_wrong_clock_here_costs_one_more_request_and_no_login(lab: Lab, off: timedelta) -> None:
    async with bound_gateway(lab) as (site, provider):
        control = Control(site.address, site.ca, clock=lambda: datetime.now(UTC) + off)
        await control.grant(dpop_login(provider, ProofKey.generate()), ("warehouse",), Tags())
        assert ["the proof was made" in one["detail"] for one in site.records("token.rejected")] == [True]


async def test_with_a_right_clock_a_refusal_is_not_tried_again(lab: Lab) -> None:
    async with bound_gateway(lab) as (site, provider):
        stolen = replace(dpop_login(provider, ProofKey.generate()), bound=dpop_login(provider, ProofKey.generate()).bound)
        with pytest.raises(LoginRequired):
            await Control(site.address, site.ca).targets(stolen)
        assert len(site.records("token.rejected")) == 1


@pytest.mark.parametrize(
    ("date", "known"),
    [
        ("Sat, 22 Nov 2025 12:00:04 GMT", True),
        ("Sat, 22 Nov 2025 11:00:00 GMT", True),
        ("Sat, 22 Nov 2025 12:00:03 GMT", False),
        ("Sat, 22 Nov 2025 12:00:04 -0000", False),
        ("Sat, 99 Nov 2025 12:00:04 GMT", False),
        ("yesterday", False),
        ("", False),
    ],
)
def test_the_gateways_clock_is_believed_where_it_says_something_else(date: str, known: bool) -> None:
    now = datetime(2025, 11, 22, 12, tzinfo=UTC)
    assert (_clock_of(Answer(401, {"date": date}), now) is not None) is known
