"""The client of the HTTPS API, against a gateway and against what is none."""

from pathlib import Path

import pytest

from airtunnel.errors import LoginRequired, ProtocolError, Refused, Temporary, Unreachable
from airtunnel.gateway.setup import create_certificate
from airtunnel.identity.present import Presented
from airtunnel.model import Tags
from airtunnel.tunnel.control import Control
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
