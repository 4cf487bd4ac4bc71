"""From what is typed, set and written down to an account that can be used."""

import json
from pathlib import Path

import pytest

from airtunnel.cli.account import find_context, gateway_address, reach, trust
from airtunnel.config.client import ClientConfig, Context
from airtunnel.errors import LoginRequired
from tests.cli.terminal import Terminal
from tests.lab import Lab, Site


async def test_a_context_becomes_an_account_at_its_gateway(site: Site) -> None:
    account = await reach(Context("x", site.address, str(site.ca), "memory"))
    assert (account.gateway, account.published, account.ca) == (site.address, site.published, site.ca)


def test_without_a_ca_the_systems_own_vouch() -> None:
    assert trust(Context("x", "a:1")) is None
    assert trust(Context("x", "a:1", "/ca.pem")) == Path("/ca.pem")


@pytest.mark.parametrize(
    ("typed", "address"),
    [
        ("a.example", "a.example:443"),
        ("https://A.example:8443/", "a.example:8443"),
        ("[::1]", "[::1]:443"),
        ("[::1]:1", "[::1]:1"),
    ],
)
def test_a_gateway_has_one_address_however_it_is_typed(typed: str, address: str) -> None:
    assert gateway_address(typed) == address


def test_the_environment_names_a_gateway_where_nobody_logged_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ClientConfig(tmp_path / "config.toml")
    config.put(Context("one", "one.example:443", None, "file"))
    config.put(Context("two", "two.example:443", None, "file"))
    monkeypatch.setenv("AIRTUNNEL_GATEWAY", "one.example")
    assert find_context(config, None) == config.contexts["one"]
    monkeypatch.setenv("AIRTUNNEL_GATEWAY", "three.example")
    monkeypatch.setenv("AIRTUNNEL_CA", "/ca.pem")
    assert find_context(config, None) == Context("three.example", "three.example:443", "/ca.pem", "memory")
    assert find_context(config, "two") == config.contexts["two"]
    with pytest.raises(LoginRequired):
        find_context(config, "three")


async def test_without_a_terminal_and_an_identity_it_fails_at_once_and_says_what_to_set(terminal: Terminal, site: Site) -> None:
    terminal.variables |= {"AIRTUNNEL_GATEWAY": "192.0.2.1"}  # nobody is there: it would wait, if it asked
    ended = await terminal.run("connect", "warehouse")
    assert ended.code == 79
    assert "looked for" in ended.err
    del terminal.variables["AIRTUNNEL_GATEWAY"]
    ended = await terminal.run("targets", "--json")
    assert (ended.code, json.loads(ended.out)["code"]) == (79, "login_required")
    assert "AIRTUNNEL_GATEWAY=" in ended.err


async def test_a_token_of_the_environment_is_used_or_the_command_fails(
    ana: Terminal, lab: Lab, site: Site, tmp_path: Path
) -> None:
    token = (await lab.tokens("fin")).access_token
    ana.variables["AIRTUNNEL_TOKEN"] = token
    assert json.loads((await ana.run("whoami", "--json")).out)["who"] == "fin@example.com"
    ana.variables["AIRTUNNEL_TOKEN"] = "rubbish"
    ended = await ana.run("whoami")
    assert ended.code == 79, ended.err
    assert "AIRTUNNEL_TOKEN" in ended.err
    assert "rubbish" not in ended.err
    del ana.variables["AIRTUNNEL_TOKEN"]
    file = tmp_path / "token"
    ana.variables["AIRTUNNEL_TOKEN_FILE"] = str(file)
    ended = await ana.run("whoami")
    assert (ended.code, str(file) in ended.err) == (79, True)
    file.write_text(f"{token}\n")
    assert json.loads((await ana.run("whoami", "--json")).out)["who"] == "fin@example.com"


async def test_a_machine_that_names_its_gateway_needs_no_login(terminal: Terminal, lab: Lab, site: Site) -> None:
    token = (await lab.tokens("ana")).access_token
    terminal.variables |= {"AIRTUNNEL_GATEWAY": site.address, "AIRTUNNEL_CA": str(site.ca), "AIRTUNNEL_TOKEN": token}
    ended = await terminal.run("exec", "warehouse", "--", "sh", "-c", "echo $PGUSER")
    assert ended.code == 0, ended.err
    assert not terminal.config.exists()


async def test_what_is_set_and_empty_is_nobodys_login(ana: Terminal) -> None:
    for name in ("AIRTUNNEL_IDENTITY", "AIRTUNNEL_TOKEN", "AIRTUNNEL_TOKEN_FILE"):
        ana.variables = {name: ""}
        ended = await ana.run("whoami")
        assert (ended.code, f"{name} is set, and empty" in ended.err) == (79, True), ended.err


async def test_a_token_without_a_gateway_says_how_to_name_one(terminal: Terminal) -> None:
    terminal.variables |= {"AIRTUNNEL_TOKEN": "x"}
    ended = await terminal.run("whoami")
    assert (ended.code, ended.err.splitlines()[-1]) == (79, "hint: export AIRTUNNEL_GATEWAY=gateway.example.com")
