"""The gateway's log, against what clients put into it."""

import io
import logging
import sys

from airtunnel.cli.logs import OneLine
from tests.cli.terminal import Terminal

HOSTILE = "ana\n2026-01-01 00:00:00,000 INFO airtunnel: forged\r\x1b[2J\x9b\u2028\u202eend"


def written(*, error: Exception | None = None, message: str = "user %s") -> str:
    """What the log holds after one record with a hostile argument."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(OneLine("%(levelname)s %(name)s %(message)s"))
    info = None
    if error is not None:
        try:
            raise error
        except Exception:
            info = sys.exc_info()
    handler.handle(logging.LogRecord("test", logging.INFO, __file__, 1, message, (HOSTILE,), info, sinfo="a\n\x1bstack"))
    return stream.getvalue()


def test_control_characters_cannot_forge_a_line_nor_steer_a_terminal() -> None:
    first, *stack = written().splitlines()
    assert first == r"INFO test user ana\n2026-01-01 00:00:00,000 INFO airtunnel: forged\r\x1b[2J\x9b\u2028\u202eend"
    assert stack == ["    a", r"    \x1bstack"]


def test_neither_can_they_beside_a_traceback_nor_inside_of_it() -> None:
    lines = written(error=ValueError(HOSTILE)).split("\n")[:-1]
    assert lines[0].startswith("INFO test user ana\\n2026")
    assert all(line.startswith("    ") for line in lines[1:])
    assert all(line.isprintable() for line in lines)
    assert "    2026-01-01 00:00:00,000 INFO airtunnel: forged" in "\n".join(lines)


SCRIPT = """
import logging
from airtunnel.cli.logs import start_logging
start_logging(verbose={verbose})
for name in ("airtunnel.gateway", "asyncssh", "uvicorn"):
    for level in (logging.DEBUG, logging.INFO, logging.WARNING):
        logging.getLogger(name).log(level, "said")
"""


async def test_libraries_say_less_than_we_do_and_never_debug(terminal: Terminal) -> None:
    said = {}
    for verbose in (False, True):
        ended = await terminal.run(program=(sys.executable, "-c", SCRIPT.format(verbose=verbose)))
        assert ended.out == ""
        said[verbose] = [tuple(line.split()[2:4]) for line in ended.err.splitlines()]
    assert said[False] == [
        ("INFO", "airtunnel.gateway"),
        ("WARNING", "airtunnel.gateway"),
        ("WARNING", "asyncssh"),
        ("WARNING", "uvicorn"),
    ]
    assert [one for one in said[True] if one not in said[False]] == [
        ("DEBUG", "airtunnel.gateway"),
        ("INFO", "asyncssh"),
        ("INFO", "uvicorn"),
    ]
