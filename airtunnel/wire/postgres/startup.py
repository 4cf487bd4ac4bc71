"""The client's first packets: what it asks for, read with suspicion; and the same packets, written for the target.

    client                                          airtunnel
    SSLRequest, GSSENCRequest (once each)  -------->
                                           <--------  'N': no encryption here, the SSH channel around us has it
    StartupMessage user, database, options -------->
                                           <--------  NegotiateProtocolVersion, if it speaks 3.2 or uses _pq_.*
    or, alone on its connection: CancelRequest pid, key

These packets have no kind: int32 length (counting itself), int32 code, body.
Source: https://www.postgresql.org/docs/18/protocol-flow.html, protocol-message-formats.html
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from airtunnel.errors import ProtocolError
from airtunnel.wire.flow import Flow, Recv, Send
from airtunnel.wire.postgres.messages import Unsupported, frame

PROTOCOL = 3 << 16
CANCEL_REQUEST = 80877102
SSL_REQUEST = 80877103
GSSENC_REQUEST = 80877104
MIN_PACKET, MAX_PACKET = 8, 10_000
"""Bytes, the length field included. The server's own MAX_STARTUP_PACKET_LENGTH is 10,000."""

TLS_HANDSHAKE = 0x16
# Record type alert, TLS 1.2, 2 bytes: fatal, handshake_failure (RFC 8446, section 6).
TLS_ALERT = bytes.fromhex("15030300020228")


@dataclass(frozen=True, slots=True)
class Startup:
    """A StartupMessage: user, database, application_name, options and any setting that the session is to begin with."""

    parameters: Mapping[str, str]

    @property
    def user(self) -> str:
        return self.parameters["user"]

    @property
    def database(self) -> str:
        """The user's name where no database was asked for, as the server has it."""
        return self.parameters.get("database") or self.user


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """Who may cancel what: the pid and key of a BackendKeyData. `key` has 4 bytes under protocol 3.0, up to 256 under 3.2."""

    pid: int
    key: bytes = field(repr=False)


def read_startup() -> Flow[Startup | CancelRequest]:
    """What the client asks for, after its requests for encryption were answered with no.

    Raises ProtocolError for a packet that is not laid out as one, Unsupported for direct TLS, another major version and
    replication.
    """
    answered: set[int] = set()
    while True:
        code, body = yield from _read_packet()
        if code in (SSL_REQUEST, GSSENC_REQUEST):
            if body or code in answered:
                raise ProtocolError("the client asked for the same encryption twice, or in a packet with a tail")
            answered.add(code)
            yield Send(b"N")
        elif code == CANCEL_REQUEST:
            return decode_key(body)
        elif code >> 16 == PROTOCOL >> 16:
            startup, unknown = _parse_startup(body)
            if code != PROTOCOL or unknown:
                yield Send(_negotiate_version(unknown))
            return startup
        else:
            raise Unsupported(f"the client speaks protocol {code >> 16}.{code & 0xFFFF}; airtunnel speaks 3.0")


def encode_startup(startup: Startup) -> bytes:
    """The StartupMessage, protocol 3.0. Raises ProtocolError for a text that would not stay within its field."""
    texts = [text for parameter in startup.parameters.items() for text in parameter]
    if "" in texts[::2] or any("\0" in text for text in texts):
        raise ProtocolError("a startup parameter has no name or holds a NUL")
    try:
        return _packet(PROTOCOL, b"".join(text.encode() + b"\0" for text in texts) + b"\0")
    except UnicodeEncodeError as error:
        raise ProtocolError("a startup parameter holds text that is no UTF-8") from error


def encode_cancel(cancel: CancelRequest) -> bytes:
    """The CancelRequest: the only packet of its connection."""
    return _packet(CANCEL_REQUEST, encode_key(cancel))


def encode_key(cancel: CancelRequest) -> bytes:
    """Pid and key as they stand in a BackendKeyData and in a CancelRequest."""
    return struct.pack("!I", cancel.pid) + cancel.key


def decode_key(body: bytes) -> CancelRequest:
    """Pid and key out of the body of a BackendKeyData or a CancelRequest. Raises ProtocolError for a wrong length."""
    if not 8 <= len(body) <= 260:
        raise ProtocolError(f"a cancel key of {len(body) - 4} bytes; 4 to 256 are possible")
    return CancelRequest(int.from_bytes(body[:4], "big"), body[4:])


def _packet(code: int, body: bytes) -> bytes:
    return struct.pack("!II", len(body) + 8, code) + body


def _read_packet() -> Flow[tuple[int, bytes]]:
    """Code and body of the next packet that has no kind."""
    head = yield Recv(4)
    if head[0] == TLS_HANDSHAKE:
        yield Send(TLS_ALERT)
        raise Unsupported("the client began with TLS; airtunnel already encrypts", hint="psql 'sslnegotiation=postgres ...'")
    length = int.from_bytes(head, "big")
    if not MIN_PACKET <= length <= MAX_PACKET:
        raise ProtocolError(f"the client's first packet has {length} bytes: that is no PostgreSQL startup packet")
    packet = yield Recv(length - 4)
    return int.from_bytes(packet[:4], "big"), packet[4:]


def _parse_startup(body: bytes) -> tuple[Startup, list[str]]:
    """The parameters, and the names of the protocol options (`_pq_.*`) that we do not know: all of them."""
    parameters: dict[str, str] = {}
    texts = _parse_texts(body)
    for name, value in zip(texts[::2], texts[1::2], strict=True):
        if not name or name in parameters:
            raise ProtocolError(f"the client's startup parameter {name!r} is nameless or stands there twice")
        parameters[name] = value
    if not parameters.get("user"):
        raise ProtocolError("the client's startup packet names no user")
    if "replication" in parameters:
        raise Unsupported("replication does not go through airtunnel")
    unknown = [name for name in parameters if name.startswith("_pq_.")]
    return Startup({name: value for name, value in parameters.items() if name not in unknown}), unknown


def _parse_texts(body: bytes) -> list[str]:
    """The packet's texts, an even number of them; each ends in a NUL, and the packet in another."""
    if body == b"\0":
        return []
    if not body.endswith(b"\0\0"):
        raise ProtocolError("the client's startup packet does not end where it should")
    try:
        texts = [one.decode() for one in body[:-2].split(b"\0")]
    except UnicodeDecodeError as error:
        raise ProtocolError("the client's startup packet holds text that is no UTF-8") from error
    if len(texts) % 2:
        raise ProtocolError("the client's startup packet has a parameter without a value")
    if not all(one.isprintable() for one in texts):
        raise ProtocolError("the client's startup packet holds control characters")
    return texts


def _negotiate_version(unknown: list[str]) -> bytes:
    # The full version, not the minor one alone: with 0 libpq 18 sees a "downgrade to pre-3.0 protocol version".
    names = b"".join(name.encode() + b"\0" for name in unknown)
    return frame(b"v", struct.pack("!II", PROTOCOL, len(unknown)) + names)
