"""The SSH link: to whom it speaks, and what its end means."""

import asyncio
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from airtunnel.config.authority import AuthorityFiles
from airtunnel.errors import AirtunnelError, Ended, Temporary, Unreachable
from airtunnel.gateway.authority import create_keys, load_authority
from airtunnel.model import EndReason, Tags
from airtunnel.tunnel.link import ended, open_link
from tests.lab import Lab


async def test_a_host_that_the_gateways_authority_did_not_sign_is_not_spoken_to(lab: Lab, tmp_path: Path) -> None:
    create_keys(tmp_path / "other")
    other = load_authority(AuthorityFiles(tmp_path / "other"))
    async with lab.gateway() as site:
        granted = await (await site.account("ana")).grant(("warehouse",), Tags())
        for impostor in (
            replace(site.published, host_cas=other.host_cas),
            replace(site.published, host_cas=()),
            replace(site.published, ssh_host="localhost"),  # certified for 127.0.0.1
        ):
            with pytest.raises(AirtunnelError, match="is not the gateway that it should be") as refused:
                await open_link(impostor, granted)
            assert "do not go on" in str(refused.value.hint)
        assert len(site.gateway.sessions) == 0


async def test_a_gateway_whose_authorities_are_of_another_kind_is_spoken_to(lab: Lab) -> None:
    keys = lab.write() / "authority"
    for name in ("user_ca", "host_ca"):
        key = asyncssh.generate_private_key("ecdsa-sha2-nistp256")  # what a cloud's key service has
        (keys / name).write_bytes(key.export_private_key())
        (keys / f"{name}.pub").write_bytes(key.export_public_key())
    async with lab.gateway() as site:
        assert site.published.host_cas[0].startswith("ecdsa-sha2-nistp256 ")
        account = await site.account("ana")
        await (await account.link(await account.grant(("warehouse",), Tags()))).close()


async def test_a_gateway_that_is_not_there_is_unreachable(lab: Lab) -> None:
    async with lab.gateway() as site:
        granted = await (await site.account("ana")).grant(("warehouse",), Tags())
        with pytest.raises(Unreachable, match=r"127\.0\.0\.1:1 \(ssh\) does not answer"):
            await open_link(replace(site.published, ssh_port=1), granted)


async def test_a_link_knows_why_it_is_over(lab: Lab) -> None:
    async with lab.gateway() as site:
        account = await site.account("ana")
        link = await account.link(await account.grant(("warehouse",), Tags()))
        await site.gateway.sessions.end_where(lambda _: True, EndReason.POLICY_CHANGED)
        await asyncio.wait_for(link.over.wait(), 5)
        assert isinstance(link.error, Ended)
        assert link.error.reason == "policy_changed"
        with pytest.raises(Ended):
            await link.open_channel("warehouse")
        await link.close()


async def test_a_link_that_we_close_has_no_error(lab: Lab) -> None:
    async with lab.gateway() as site:
        account = await site.account("ana")
        link = await account.link(await account.grant(("warehouse",), Tags()))
        await link.close()
        assert link.over.is_set()
        assert link.error is None
        with pytest.raises(Unreachable, match="closed"):
            await link.open_channel("warehouse")


async def test_a_refusal_that_no_protocol_can_carry_comes_as_the_gateways_words(lab: Lab) -> None:
    async with lab.gateway() as site:
        account = await site.account("ana")
        link = await account.link(await account.grant(("warehouse",), Tags()))
        with pytest.raises(Temporary, match=r"^ana@example\.com may not reach nowhere; rule: default"):
            await link.open_channel("nowhere")
        await link.close()


@pytest.mark.parametrize("reason", [str(one) for one in EndReason])
def test_every_reason_of_the_gateways_is_understood(reason: str) -> None:
    error = ended(asyncssh.DisconnectError(7, f"airtunnel: session ended: {reason}"))
    assert isinstance(error, Ended)
    assert error.reason == reason


@pytest.mark.parametrize(
    "error",
    [
        asyncssh.ConnectionLost("Connection lost"),
        OSError("x"),
        ConnectionResetError(),
        asyncssh.DisconnectError(2, "airtunnel: session ended: \x1b"),
    ],
)
def test_any_other_end_is_a_broken_link(error: Exception) -> None:
    assert isinstance(ended(error), Unreachable)
