"""Options that several commands share."""

from airtunnel.config.client import ClientConfig, Context
from tests.cli.terminal import Terminal


async def test_a_login_is_chosen_by_option_or_environment(terminal: Terminal) -> None:
    config = ClientConfig.load(terminal.config)
    config.put(Context("one", "127.0.0.1:1", None, "file"))
    config.put(Context("two", "127.0.0.1:2", None, "file"))
    config.save()
    assert "127.0.0.1:2 " in (await terminal.run("targets")).err
    assert "127.0.0.1:1 " in (await terminal.run("targets", "--context", "one")).err
    terminal.variables["AIRTUNNEL_CONTEXT"] = "one"
    assert "127.0.0.1:1 " in (await terminal.run("targets")).err
    ended = await terminal.run("targets", "--context", "tow")
    assert (ended.code, ended.err) == (79, "error: not logged in to tow; did you mean two?\nhint: airtunnel login tow\n")
