"""Options that several commands share."""

from airtunnel.config.client import ClientConfig, Context
from tests.cli.terminal import Terminal


async def test_a_login_is_chosen_by_option_or_environment(terminal: Terminal) -> None:
    config = ClientConfig.load(terminal.config)
    config.put(Context("one", "127.0.0.1:1", None, "file"))
    config.put(Context("two", "127.0.0.1:2", None, "file"))
    config.save()
    assert "127.0.0.1:2\n" in (await terminal.run("targets")).err
    assert "127.0.0.1:1\n" in (await terminal.run("targets", "--context", "one")).err
    terminal.variables["AIRTUNNEL_CONTEXT"] = "one"
    assert "127.0.0.1:1\n" in (await terminal.run("targets")).err
    ended = await terminal.run("targets", "--context", "tow")
    assert ended.code == 79
    assert ended.err.startswith("error: there is no context tow; did you mean two?\n")
    assert ended.err.endswith("hint: airtunnel context\n")
