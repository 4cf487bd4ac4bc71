"""The server's side of SCRAM-SHA-256 towards a client: does it know the session's password?

    airtunnel                                                     client
    AuthenticationSASL          SCRAM-SHA-256             ------>
                                                          <------  SASLInitialResponse  n,,n=,r=<its nonce>
    AuthenticationSASLContinue  r=<both>,s=<salt>,i=4096  ------>
                                                          <------  SASLResponse         c=biws,r=<both>,p=<proof>
    AuthenticationSASLFinal     v=<signature>             ------>
    AuthenticationOk            comes later, from behind, when the target has let us in

Why not scramp, which speaks for us to the target: its server refuses libpq's empty user name.
Source: RFC 5802 (sections 3, 5, 7), RFC 7677; https://www.postgresql.org/docs/18/sasl-authentication.html
"""

import hashlib
import hmac
import re
import struct
from base64 import b64decode, b64encode
from dataclasses import dataclass, field

from airtunnel.errors import ProtocolError
from airtunnel.wire.flow import Flow, Send
from airtunnel.wire.postgres.messages import Unsupported, WrongPassword, frame, read_message

MECHANISM = "SCRAM-SHA-256"
SASL, SASL_CONTINUE, SASL_FINAL = 10, 11, 12
MAX_SASL = 4_096
"""Bytes of a SASL message. Honest ones have under 300; a nonce has no other limit in the RFC."""

_NONCE = r"[\x21-\x2b\x2d-\x7e]+"
_MORE = r"(?:,[A-Za-z]=[^,]*)*"
# gs2-header, then client-first-message-bare. An m= (mandatory extension) does not match, as the RFC wants.
_FIRST = re.compile(rf"(?P<header>[ny],,)(?P<bare>n=[^,]*,r=(?P<nonce>{_NONCE}){_MORE})")
_FINAL = re.compile(rf"(?P<bare>c=(?P<binding>[^,]*),r=(?P<nonce>{_NONCE}){_MORE}),p=(?P<proof>[A-Za-z0-9+/]{{43}}=)")


@dataclass(frozen=True, slots=True)
class Verifier:
    """What a server keeps instead of a password: it can check with it, but not log in."""

    iterations: int
    salt: bytes
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)


def make_verifier(password: str, salt: bytes, iterations: int = 4096) -> Verifier:
    """The verifier of a password that we generated: over a millisecond of work.

    salt: 16 random bytes. Raises ValueError for an empty password, or one that would need SASLprep: no printable ASCII.
    """
    if not (password and password.isascii() and password.isprintable()):
        raise ValueError("a generated password is printable ASCII")
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored_key = hashlib.sha256(_hmac(salted, b"Client Key")).digest()
    return Verifier(iterations, salt, stored_key, _hmac(salted, b"Server Key"))


def format_verifier(verifier: Verifier) -> str:
    """The verifier as CREATE ROLE ... PASSWORD and pg_authid have it: `SCRAM-SHA-256$4096:<salt>$<StoredKey>:<ServerKey>`."""
    salt, stored_key, server_key = (_base64(one) for one in (verifier.salt, verifier.stored_key, verifier.server_key))
    return f"{MECHANISM}${verifier.iterations}:{salt}${stored_key}:{server_key}"


def check_password(verifier: Verifier, nonce: str) -> Flow[None]:
    """The exchange up to and with AuthenticationSASLFinal, without AuthenticationOk.

    nonce: ours, random, at least 18 bytes in base64, for this exchange only
    Raises WrongPassword, Unsupported for channel binding, ProtocolError.
    """
    yield Send(_request(SASL, MECHANISM.encode() + b"\0\0"))
    first = _parse_first((yield from _read_response()))
    both = first["nonce"] + nonce
    challenge = f"r={both},s={_base64(verifier.salt)},i={verifier.iterations}"
    yield Send(_request(SASL_CONTINUE, challenge.encode()))
    final = _parse(_FINAL, (yield from _read_response()))
    # `c` repeats the gs2-header: nobody changed on the way what the client said of channel binding.
    if not hmac.compare_digest(final["binding"].encode(), b64encode(first["header"].encode())):
        raise ProtocolError("the client's SCRAM messages contradict each other on channel binding")
    if not hmac.compare_digest(final["nonce"], both):
        raise ProtocolError("the client's SCRAM answer has a nonce of another exchange")
    said = f"{first['bare']},{challenge},{final['bare']}".encode()
    proof = b64decode(final["proof"])
    client_key = bytes(a ^ b for a, b in zip(proof, _hmac(verifier.stored_key, said), strict=True))
    if not hmac.compare_digest(hashlib.sha256(client_key).digest(), verifier.stored_key):
        raise WrongPassword("wrong session password", hint="airtunnel connect")
    yield Send(_request(SASL_FINAL, f"v={_base64(_hmac(verifier.server_key, said))}".encode()))


def _read_response() -> Flow[bytes]:
    """The body of the client's next SASLInitialResponse or SASLResponse."""
    kind, body = yield from read_message("the client", MAX_SASL)
    if kind != b"p":
        raise ProtocolError(f"the client sent {kind!r} instead of its SCRAM message")
    return body


def _parse_first(body: bytes) -> re.Match[str]:
    """SASLInitialResponse: the mechanism's name and a NUL, int32 length, client-first-message."""
    mechanism, _, rest = body.partition(b"\0")
    text = rest[4:]
    if mechanism == b"SCRAM-SHA-256-PLUS" or text.startswith(b"p="):
        raise Unsupported(
            "channel binding cannot work through airtunnel, which ends the TLS of both sides",
            hint="psql 'channel_binding=prefer ...'",
        )
    if mechanism != MECHANISM.encode():
        raise ProtocolError("the client chose a mechanism that was not offered")
    if rest[:4] != struct.pack("!I", len(text)):
        raise ProtocolError("the client's SCRAM message does not have the length it says")
    return _parse(_FIRST, text)


def _parse(pattern: re.Pattern[str], body: bytes) -> re.Match[str]:
    try:
        found = pattern.fullmatch(body.decode())
    except UnicodeDecodeError as error:
        raise ProtocolError("the client's SCRAM message is no UTF-8") from error
    if found is None:
        raise ProtocolError("the client's SCRAM message does not have the form of RFC 5802")
    return found


def _request(code: int, body: bytes) -> bytes:
    return frame(b"R", struct.pack("!I", code) + body)


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _base64(data: bytes) -> str:
    return b64encode(data).decode()
