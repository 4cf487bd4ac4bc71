"""Logging in, being somebody, logging out: through the provider's own pages."""

import asyncio
import signal
from pathlib import Path

import pytest

from airtunnel.cli.login import StoreKind, _destination, _others
from airtunnel.config.client import ClientConfig, Context
from airtunnel.demo.person import approve
from airtunnel.errors import LoginRequired, UsageError
from airtunnel.identity.store import MemoryStore
from airtunnel.identity.tokens import save_tokens
from tests.cli.terminal import Finished, Terminal
from tests.lab import Lab, Site


async def log_in(terminal: Terminal, *words: str, login: str = "ana", password: str = "", deny: bool = False) -> Finished:
    """`airtunnel login ... --json`, with a person at the page that it names."""
    async with terminal.start("login", "--json", *words) as running:
        event = await running.event("login_required")
        await asyncio.to_thread(approve, event["url_complete"], login, password or login, deny=deny)
        return await running.end()


async def test_a_person_logs_in_at_the_page_that_is_shown(terminal: Terminal, site: Site) -> None:
    ended = await log_in(terminal, site.address, "--ca", str(site.ca), "--store", "file")
    assert ended.code == 0, ended.err
    asked, done = ended.events
    assert (asked["event"], asked["gateway"], asked["host"]) == (
        "login_required",
        site.address,
        site.published.issuer.removeprefix("http://"),
    )
    assert asked["code"] in ended.err
    assert asked["url_complete"] in ended.err
    assert done == {
        "v": 1,
        "event": "logged_in",
        "gateway": site.address,
        "context": site.address,
        "who": "ana@example.com",
        "targets": ["warehouse"],
    }
    assert ended.err.splitlines()[-3:] == [
        f"You are ana@example.com at {site.address}, in data-eng.",
        "You may reach: warehouse",
        "Next: airtunnel connect warehouse",
    ]


async def test_a_later_login_needs_no_more_than_its_name(terminal: Terminal, site: Site) -> None:
    assert (await log_in(terminal, site.address, "--ca", str(site.ca), "--store", "file", "--context", "work")).code == 0
    for words in ((), (f"https://{site.address}/",)):
        ended = await log_in(terminal, *words)
        assert ended.code == 0, ended.err
        assert ended.events[-1]["context"] == "work"
    assert list(ClientConfig.load(terminal.config).contexts) == ["work"]


async def test_who_nobody_approves_is_told_so(terminal: Terminal, site: Site) -> None:
    words = ("login", site.address, "--ca", str(site.ca), "--store", "file", "--timeout", "5")
    ended = await terminal.run(*words)
    assert (ended.code, ended.out) == (79, "")
    assert ended.err.endswith(f"error: nobody approved the login within 5 s\nhint: airtunnel {' '.join(words)}\n")


async def test_who_is_denied_is_told_so(terminal: Terminal, site: Site) -> None:
    ended = await log_in(terminal, site.address, "--ca", str(site.ca), "--store", "file", deny=True)
    assert ended.code == 79
    assert "error: the login was refused at 127.0.0.1" in ended.err
    assert f"hint: airtunnel login --json {site.address} --ca" in ended.err
    assert ended.events[-1]["code"] == "login_failed"
    assert not (terminal.config / "config.toml").exists()


async def test_without_a_keyring_it_stops_before_the_page_and_says_what_else_there_is(terminal: Terminal, site: Site) -> None:
    ended = await terminal.run("login", site.address, "--ca", str(site.ca))
    assert (ended.code, ended.out) == (78, "")
    assert ended.err == (
        "error: this machine has no keyring to keep your login in\n"
        f"hint: airtunnel login {site.address} --ca {site.ca} --store file\n"
    )


async def test_a_gateway_with_a_ca_of_its_own_is_not_trusted_unasked(terminal: Terminal, site: Site) -> None:
    ended = await terminal.run("login", site.address, "--store", "file")
    assert ended.code == 69
    assert f"the certificate of {site.address} is not trusted" in ended.err
    assert ended.err.endswith(f"hint: airtunnel login {site.address} --store file --ca FILE\n")


async def test_a_name_that_is_no_gateway_is_a_wrong_command_line(terminal: Terminal) -> None:
    ended = await terminal.run("login", "http://example.com/x")
    assert (ended.code, ended.err.splitlines()[-1]) == (2, "hint: airtunnel login gateway.example.com")


async def test_an_interrupted_login_leaves_nothing(terminal: Terminal, site: Site) -> None:
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        async with terminal.start("login", site.address, "--ca", str(site.ca), "--store", "file") as running:
            await running.heard("Waiting")
            ended = await running.end(number)
        assert ended.code == code
        assert "Traceback" not in ended.err
    assert not terminal.config.exists()


async def test_a_login_that_the_provider_no_longer_renews_is_a_login_again(ana: Terminal, site: Site) -> None:
    for file in (ana.state / "tokens").iterdir():
        file.write_text("{}")
    ended = await ana.run("targets")
    assert ended.code == 79
    assert ended.err.startswith(f"error: nobody is logged in at {site.address}\n")
    assert ended.err.endswith(f"hint: airtunnel login {site.address}\n")


@pytest.mark.parametrize(
    ("typed", "gateway"),
    [
        ("Gateway.example.com", "gateway.example.com:443"),
        ("https://gateway.example.com/", "gateway.example.com:443"),
        ("gateway.example.com:8443", "gateway.example.com:8443"),
        ("[::1]", "[::1]:443"),
        ("[::1]:8443", "[::1]:8443"),
    ],
)
def test_what_is_kept_of_a_gateway_can_be_read_again(tmp_path: Path, typed: str, gateway: str) -> None:
    config = ClientConfig.load(tmp_path)
    there = _destination(config, typed, None, None, None)
    assert (there.gateway, there.store) == (gateway, "keyring")
    config.put(there)
    config.save()
    assert ClientConfig.load(tmp_path).context() == there


def test_what_is_said_now_counts_more_than_what_was_said_then(tmp_path: Path) -> None:
    config = ClientConfig(tmp_path / "config.toml")
    config.put(Context("work", "gateway.example.com:443", "/ca.pem", "file"))
    for typed in (None, "work", "gateway.example.com"):
        assert _destination(config, typed, None, None, None) == config.contexts["work"]
    again = _destination(config, "work", None, None, StoreKind.KEYRING)
    assert (again.ca, again.store) == ("/ca.pem", "keyring")
    other = _destination(config, "other.example.com", "work", None, None)
    assert (other.name, other.ca, other.store) == ("work", None, "keyring")


def test_a_login_without_a_name_needs_an_earlier_one(tmp_path: Path) -> None:
    config = ClientConfig(tmp_path / "config.toml")
    with pytest.raises(LoginRequired):
        _destination(config, None, None, None, None)
    with pytest.raises(UsageError):
        _destination(config, "a b", None, None, None)


async def test_who_waited_for_a_login_uses_it_for_the_same_context_only(
    lab: Lab, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRTUNNEL_CONFIG_DIR", str(tmp_path))
    store, tokens = MemoryStore(), await lab.tokens("ana")
    save_tokens(store, site.published, site.address, tokens)
    config = ClientConfig.load(tmp_path)
    config.put(Context("ana", site.address, subject=tokens.subject, issuer=tokens.issuer))
    config.save()
    waited = await _others(store, site.published, Context("ana", site.address))
    assert waited is not None
    assert waited.subject == "ana"
    assert await _others(store, site.published, Context("admin", site.address)) is None
