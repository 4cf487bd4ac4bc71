"""What runs, seen and ended: by who runs it, and by the operator of the gateway."""

import asyncio
import json
import time

import pytest

from airtunnel.model import Tags
from airtunnel.tunnel.tunnels import Tunnels
from tests.cli.terminal import Terminal
from tests.gateway.guests import told_end
from tests.lab import Lab, Site


async def test_my_sessions_are_listed_with_what_they_are_for(ana: Terminal, site: Site) -> None:
    tags = Tags(dag_id="billing", task_id="load", run_id="r1")
    nothing = await ana.run("sessions")
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "No session of yours runs.\n")
    async with Tunnels.open(await site.account("ana"), ["warehouse"], tags) as tunnels:
        await tunnels.test("warehouse")
        ended = await ana.run("sessions")
        assert (ended.code, ended.err) == (0, "")
        head, row = (line.split() for line in ended.out.splitlines())
        assert head == ["SESSION", "TARGETS", "SINCE", "ENDS", "CONNECTIONS", "BYTES", "FROM", "FOR"]
        assert row[:2] == [tunnels.reply.session, "warehouse"]
        assert row[-2:] == ["127.0.0.1", "billing/load/r1"]
        (one,) = json.loads((await ana.run("sessions", "--json")).out)["sessions"]
        assert (one["session"], one["who"], one["tags"]) == (tunnels.reply.session, "ana@example.com", tags.said())


async def test_a_killed_session_ends_what_is_connected_with_80_in_two_seconds(ana: Terminal, site: Site) -> None:
    async with ana.start("connect", "warehouse", "--json") as connected:
        ready = await connected.event("ready")
        killed = await ana.run("sessions", "kill", ready["session"])
        began = time.monotonic()
        assert (killed.code, killed.err) == (0, f"Killed {ready['session']}.\n")
        ended = await connected.end()
        assert time.monotonic() - began < 2
    assert ended.code == 80
    assert ended.events[-2]["reason"] == "revoked"


async def test_all_of_mine_are_killed_at_once(ana: Terminal, site: Site) -> None:
    async with Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels:
        await tunnels.test("warehouse")
        killed = await ana.run("sessions", "kill", "--all", "--json")
        assert json.loads(killed.out)["killed"] == [tunnels.reply.session]
        async with asyncio.timeout(20):
            while (await ana.run("sessions")).err != "No session of yours runs.\n":
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("words", [("kill",), ("kill", "--all", "x")])
async def test_kill_wants_to_know_which(terminal: Terminal, words: tuple[str, ...]) -> None:
    ended = await terminal.run("sessions", *words)
    assert ended.code == 2
    assert "hint: airtunnel sessions kill ID" in ended.err


async def test_what_is_not_there_or_not_for_me_is_told_with_its_exit_code(ana: Terminal) -> None:
    unknown = await ana.run("sessions", "kill", "0" * 26)
    assert (unknown.code, unknown.out) == (1, "")
    assert "there is no such session" in unknown.err
    others = await ana.run("sessions", "--all")
    assert (others.code, others.out) == (77, "")
    assert "for the gateway's admins" in others.err


async def test_an_operator_sees_and_kills_at_the_store_also_while_no_gateway_runs(terminal: Terminal, lab: Lab) -> None:
    config = str(lab.root / "site" / "gateway.yaml")
    async with lab.gateway() as site:
        async with Tunnels.open(await site.account("ana"), ["warehouse"], Tags(reason="month end")) as tunnels:
            await tunnels.test("warehouse")
            listed = await terminal.run("gateway", "sessions", "--config", config)
            assert listed.code == 0, listed.err
            for word in (tunnels.reply.session, "ana@example.com", "warehouse", "month end"):
                assert word in listed.out
            killed = await terminal.run("gateway", "sessions", "kill", tunnels.reply.session, "--config", config)
            assert killed.code == 0, killed.err
        unused = await (await site.account("ana")).grant(("warehouse",), Tags())
    again = await terminal.run("gateway", "sessions", "kill", unused.reply.session, "no-such", "--config", config)
    assert again.code == 1
    assert f"Killed {unused.reply.session}." in again.err
    assert (await terminal.run("gateway", "sessions", "--config", config)).err == "No session runs.\n"
    async with lab.gateway() as site:
        async with asyncio.timeout(10):
            while len(site.records("session.killed")) < 2:
                await asyncio.sleep(0.05)
        assert {one["sid"] for one in site.records("session.killed")} == {tunnels.reply.session, unused.reply.session}
        assert await told_end(await site.account("ana"), unused) == "the gateway ended the session: revoked"
