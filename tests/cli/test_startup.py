"""What a TAB and `--help` may load: a shell waits for them."""

import pytest

from tests.cli.terminal import AIRTUNNEL, Terminal

HEAVY = (
    "airtunnel.demo",
    "airtunnel.gateway",
    "airtunnel.identity",
    "airtunnel.tunnel",
    "asyncio",
    "asyncpg",
    "asyncssh",
    "authlib",
    "cryptography",
    "flask",
    "httpx2",
    "joserfc",
    "keyring",
    "psycopg",
    "pydantic",
    "rich",
    "scramp",
    "sqlalchemy",
    "ssl",
    "starlette",
    "uvicorn",
    "yaml",
)
TAB = {"_AIRTUNNEL_COMPLETE": "complete_bash", "COMP_WORDS": "airtunnel connect ", "COMP_CWORD": "2"}


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        ((), {}),
        (("--help",), {}),
        (("--version",), {}),
        (("connect", "--help"), {}),
        (("completion", "bash"), {}),
        (("targets",), {}),
        ((), TAB),
    ],
    ids=str,
)
async def test_what_needs_no_gateway_loads_nothing_heavy(
    terminal: Terminal, words: tuple[str, ...], variables: dict[str, str]
) -> None:
    terminal.variables |= variables
    program, *rest = AIRTUNNEL
    ended = await terminal.run(*words, program=(program, "-X", "importtime", *rest))
    loaded = {line.rpartition("|")[2].strip() for line in ended.err.splitlines() if line.startswith("import time:")}
    assert "airtunnel.cli.main" in loaded
    allowed = {"asyncio", "ssl"} if words == ("targets",) else set()  # it is a coroutine, and fails at the missing login
    found = {one for one in loaded if any(one == heavy or one.startswith(f"{heavy}.") for heavy in set(HEAVY) - allowed)}
    if words == ("targets",):
        assert ended.code == 79
        found -= {one for one in found if one.startswith("airtunnel.")}
    assert found == set()


async def test_without_a_terminal_and_a_login_it_fails_at_once_and_says_what_to_do(terminal: Terminal) -> None:
    for words in (("targets",), ("whoami",), ("connect", "warehouse"), ("logout",)):
        ended = await terminal.run(*words)
        assert (ended.code, ended.out) == (79, "")
        assert ended.err.startswith("error: not logged in to any gateway\n")
        assert ended.err.endswith("hint: airtunnel login HOST\n")
