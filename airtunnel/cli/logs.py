"""The gateway's log: one line per thing that happened, on stderr, whatever a client put into it."""

import logging

QUIET = ("asyncssh", "httpx2", "uvicorn", "asyncio", "aiosqlite", "sqlalchemy")
"""Libraries that tell much of what nobody asked for."""


class OneLine(logging.Formatter):
    """Escapes control characters: a name that a client sent must not forge a line, nor steer a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        lines = super().format(record).split("\n") if record.exc_info else [super().format(record)]
        return "\n".join("".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in line) for line in lines)


def start_logging(*, verbose: bool) -> None:
    """Log to stderr from INFO on; the libraries from WARNING on, or INFO if `verbose`."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(name)s %(message)s"))
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.INFO if verbose else logging.WARNING)
