"""The gateway as a client of the target: logs in with the lease, and keeps what the client is to be told of it.

    gateway                                              target
    SSLRequest                                  ------>
                                                <------  'S', then TLS around all that follows; or 'N'
    StartupMessage     the lease's user         ------>
                                                <------  AuthenticationSASL         SCRAM-SHA-256[-PLUS]
    SASLInitialResponse, SASLResponse           ------>  (AuthenticationSASLContinue between them)
                                                <------  AuthenticationSASLFinal    the target knows the password, too
                                                <------  AuthenticationOk           from here on: LoggedIn.reply
                                                <------  ParameterStatus*, BackendKeyData, ReadyForQuery

In place of SASL: AuthenticationOk at once (trust), or AuthenticationCleartextPassword, answered only where nobody can
listen. At any point ErrorResponse; NoticeResponse as often as it likes, within MAX_MESSAGES.
Source: https://www.postgresql.org/docs/18/protocol-flow.html, sasl-authentication.html
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airtunnel.errors import CredentialUnavailable, ProtocolError, TargetRefused, Unreachable
from airtunnel.wire.flow import Flow, Recv, Send, Work
from airtunnel.wire.postgres.messages import clean_text, frame, parse_error, read_message
from airtunnel.wire.postgres.scram import MECHANISM, SASL, SASL_CONTINUE, SASL_FINAL
from airtunnel.wire.postgres.startup import SSL_REQUEST, CancelRequest, Startup, decode_key, encode_key, encode_startup

if TYPE_CHECKING:
    from scramp import ScramClient  # type: ignore[import-untyped]  # has no types

MAX_LOGIN = 1024 * 1024
"""Bytes of all that a target may say before it is ready."""
MAX_MESSAGES = 500
"""An honest login has about 25, and a notice for each login trigger that raises one."""
MAX_ROUNDS = 100_000
"""PBKDF2 rounds that we compute because a server says so: some 40 ms. PostgreSQL's default is 4,096, scramp's least as well."""

AUTHENTICATION_OK, CLEARTEXT = 0, 3
_METHODS = {2: "Kerberos V5", 5: "MD5", 7: "GSSAPI", 8: "GSSAPI", 9: "SSPI"}
_PLUS = MECHANISM + "-PLUS"


@dataclass(frozen=True, slots=True)
class LoggedIn:
    """An open session at the target.

    reply: AuthenticationOk to ReadyForQuery, byte for byte what the target sent
    key: what cancels this session's query at the target; None if the target gave no key
    """

    reply: bytes = field(repr=False)
    key: CancelRequest | None


def request_tls() -> Flow[bool]:
    """Whether the target agrees to TLS.

    The caller refuses to begin TLS if anything was received after the answer: those bytes came unencrypted, from whomever
    (CVE-2021-23214). Raises ProtocolError for another answer than S or N, Unreachable if the target is gone.
    """
    try:
        yield Send(struct.pack("!II", 8, SSL_REQUEST))
        answer = yield Recv(1)
    except ConnectionError as error:
        raise Unreachable("the database closed the connection when asked for TLS") from error
    if answer not in (b"S", b"N"):
        # An error's text is not read: before TLS anybody could have written it (CVE-2024-10977).
        raise ProtocolError(f"the database answered {answer!r} when asked for TLS: is that PostgreSQL?")
    return answer == b"S"


def log_in(
    startup: Startup, password: str, *, nonce: str, clear_allowed: bool, channel_binding: bytes | None = None
) -> Flow[LoggedIn]:
    """Logs in at the target, on a fresh connection or right after TLS.

    nonce: random, at least 18 bytes in base64, for this login only
    clear_allowed: the password itself may be sent, because TLS (verified) or a Unix socket protects it
    channel_binding: `end_point` of the target's certificate
    Raises TargetRefused for the target's own error, Unreachable if it is gone or wants what we do not do, ProtocolError if it
    makes no sense or does not know the password itself, CredentialUnavailable for a password that no server can have.
    """
    try:
        yield Send(encode_startup(startup))
        return (yield from _Login(password, nonce, clear_allowed, channel_binding).run())
    except ConnectionError as error:
        raise Unreachable("the database closed the connection during the login") from error


def end_point(certificate: bytes) -> bytes | None:
    """The channel binding `tls-server-end-point` (RFC 5929, section 4) of a certificate in DER: what `getpeercert(True)` gives.

    None where the certificate's signature names no hash (Ed25519): there is no such binding then.
    """
    from cryptography.x509 import load_der_x509_certificate

    algorithm = load_der_x509_certificate(certificate).signature_hash_algorithm
    if algorithm is None:
        return None
    name = "sha256" if algorithm.name in ("md5", "sha1") else algorithm.name
    return hashlib.new(name, certificate).digest()


def replace_key(logged_in: LoggedIn, key: CancelRequest) -> bytes:
    """The reply for the client, with our own pid and key (4 bytes: libpq takes no other under 3.0) in place of the target's."""
    return b"".join(frame(b"K", encode_key(key)) if one[:1] == b"K" else one for one in _split(logged_in.reply))


