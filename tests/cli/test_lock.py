"""Locks: set and lifted by admins through the API, and by operators at the store."""

import asyncio
import json
from pathlib import Path

import pytest

from airtunnel.model import Tags
from airtunnel.tunnel.tunnels import Tunnels
from tests.cli.terminal import Terminal
from tests.lab import Lab


@pytest.fixture
def other(tmp_path: Path) -> Terminal:
    """The terminal of somebody else."""
    home = tmp_path / "other"
    home.mkdir()
    return Terminal(home)


async def test_an_admin_locks_and_the_locked_are_told_why(terminal: Terminal, other: Terminal, lab: Lab) -> None:
    async with lab.gateway(extra="admins: {users: [fin@example.com]}") as site:
        terminal.log_in(site, await lab.tokens("ana"))
        other.log_in(site, await lab.tokens("fin"))
        async with Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels:
            await tunnels.test("warehouse")
            locked = await other.run("lock", "user", "ana@example.com", "--reason", "laptop stolen", "--for", "2h")
            assert (locked.code, locked.out) == (0, "")
            assert locked.err.startswith("Locked: user ana@example.com, until ")
            assert locked.err.endswith(" It ends 1 running session.\n")
            await asyncio.wait_for(tunnels.link.over.wait(), 10)
        refused = await terminal.run("connect", "warehouse")
        assert refused.code == 77
        assert "rule: lock (" in refused.err
        assert "laptop stolen" in refused.err
        assert (await terminal.run("unlock", "user", "ana@example.com")).code == 77
        (one,) = json.loads((await other.run("locks", "--json")).out)["locks"]
        assert (one["kind"], one["name"], one["by"]) == ("user", "ana@example.com", "fin@example.com")
        assert (await other.run("unlock", "user", "ana@example.com")).err == "Unlocked: user ana@example.com.\n"
        assert (await other.run("unlock", "user", "ana@example.com")).code == 1
        assert (await other.run("locks")).err == "Nothing is locked.\n"
        assert (await terminal.run("exec", "warehouse", "--", "true")).code == 0


async def test_an_operator_locks_at_the_store_also_while_no_gateway_runs(terminal: Terminal, lab: Lab) -> None:
    config = ("--config", str(lab.write() / "gateway.yaml"))
    locked = await terminal.run("gateway", "lock", "target", "warehouse", "--reason", "restore", *config, "--json")
    assert locked.code == 0, locked.err
    assert json.loads(locked.out)["lock"]["name"] == "warehouse"
    listed = await terminal.run("gateway", "locks", *config)
    assert [line.split()[:2] for line in listed.out.splitlines()][1] == ["target", "warehouse"]
    async with lab.gateway() as site:
        terminal.log_in(site, await lab.tokens("ana"))
        assert (await terminal.run("exec", "warehouse", "--", "true")).code != 0
        assert (await terminal.run("gateway", "unlock", "target", "Warehouse", *config)).code == 0
        assert (await terminal.run("exec", "warehouse", "--", "true")).code == 0
        async with asyncio.timeout(10):
            while len(site.records("lock.set", "lock.lifted")) < 2:
                await asyncio.sleep(0.05)
    assert (await terminal.run("gateway", "unlock", "target", "warehouse", *config)).code == 1


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("usr", "ana", "--reason", "x"), 1, "a lock is for a user, group, workload, target"),
        (("user", "ana", "--reason", "x", "--for", "soon"), 2, "--for: `soon` is not a length of time"),
        (("user", "ana", "--reason", "x", "--for", "9999d"), 1, "at most 366 days"),
        (("user", "ana"), 2, "--reason"),
    ],
)
async def test_what_is_no_lock_is_told_so(terminal: Terminal, lab: Lab, words: tuple[str, ...], code: int, said: str) -> None:
    ended = await terminal.run("gateway", "lock", *words, "--config", str(lab.write() / "gateway.yaml"))
    assert ended.code == code
    assert said in ended.err
