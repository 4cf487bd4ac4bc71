"""The environment inside tunnels, as libpq and people read it."""

import asyncio
import json
import os
import shutil

import pytest

from airtunnel.model import Tags
from airtunnel.tunnel.tunnels import Tunnels
from airtunnel.tunnel.variables import variables
from tests.lab import POLICY, Lab

DASHED = POLICY.replace("warehouse:", "ware-house:").replace("[warehouse]", "[ware-house]")


@pytest.mark.skipif(shutil.which("psql") is None, reason="there is no psql")
async def test_psql_needs_nothing_but_the_environment(lab: Lab) -> None:
    async with lab.gateway(DASHED) as site, Tunnels.open(await site.account("ana"), ["ware-house"], Tags()) as tunnels:
        way = await tunnels.listen("ware-house")
        named = variables(tunnels)
        env = {"PATH": os.environ["PATH"], "PGSSLMODE": "require", **named}
        psql = await asyncio.create_subprocess_exec(
            "psql", "-X", "-Atc", "SELECT current_user", stdout=asyncio.subprocess.PIPE, env=env
        )
        assert (await psql.communicate())[0] == b"shop_rw\n"
    assert named["AIRTUNNEL_WARE_HOUSE_URL"] == named["DATABASE_URL"] == way.url
    assert named["AIRTUNNEL_WARE_HOUSE_PORT"] == str(way.port)
    assert json.loads(named["AIRTUNNEL_TARGETS"]) == [
        {"name": "ware-house", "host": "127.0.0.1", "port": way.port, "protocol": "postgres"}
    ]
    assert named["AIRTUNNEL_SESSION_ID"] == tunnels.reply.session
    assert way.password not in named["AIRTUNNEL_TARGETS"]
