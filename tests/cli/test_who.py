"""Who one is at the gateway, and for how long."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from airtunnel.identity.store import open_store
from airtunnel.identity.tokens import save_tokens
from tests.cli.terminal import Terminal
from tests.lab import Lab, Site


async def test_who_am_i_is_data_on_stdout(ana: Terminal, site: Site) -> None:
    ended = await ana.run("whoami")
    assert (ended.code, ended.err) == (0, "")
    said = dict(line.split(maxsplit=1) for line in ended.out.splitlines())
    assert (said["who"], said["groups"], said["gateway"]) == ("ana@example.com", "data-eng", site.address)
    ended = await ana.run("whoami", "--json")
    assert json.loads(ended.out)["who"] == "ana@example.com"
    assert json.loads(ended.out)["renews"] is True


async def kept_until(ana: Terminal, lab: Lab, site: Site, length: timedelta, refresh_token: str | None = None) -> None:
    """Ana's login, with a token that ends then."""
    tokens = replace(await lab.tokens("ana"), expires_at=datetime.now(UTC) + length, refresh_token=refresh_token)
    save_tokens(open_store("file", ana.state / "tokens"), site.published, site.address, tokens)


async def test_a_login_is_good_for_as_long_as_its_token_or_for_as_long_as_it_is_renewed(ana: Terminal) -> None:
    ended = await ana.run("status")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("ana@example.com at 127.0.0.1:")
    assert "then renewed by itself" in ended.out
    assert json.loads((await ana.run("status", "--json", "--expires-in", "1m")).out)["who"] == "ana@example.com"


async def test_what_ends_before_is_a_login_that_is_needed(ana: Terminal, lab: Lab, site: Site) -> None:
    await kept_until(ana, lab, site, timedelta(minutes=10))
    assert (await ana.run("status")).code == 0
    assert (await ana.run("status", "--expires-in", "5m")).code == 0
    ended = await ana.run("status", "--expires-in", "15m")
    assert (ended.code, ended.out) == (79, "")
    assert f"hint: airtunnel login {site.address}" in ended.err
    await kept_until(ana, lab, site, timedelta(seconds=-1))
    assert (await ana.run("status")).code == 79


async def test_a_login_that_is_not_renewed_any_more_is_needed_again(ana: Terminal, lab: Lab, site: Site) -> None:
    await kept_until(ana, lab, site, timedelta(minutes=1), "of nobody")
    assert (await ana.run("status")).code == 0
    ended = await ana.run("status", "--expires-in", "15m")
    assert (ended.code, "has ended" in ended.err) == (79, True)


async def test_who_never_logged_in_needs_a_login(terminal: Terminal) -> None:
    assert (await terminal.run("status")).code == 79
    assert (await terminal.run("status", "--expires-in", "15m")).code == 79


async def test_a_length_of_time_that_is_none_is_a_wrong_command_line(ana: Terminal) -> None:
    ended = await ana.run("status", "--expires-in", "soon")
    assert (ended.code, ended.err.splitlines()[-1]) == (2, "hint: airtunnel status --expires-in 15m")
