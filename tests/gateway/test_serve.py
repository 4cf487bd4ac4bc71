"""A gateway as a whole: its ports, and what it does when it cannot have them."""

import asyncio
import socket

import pytest

from airtunnel.config.gateway import load_gateway
from airtunnel.errors import AddressTaken, AuditUnavailable, ConfigError
from airtunnel.gateway.serve import Gateway
from airtunnel.model import Tags
from airtunnel.tunnel.tunnels import Tunnels
from tests.lab import CONFIG, Lab


@pytest.mark.parametrize("port", ["https", "ssh"])
async def test_a_port_that_is_taken_is_an_error_and_leaves_nothing_open(lab: Lab, port: str) -> None:
    directory = lab.write()
    with socket.create_server(("127.0.0.1", 0)) as holder:
        taken = f'{port}: "127.0.0.1:{holder.getsockname()[1]}"'
        text = CONFIG.format(issuer=lab.provider.issuer, extra="").replace(f'{port}: "127.0.0.1:0"', taken)
        (directory / "gateway.yaml").write_text(text)
        with pytest.raises(AddressTaken, match="cannot listen"):
            async with Gateway.open(load_gateway(directory / "gateway.yaml")):
                pass
    async with lab.gateway() as site:
        assert [one["event"] for one in site.records()][-1] == "gateway.started"


async def test_two_gateways_do_not_share_one_audit(lab: Lab) -> None:
    async with lab.gateway() as site:
        with pytest.raises(AuditUnavailable, match="in use by another gateway"):
            async with Gateway.open(site.gateway.service.config):
                pass


async def test_a_gateway_without_its_keys_does_not_start(lab: Lab) -> None:
    directory = lab.write()
    (directory / "authority" / "host_key").unlink()
    with pytest.raises(ConfigError, match="host_key"):
        async with Gateway.open(load_gateway(directory / "gateway.yaml")):
            pass


async def test_the_blocks_own_error_comes_out_as_it_was_raised(lab: Lab) -> None:
    with pytest.raises(LookupError, match="mine"):
        async with lab.gateway():
            raise LookupError("mine")


async def test_a_restarted_gateway_goes_on_with_its_audit_and_its_keys(lab: Lab) -> None:
    async with lab.gateway() as first:
        cas = first.published.host_cas
    async with lab.gateway() as second:
        assert second.published.host_cas == cas
        async with Tunnels.open(await second.account("ana"), ["warehouse"], Tags()) as tunnels:
            await tunnels.test("warehouse")
    assert [one["seq"] for one in second.records()] == list(range(len(second.records())))


async def test_what_the_gateway_serves_is_over_when_it_closes(lab: Lab) -> None:
    async with lab.gateway() as site:
        ports = (site.gateway.https_port, site.published.ssh_port)
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
