"""PostgreSQL's messages: how one is framed, and how an error is written and read.

After the startup packets every message is

    byte   kind       'R' authentication, 'E' error, 'Z' ready, 'p' password, ...
    int32  length     counts itself and the body, not the kind
    bytes  body

Source: https://www.postgresql.org/docs/18/protocol-message-formats.html, protocol-error-fields.html, errcodes-appendix.html
"""

import struct
from collections.abc import Mapping

from airtunnel.errors import (
    AirtunnelError,
    AuditUnavailable,
    Ended,
    ProtocolError,
    Refused,
    TargetRefused,
    Unreachable,
)
from airtunnel.wire.flow import Flow, Recv

TERMINATE = b"X\0\0\0\x04"
"""The client's goodbye. A client that went without it may have left a query running."""

# libpq takes no login error of 30,000 bytes or more; three such texts in UTF-8 stay below that.
MAX_TEXT = 2_000
"""Characters of one text in an error, and of what a server's error is cut to."""


class WrongPassword(AirtunnelError):
    """The client does not know the session's password."""

    code = "wrong_password"


class Unsupported(ProtocolError):
    """The client asks for something of PostgreSQL's that does not work through airtunnel, or may not."""

    code = "unsupported"


_SQLSTATES: tuple[tuple[type[AirtunnelError], str], ...] = (
    # A subclass stands above its base. 28000 is invalid_authorization_specification: drivers know not to retry it.
    (Refused, "28000"),
    (WrongPassword, "28P01"),
    (Unsupported, "0A000"),
    (ProtocolError, "08P01"),
    (Unreachable, "08001"),
    (AuditUnavailable, "57P03"),
    (Ended, "57P01"),
)


def frame(kind: bytes, body: bytes) -> bytes:
    """One message: kind, length, body."""
    return kind + struct.pack("!I", len(body) + 4) + body


def read_message(peer: str, limit: int) -> Flow[tuple[bytes, bytes]]:
    """The next message's kind and body.

    peer: who is at fault in an error ("the client"); limit: bytes of the largest body that is read.
    Raises ProtocolError before it asks for a body that is too large.
    """
    head = yield Recv(5)
    kind, length = head[:1], int.from_bytes(head[1:], "big")
    if not 4 <= length <= limit + 4:
        raise ProtocolError(f"{peer} sent a message of {length} bytes where 4 to {limit + 4} are possible")
    return kind, (yield Recv(length - 4))


def at_boundary(tail: bytes) -> bool:
    """Whether the last bytes that the server sent are a ReadyForQuery: an error of ours may follow and is understood."""
    return len(tail) >= 6 and tail[-6:-1] == b"Z\0\0\0\x05" and tail[-1:] in (b"I", b"T", b"E")


def error_response(error: AirtunnelError, severity: str = "FATAL") -> bytes:
    """An ErrorResponse that says `error` in PostgreSQL's own way: SQLSTATE, message, DETAIL, HINT."""
    message, details = _texts(error)
    fields = {"S": severity, "V": severity, "C": _sqlstate(error), "M": "airtunnel: " + clean_text(message)}
    if detail := "\n".join(clean_text(line) for line in details)[:MAX_TEXT]:
        fields["D"] = detail
    if error.hint:
        fields["H"] = clean_text(error.hint)
    # A lone surrogate (an undecodable argument, say) must not keep an error from being told.
    parts = [name.encode() + text.encode(errors="replace") + b"\0" for name, text in fields.items()]
    return frame(b"E", b"".join(parts) + b"\0")


def parse_error(body: bytes) -> Mapping[str, str]:
    """The fields of an ErrorResponse or NoticeResponse by their letter: S V C M D H ...; any of them may be absent.

    Texts that are no UTF-8 (the server does not know our encoding yet) hold replacement characters.
    Raises ProtocolError for a body without its terminators.
    """
    if body == b"\0":
        return {}
    parts = body[:-2].split(b"\0")
    if not body.endswith(b"\0\0") or b"" in parts:
        raise ProtocolError("the database sent an error that is not laid out as one")
    fields: dict[str, str] = {}
    for part in parts:
        fields.setdefault(part[:1].decode("latin-1"), part[1:].decode(errors="replace"))
    return fields


def clean_text(text: str) -> str:
    """`text` on one line of at most MAX_TEXT characters, without control characters: fit for a terminal, a log, a message."""
    return " ".join("".join(one if one.isprintable() else " " for one in text[: 2 * MAX_TEXT]).split())[:MAX_TEXT]


def _texts(error: AirtunnelError) -> tuple[str, tuple[str, ...]]:
    """Message and details of an error, as they stand in its ErrorResponse."""
    match error:
        case Refused():
            where = f" ({error.place})" if error.place else ""
            reasons = ": " + "; ".join(error.reasons) if error.reasons else ""
            # psycopg has no SQLSTATE and no DETAIL on a failed connect: what matters must stand in the message itself.
            request = f"; request {error.request}" if error.request else ""
            return f"{error.target} refused by rule {error.rule}{where}{reasons}{request}", (f"you are {error.who}",)
        case TargetRefused():
            return f"the database refused: {error.message}", error.details
        case Ended() if error.reason not in error.message:
            return f"{error.message} ({error.reason})", error.details
        case _:
            return error.message, error.details


def _sqlstate(error: AirtunnelError) -> str:
    if isinstance(error, TargetRefused) and error.sqlstate:
        return error.sqlstate
    return next((state for kind, state in _SQLSTATES if isinstance(error, kind)), "08006")
