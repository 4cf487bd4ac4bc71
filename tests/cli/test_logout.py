"""The end of a login: here, at the gateway, and at the provider."""

from dataclasses import replace
from datetime import timedelta

import pytest

from airtunnel.config.client import ClientConfig
from airtunnel.errors import LoginRequired
from airtunnel.identity.login.drive import refresh
from airtunnel.identity.store import open_store
from airtunnel.identity.tokens import load_tokens
from airtunnel.identity.tokenset import TokenSet
from tests.cli.terminal import Terminal
from tests.cli.test_login import log_in
from tests.cli.test_who import kept_until
from tests.lab import Lab, Site


async def test_logging_out_ends_the_login_everywhere(terminal: Terminal, site: Site) -> None:
    await log_in(terminal, site.address, "--ca", str(site.ca), "--store", "file")
    async with terminal.start("connect", "warehouse") as connected:
        await connected.heard("Ctrl-C")
        ended = await terminal.run("logout", "--json")
        assert ended.code == 0, ended.err
        assert ended.events == [
            {"v": 1, "event": "logged_out", "gateway": site.address, "context": site.address, "revoked": True}
        ]
        assert (await connected.end()).code == 80
    assert list((terminal.state / "tokens").iterdir()) == []
    assert (await terminal.run("targets")).code == 79


async def test_logging_out_works_here_where_the_gateway_is_away(terminal: Terminal, lab: Lab) -> None:
    async with lab.gateway() as site:
        terminal.log_in(site, await lab.tokens("ana"))
    ended = await terminal.run("logout")
    assert ended.code == 69
    assert f"Logged out of {site.address}. The gateway was not told" in ended.err
    assert list((terminal.state / "tokens").iterdir()) == []
    assert (await terminal.run("logout")).code == 79


async def test_logging_out_of_everything_says_so_where_there_is_nothing(terminal: Terminal) -> None:
    ended = await terminal.run("logout", "--all")
    assert (ended.code, ended.err) == (0, "You are not logged in anywhere.\n")


async def two_people(terminal: Terminal, site: Site, *contexts: str) -> list[TokenSet]:
    """Ana's and fin's logins at one gateway, each in the context of that name."""
    options, kept = ("--ca", str(site.ca), "--store", "file"), []
    for name, context in zip(("ana", "fin"), contexts, strict=True):
        assert (await log_in(terminal, site.address, *options, "--context", context, login=name)).code == 0
        tokens = load_tokens(open_store("file", terminal.state / "tokens"), site.address, site.published.issuer)
        assert tokens is not None
        assert tokens.subject == name
        kept.append(tokens)
    return kept


async def is_dead(site: Site, tokens: TokenSet) -> bool:
    """Whether the provider renews this login no more."""
    try:
        await refresh(site.published, tokens)
    except LoginRequired:
        return True
    return False


async def test_logging_out_of_one_context_leaves_the_other_person_logged_in(terminal: Terminal, site: Site) -> None:
    ana, fin = await two_people(terminal, site, "ana", "fin")
    ended = await terminal.run("logout", "--context", "ana", "--json")
    assert (ended.code, ended.events[0]["revoked"]) == (0, True), ended.err
    assert [await is_dead(site, one) for one in (ana, fin)] == [True, False]


@pytest.mark.parametrize(
    ("contexts", "words"),
    [
        pytest.param(("ana", "fin"), ("--all",), id="everywhere"),
        pytest.param(("work", "work"), (), id="one-after-the-other-in-one-context"),
    ],
)
async def test_logout_revokes_everybody_it_forgets(
    terminal: Terminal, site: Site, contexts: tuple[str, str], words: tuple[str, ...]
) -> None:
    people = await two_people(terminal, site, *contexts)
    ended = await terminal.run("logout", *words, "--json")
    assert ended.code == 0, ended.err
    assert {one["context"] for one in ended.events} == set(contexts)
    assert all(one["revoked"] for one in ended.events)
    assert list((terminal.state / "tokens").iterdir()) == []
    assert [await is_dead(site, one) for one in people] == [True, True]


async def test_logging_out_of_a_context_that_names_nobody_ends_every_login_there(terminal: Terminal, site: Site) -> None:
    people = await two_people(terminal, site, "work", "work")
    config = ClientConfig.load(terminal.config)
    config.put(replace(config.contexts["work"], subject=None))
    config.save()
    assert (await terminal.run("logout")).code == 0
    assert [await is_dead(site, one) for one in people] == [True, True]


async def test_a_login_that_had_ended_already_is_forgotten_without_complaint(ana: Terminal, lab: Lab, site: Site) -> None:
    await kept_until(ana, lab, site, timedelta(seconds=-1), "of nobody")
    ended = await ana.run("logout")
    assert ended.code == 0, ended.err
    assert "The login there had ended already" in ended.err
    assert "error:" not in ended.err
    assert (await ana.run("targets")).code == 79
