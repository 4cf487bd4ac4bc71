"""Commands that need a login ask the person at the terminal for it, once."""

import asyncio
import contextlib
import re

from airtunnel.cli.account import WITHOUT_A_PERSON
from airtunnel.config.client import ClientConfig, Context
from airtunnel.demo.person import approve
from tests.cli.terminal import Screen, Terminal, screen
from tests.lab import Site

QUIET = {"NO_COLOR": "1", "SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22", "COLUMNS": "120", "TERM": "xterm", "LANG": "C.UTF-8"}


def known(terminal: Terminal, site: Site) -> None:
    """A gateway that this person has used before, without a login that is left."""
    config = ClientConfig.load(terminal.config)
    config.put(Context("work", site.address, str(site.ca), "file"))
    config.save()
    terminal.variables |= QUIET


async def go_to_the_page(shown: Screen) -> None:
    text = await shown.shows("the page must show this one", "Waiting")
    address = re.search(r"^  (http://\S+)$", text, re.M)
    assert address is not None
    await asyncio.to_thread(approve, address.group(1), "ana", "ana")


async def test_a_command_without_a_login_asks_for_it_and_goes_on(terminal: Terminal, site: Site) -> None:
    known(terminal, site)
    with screen(terminal, "targets") as shown:
        await go_to_the_page(shown)
        assert await shown.end() == 0
    assert f"Nobody is logged in at {site.address}." in shown.text
    assert "warehouse" in shown.text
    assert "█" in shown.text
    assert (await terminal.run("whoami")).code == 0


async def test_ten_commands_without_a_login_make_one(terminal: Terminal, site: Site) -> None:
    known(terminal, site)
    with contextlib.ExitStack() as stack:
        shown = [stack.enter_context(screen(terminal, "targets")) for _ in range(10)]
        asked = [asyncio.ensure_future(one.shows("the page must show this one", "Waiting")) for one in shown]
        await asyncio.wait(asked, return_when=asyncio.FIRST_COMPLETED)
        first = next(screen for screen, task in zip(shown, asked, strict=True) if task.done())
        others = [one for one in shown if one is not first]
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        await asyncio.gather(*(one.shows("Another airtunnel is logging in") for one in others))
        await go_to_the_page(first)
        assert [await one.end() for one in shown] == [0] * 10
    assert ["the page must show this one" in one.text for one in shown].count(True) == 1
    assert all("warehouse" in one.text for one in shown)


async def test_at_a_gateway_that_only_the_environment_names_a_login_is_for_one_command(terminal: Terminal, site: Site) -> None:
    terminal.variables |= QUIET | {"AIRTUNNEL_GATEWAY": site.address, "AIRTUNNEL_CA": str(site.ca)}
    with screen(terminal, "targets") as shown:
        await go_to_the_page(shown)
        assert await shown.end() == 0
    assert "warehouse" in shown.text
    assert not terminal.config.exists()
    assert not (terminal.state / "tokens").exists()


async def test_without_a_terminal_nobody_is_asked(terminal: Terminal, site: Site) -> None:
    known(terminal, site)
    ended = await terminal.run("targets")
    assert (ended.code, ended.out) == (79, "")
    assert all(line in ended.err for line in WITHOUT_A_PERSON)


async def test_a_command_whose_output_is_piped_still_asks(terminal: Terminal, site: Site) -> None:
    """In `airtunnel targets | jq`, keyboard and stderr are the person's."""
    known(terminal, site)
    with screen(terminal, "targets", "--json") as shown:
        await go_to_the_page(shown)
        assert await shown.end() == 0
    assert shown.text.rstrip().splitlines()[-1].startswith('{"v": 1, "who": "ana@example.com"')