@dataclass(slots=True)
class _Login:
    """One login under way: counts what the target sends."""

    password: str = field(repr=False)
    nonce: str = field(repr=False)
    clear_allowed: bool
    channel_binding: bytes | None = field(repr=False)
    messages: int = 0
    received: int = 0

    def run(self) -> Flow[LoggedIn]:
        code, data = yield from self.request()
        if code == SASL:
            code = yield from self.prove(data)
        elif code == CLEARTEXT:
            code = yield from self.tell()
        elif code != AUTHENTICATION_OK:
            raise Unreachable(
                f"the database asks for authentication by {_METHODS.get(code, f'method {code}')}, which airtunnel does not do",
                hint="set password_encryption = 'scram-sha-256' in the database, set the password anew, use it in pg_hba.conf",
            )
        if code != AUTHENTICATION_OK:
            raise ProtocolError("the database goes on asking for authentication")
        return (yield from self.settle())

    def tell(self) -> Flow[int]:
        """Sends the password as it is. What the target asks for next."""
        if not self.clear_allowed:
            raise Unreachable(
                "the database asks for the password in clear text on a connection without TLS",
                hint="set `tls: true` for this target, or scram-sha-256 in the database's pg_hba.conf",
            )
        password = self.password.encode(errors="replace")
        if b"\0" in password:
            raise CredentialUnavailable("the credential's password holds a NUL")
        yield Send(frame(b"p", password + b"\0"))
        return (yield from self.request())[0]

    def prove(self, offered: bytes) -> Flow[int]:
        """SCRAM: neither side tells the password, both prove that they know it. What the target asks for next."""
        from scramp import ScramException  # 100 ms, and the gateway's alone: the client's end must not load it

        try:
            client = self.scram_client(offered.split(b"\0"))
            first: bytes = client.get_client_first().encode()
            yield Send(frame(b"p", client.mechanism_name.encode() + b"\0" + struct.pack("!I", len(first)) + first))
            client.set_server_first((yield from self.challenge(SASL_CONTINUE)))
            if int(client.iterations) > MAX_ROUNDS:
                raise ProtocolError(
                    f"the database wants {client.iterations} rounds of PBKDF2; at most {MAX_ROUNDS} are computed"
                )
            yield Send(frame(b"p", (yield Work(lambda: client.get_client_final().encode()))))
            client.set_server_final((yield from self.challenge(SASL_FINAL)))
        except ScramException as error:
            raise ProtocolError(f"the database fails at SCRAM: {clean_text(str(error))}") from error
        return (yield from self.request())[0]

    def scram_client(self, offered: list[bytes]) -> "ScramClient":
        from scramp import ScramClient, ScramException

        known = [name for name in (MECHANISM, _PLUS) if name.encode() in offered]
        if MECHANISM not in known:
            raise Unreachable("the database offers no authentication by SCRAM-SHA-256")
        binding = None if self.channel_binding is None else ("tls-server-end-point", self.channel_binding)
        try:
            # PostgreSQL takes the user from the StartupMessage and ignores this one; libpq leaves it empty, scramp cannot.
            return ScramClient(known, "*", self.password, channel_binding=binding, c_nonce=self.nonce)
        except ScramException as error:
            raise CredentialUnavailable("the credential's password holds characters that SASLprep forbids") from error

    def challenge(self, expected: int) -> Flow[str]:
        code, data = yield from self.request()
        if code != expected:
            # Above all: an AuthenticationOk before the target has proven that it knows the password.
            raise ProtocolError("the database leaves the SCRAM exchange before it is complete")
        return data.decode(errors="replace")

    def request(self) -> Flow[tuple[int, bytes]]:
        """Code and data of the target's next authentication message."""
        kind, body = yield from self.receive()
        while kind in (b"N", b"v"):  # a notice before we are in is for nobody; 3.0 is what we speak anyway
            kind, body = yield from self.receive()
        if kind != b"R" or len(body) < 4:
            raise ProtocolError(f"the database sent {kind!r} instead of an authentication message")
        return int.from_bytes(body[:4], "big"), body[4:]

    def settle(self) -> Flow[LoggedIn]:
        """From AuthenticationOk to ReadyForQuery."""
        reply = bytearray(frame(b"R", struct.pack("!I", AUTHENTICATION_OK)))
        key = None
        while True:
            kind, body = yield from self.receive()
            reply += frame(kind, body)
            if kind == b"Z" and body in (b"I", b"T", b"E"):
                return LoggedIn(bytes(reply), key)
            if kind == b"K" and key is None:
                key = decode_key(body)
            elif kind not in (b"S", b"N"):
                raise ProtocolError(f"the database sent {kind!r} before it was ready")

    def receive(self) -> Flow[tuple[bytes, bytes]]:
        """The target's next message, if it is no error."""
        self.messages += 1
        if self.messages > MAX_MESSAGES:
            raise ProtocolError(f"the database sent {MAX_MESSAGES} messages and was not ready")
        kind, body = yield from read_message("the database", MAX_LOGIN - self.received)
        self.received += len(body)
        if kind == b"E":
            raise _refusal(body)
        return kind, body


def _refusal(body: bytes) -> TargetRefused:
    """The target's ErrorResponse. Some servers send no SQLSTATE (CVE-2026-6666), and hostile ones an odd one."""
    fields = parse_error(body)
    state = fields.get("C", "")
    known = len(state) == 5 and state.isascii() and state.isalnum()
    return TargetRefused(clean_text(fields.get("M", "")) or "without a word", sqlstate=state.upper() if known else None)


def _split(data: bytes) -> Iterator[bytes]:
    """The messages in `data`, which holds whole ones."""
    start = 0
    while start < len(data):
        end = start + 1 + int.from_bytes(data[start + 1 : start + 5], "big")
        yield data[start:end]
        start = end
