"""The end of a login: here, at the gateway, and at the provider."""

from tests.cli.terminal import Terminal
from tests.cli.test_login import log_in
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
