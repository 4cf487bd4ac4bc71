"""What of a client's startup packet the target is told: the lease's user, our name, and settings from an allow-list.

A client may set these by startup parameters (asyncpg, JDBC) or in `options` (libpq, PGOPTIONS); both pass the same list.
Anything else is refused by name rather than dropped: a session that silently lacks a setting is worse than none.
The list keeps the login itself clean; what a session may SET later is up to the rights of the lease's role.

Source: https://www.postgresql.org/docs/18/runtime-config-client.html; `options` is split as by pg_split_opts (postinit.c).
"""

import re

from airtunnel.wire.postgres.messages import Unsupported, clean_text
from airtunnel.wire.postgres.startup import Startup

ALLOWED = frozenset(
    {
        "bytea_output",
        "client_encoding",
        "client_min_messages",
        "datestyle",
        "default_transaction_deferrable",
        "default_transaction_isolation",
        "default_transaction_read_only",
        "extra_float_digits",
        "geqo",
        "idle_in_transaction_session_timeout",
        "idle_session_timeout",
        "intervalstyle",
        "jit",
        "lock_timeout",
        "search_path",
        "standard_conforming_strings",
        "statement_timeout",
        "timezone",
        "transaction_timeout",
    }
)
"""In lower case; the server does not tell cases apart. Never: role, session_authorization, replication."""

MAX_NAME = 63
"""Bytes of an application_name: the server cuts what is longer (NAMEDATALEN - 1), maybe within a character."""

_OURS = ("user", "database", "application_name", "options")


def rewrite_startup(startup: Startup, *, user: str, database: str | None, application_name: str) -> Startup:
    """The target's StartupMessage for a client's.

    user: the lease's; database: the target's fixed one, or None for what the client asks for
    Raises Unsupported that names a setting which is not on the list.
    """
    written = {
        "user": user,
        "database": startup.database if database is None else database,
        "application_name": clean_text(application_name).encode(errors="replace")[:MAX_NAME].decode(errors="ignore"),
    }
    for name, value in startup.parameters.items():
        if name not in _OURS:
            written[_allowed(name)] = value
    if options := _rewrite_options(startup.parameters.get("options", "")):
        written["options"] = options
    return Startup(written)


def _rewrite_options(options: str) -> str:
    """The same settings, each written as `-c name=value`: the server reads exactly what was checked."""
    # The server splits bytes by the isspace() of its locale. In Latin-1 the second byte of "à" is a space there, and
    # would begin a new, unchecked option.
    if not (options.isascii() and options.isprintable()):
        raise Unsupported("only printable ASCII may stand in the connection's options")
    words = (re.sub(r"\\(.)", r"\1", word) for word in re.findall(r"(?:\\.|[^ \\])+", options))
    written = []
    for word in words:
        setting = next(words, "") if word == "-c" else word[2:]
        name, equals, value = setting.partition("=")
        if word[:2] not in ("-c", "--") or not equals:
            raise Unsupported(f"the connection option {word!r} is not of the form -c name=value")
        escaped = re.sub(r"([ \\])", r"\\\1", value)
        written.append(f"-c {_allowed(name.replace('-', '_'))}={escaped}")
    return " ".join(written)


def _allowed(name: str) -> str:
    if name.isascii() and name.lower() in ALLOWED:
        return name
    raise Unsupported(
        f"the connection option {name!r} may not be set through airtunnel",
        hint="leave it out of the connection's parameters and PGOPTIONS; settings it needs go by SET after the login",
    )
