"""Tunnels that last as long as the command: real processes, a real gateway and psql."""

import asyncio
import json
import shutil
import signal
import socket
from pathlib import Path

import psycopg
import pytest

from airtunnel.cli.connect import _parse
from airtunnel.errors import UsageError
from airtunnel.tunnel.listen import Bind
from tests.cli.terminal import Terminal
from tests.lab import POLICY, Lab, Site

needs_psql = pytest.mark.skipif(shutil.which("psql") is None, reason="there is no psql")


def ask(url: str) -> tuple[int, ...] | None:
    """The answer of a database to `SELECT 1`."""
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT 1").fetchone()


@needs_psql
async def test_the_line_that_is_printed_works_when_it_is_pasted(ana: Terminal) -> None:
    async with ana.start("connect", "warehouse") as running:
        line = (await running.heard("PGPASSWORD=")).strip()
        script = f"{line} -AXtc 'SELECT current_user'"
        pasted = await ana.run(program=("bash", "-c", script))
        assert (pasted.code, pasted.out.strip()) == (0, "shop_rw"), pasted.err
        ended = await running.end(signal.SIGINT)
    assert (ended.code, ended.out) == (130, "")
    assert ended.err.endswith("Ctrl-C closes.\nClosed.\n")


@needs_psql
async def test_a_unix_socket_needs_no_password(ana: Terminal, tmp_path: Path) -> None:
    place = tmp_path / "pg"
    ana.variables["PGPORT"] = "1"  # a user's own must not lead elsewhere
    async with ana.start("connect", f"warehouse=unix:{place}") as running:
        line = (await running.heard("psql -h")).strip()
        pasted = await ana.run(program=("bash", "-c", f"{line} -AXtc 'SELECT 1'"))
        assert (pasted.code, pasted.out.strip()) == (0, "1"), pasted.err
        assert (place / ".s.PGSQL.5432").stat().st_mode & 0o777 == 0o600
        assert (await running.end(signal.SIGTERM)).code == 143
    assert list(place.iterdir()) == []


async def test_as_json_everything_a_program_needs_is_on_stdout(ana: Terminal, site: Site) -> None:
    async with ana.start("connect", "warehouse", "--json") as running:
        ready = await running.event("ready")
        [target] = ready["targets"]
        assert (target["name"], target["host"], target["database"]) == ("warehouse", "127.0.0.1", "shop")
        assert (ready["who"], ready["pid"]) == ("ana@example.com", running.process.pid)
        assert await asyncio.to_thread(ask, target["url"]) == (1,)
        closed = await running.event("connection_closed")
        assert closed["bytes_down"] > 0
        assert closed["error"] is None
        ended = await running.end(signal.SIGTERM)
    assert ended.code == 143
    assert [one["event"] for one in ended.events] == ["ready", "connection_closed", "ended"]
    assert ended.events[-1]["reason"] == "signal"
    assert target["password"] not in json.dumps(site.records())


async def test_a_port_that_is_taken_is_named_with_its_holder(ana: Terminal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        ended = await ana.run("connect", f"warehouse={port}")
    assert (ended.code, ended.out) == (73, "")
    assert ended.err.startswith(f"error: port {port} is in use by ")
    assert "(pid " in ended.err
    assert ended.err.endswith("hint: airtunnel connect warehouse=0 (any free port)\n")


async def test_a_target_that_is_refused_opens_nothing_of_all_that_were_asked(ana: Terminal) -> None:
    ended = await ana.run("connect", "warehouse", "payroll", "--json")
    assert ended.code == 77
    assert [(one["event"], one["code"], one["exit_code"]) for one in ended.events] == [("error", "refused", 77)]
    assert "error: ana@example.com may not reach payroll" in ended.err


async def test_the_end_of_the_session_is_never_a_success(terminal: Terminal, lab: Lab) -> None:
    async with lab.gateway(POLICY.replace("duration: 1h", "duration: 2s")) as site:
        terminal.log_in(site, await lab.tokens("ana"))
        ended = await terminal.run("connect", "warehouse", "--json")
    assert ended.code == 80
    assert [one["event"] for one in ended.events] == ["ready", "ended", "error"]
    assert ended.events[1]["reason"] == "expired"
    assert ended.err.endswith("error: the gateway ended the session: expired\nhint: airtunnel connect warehouse --json\n")


async def test_the_end_is_announced(terminal: Terminal, lab: Lab) -> None:
    async with lab.gateway(POLICY.replace("duration: 1h", "duration: 1m2s")) as site:
        terminal.log_in(site, await lab.tokens("ana"))
        async with terminal.start("connect", "warehouse", "--json") as running:
            ready = await running.event("ready")
            assert (await running.event("expiring"))["expires_at"] == ready["expires_at"]
            assert "This session ends in 60 s." in (await running.end(signal.SIGTERM)).err


async def test_without_a_test_nothing_logs_in_before_it_is_asked_to(ana: Terminal, site: Site) -> None:
    async with ana.start("connect", "warehouse", "--no-test", "--reason", "looking", "--ticket", "T-1") as running:
        await running.heard("Ctrl-C")
        assert site.records("lease.lent", "connection.opened") == []
        await running.end(signal.SIGTERM)
    [grant] = site.records("grant.issued")
    assert grant["tags"] == {"reason": "looking", "ticket": "T-1"}


async def test_a_signal_before_it_is_ready_ends_it_as_well(ana: Terminal) -> None:
    ana.variables["AIRTUNNEL_TOKEN"] = "shown to nobody, for nobody answers"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        (ana.config / "config.toml").write_text(
            f'current = "x"\n[contexts.x]\ngateway = "127.0.0.1:{silent.getsockname()[1]}"\nstore = "file"\n'
        )
        async with ana.start("connect", "warehouse") as running:
            accepted, _ = await asyncio.to_thread(silent.accept)
            with accepted:
                ended = await running.end(signal.SIGTERM)
    assert (ended.code, ended.err) == (143, "")


def test_where_a_target_is_to_be_is_part_of_its_name() -> None:
    assert _parse(["a", "b=15432", "c=unix:/x/y"]) == {"a": Bind(), "b": Bind(port=15432), "c": Bind(path=Path("/x/y"))}


@pytest.mark.parametrize("word", ["a=", "a=x", "a=65536", "a=-1", "a=unix:", "a=²"])
def test_what_is_no_place_is_refused_with_an_example(word: str) -> None:
    with pytest.raises(UsageError) as raised:
        _parse([word])
    assert raised.value.hint == "airtunnel connect a=15432"


def test_a_target_is_not_asked_for_twice() -> None:
    with pytest.raises(UsageError, match="twice"):
        _parse(["a=1", "a=2"])
