import hashlib
import hmac
import struct
from base64 import b64decode, b64encode
from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airtunnel.errors import AirtunnelError, ProtocolError
from airtunnel.wire.postgres import Unsupported, Verifier, WrongPassword, check_password, format_verifier, make_verifier
from airtunnel.wire.postgres.messages import frame
from airtunnel.wire.postgres.scram import MAX_SASL

from .dialogue import Peer, play

# The example of RFC 7677, section 3.
SALT = b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
VERIFIER = make_verifier("pencil", SALT)
SERVER_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
FINAL = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
CHALLENGE = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"


def initial(message: bytes, mechanism: bytes = b"SCRAM-SHA-256") -> bytes:
    return frame(b"p", mechanism + b"\0" + struct.pack("!I", len(message)) + message)


def client(
    password: str, header: str = "n,,", user: str = "", nonce: str = "abc", binding: str | None = None, extra: str = ""
) -> Callable[[bytes], bytes]:
    """An honest client as libpq is one: what it answers to each of the server's messages."""

    def answer(sent: bytes) -> bytes:
        code, data = struct.unpack("!I", sent[5:9])[0], sent[9:].decode()
        if code == 10:
            return initial(f"{header}n={user},r={nonce}{extra}".encode())
        if code == 12:
            return b""
        fields = dict(part.split("=", 1) for part in data.split(","))
        salted = hashlib.pbkdf2_hmac("sha256", password.encode(), b64decode(fields["s"]), int(fields["i"]))
        key = hmac.digest(salted, b"Client Key", "sha256")
        bare = f"c={b64encode((binding or header).encode()).decode()},r={fields['r']}{extra}"
        said = f"n={user},r={nonce}{extra},{data},{bare}".encode()
        signature = hmac.digest(hashlib.sha256(key).digest(), said, "sha256")
        proof = b64encode(bytes(a ^ b for a, b in zip(key, signature, strict=True))).decode()
        return frame(b"p", f"{bare},p={proof}".encode())

    return answer


def test_the_exchange_of_the_rfc_is_spoken_byte_for_byte() -> None:
    peer = Peer(initial(FIRST) + frame(b"p", FINAL) + b"tail")
    peer.play(check_password(VERIFIER, SERVER_NONCE))
    assert peer.sent == [
        frame(b"R", b"\0\0\0\x0aSCRAM-SHA-256\0\0"),
        frame(b"R", b"\0\0\0\x0b" + CHALLENGE),
        frame(b"R", b"\0\0\0\x0cv=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="),
    ]
    assert peer.said == b"tail"


def test_the_verifier_has_the_form_of_pg_authid() -> None:
    stored_key, server_key = (b64encode(one).decode() for one in (VERIFIER.stored_key, VERIFIER.server_key))
    assert format_verifier(VERIFIER) == f"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==${stored_key}:{server_key}"


def test_a_verifiers_keys_stay_out_of_its_repr() -> None:
    assert "key" not in repr(VERIFIER)
    assert repr(VERIFIER) == repr(Verifier(4096, SALT, b"x", b"y"))


@pytest.mark.parametrize("password", ["", "é", "a\0", "a\nb", "\u00a0"])
def test_a_password_that_would_need_saslprep_or_is_empty_has_no_verifier(password: str) -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        make_verifier(password, SALT)


@pytest.mark.parametrize(
    "answer",
    [
        client("pencil"),
        client("pencil", header="y,,"),
        client("pencil", user="ana"),
        client("pencil", user="dmitri=2Cя"),
        client("pencil", extra=",x=future"),
    ],
)
def test_the_right_password_is_taken_from_every_honest_client(answer: Callable[[bytes], bytes]) -> None:
    peer = Peer(answer=answer)
    peer.play(check_password(VERIFIER, "xyz"))
    assert len(peer.sent) == 3


@pytest.mark.parametrize("password", ["Pencil", "pencil ", "", "pencilpencil"])
def test_a_wrong_password_ends_before_the_servers_signature(password: str) -> None:
    peer = Peer(answer=client(password))
    with pytest.raises(WrongPassword):
        peer.play(check_password(VERIFIER, "xyz"))
    assert len(peer.sent) == 2


def test_a_recorded_exchange_does_not_open_another() -> None:
    with pytest.raises(ProtocolError, match="nonce"):
        play(check_password(VERIFIER, "other"), initial(FIRST) + frame(b"p", FINAL))


@pytest.mark.parametrize("header", ["p=tls-server-end-point,,", "p=x,,"])
def test_channel_binding_is_refused_by_name(header: str) -> None:
    with pytest.raises(Unsupported, match="channel binding"):
        Peer(answer=client("pencil", header=header)).play(check_password(VERIFIER, "xyz"))


def test_the_plus_mechanism_is_refused_as_channel_binding() -> None:
    with pytest.raises(Unsupported, match="channel binding"):
        play(check_password(VERIFIER, "xyz"), initial(FIRST, b"SCRAM-SHA-256-PLUS"))


@pytest.mark.parametrize(("header", "binding"), [("n,,", "y,,"), ("y,,", "n,,"), ("n,,", "p=tls-unique,,"), ("n,,", " ")])
def test_what_was_said_of_channel_binding_is_not_taken_back(header: str, binding: str) -> None:
    with pytest.raises(ProtocolError, match="contradict"):
        Peer(answer=client("pencil", header, binding=binding)).play(check_password(VERIFIER, "xyz"))


@pytest.mark.parametrize(
    "said",
    [
        frame(b"Q", b"select 1\0"),
        frame(b"p", b""),
        frame(b"p", b"pencil\0"),
        frame(b"p", b"SCRAM-SHA-256\0"),
        frame(b"p", b"SCRAM-SHA-256\0\xff\xff\xff\xff"),
        frame(b"p", b"SCRAM-SHA-256\0\0\0\0\x05" + FIRST),
        frame(b"p", b"SCRAM-SHA-256\0\x7f\xff\xff\xff" + FIRST),
        initial(FIRST, b"SCRAM-SHA-1"),
        initial(FIRST, b""),
        initial(b""),
        initial(b"n,,"),
        initial(b"n,,n=,r="),
        initial(b"n,,r=abc"),
        initial(b"n,,m=x,n=,r=abc"),
        initial(b"n,a=admin,n=,r=abc"),
        initial(b"x,,n=,r=abc"),
        initial(b"n,,n=,r=a\x00c"),
        initial(b"n,,n=,r=a c"),
        initial(b"n,,n=,r=\xff"),
        initial(b"n,,n=,r=\xc3\xa4"),
        initial(b"n,,n=,r=abc,"),
        initial(FIRST) + frame(b"p", b""),
        initial(FIRST) + frame(b"p", FINAL[:-1]),
        initial(FIRST) + frame(b"p", FINAL + b"A"),
        initial(FIRST) + frame(b"p", FINAL + b",x=y"),
        initial(FIRST) + frame(b"p", FINAL.replace(b"c=biws,", b"")),
        initial(FIRST) + frame(b"p", FINAL[: FINAL.index(b",p=")]),
        initial(FIRST) + frame(b"p", FINAL[: FINAL.index(b"p=")] + b"p=QUJD"),
        b"Q" + initial(FIRST)[1:] + frame(b"p", FINAL),
        initial(FIRST) + frame(b"X", b""),
    ],
)
def test_a_message_out_of_form_is_a_protocol_error(said: bytes) -> None:
    with pytest.raises(ProtocolError):
        play(check_password(VERIFIER, SERVER_NONCE), said)


def test_a_nonce_without_end_is_refused_before_it_is_read() -> None:
    # CVE-2026-6665: a long nonce.
    peer = Peer(answer=client("pencil", nonce="r" * 65_000))
    with pytest.raises(ProtocolError, match="possible"):
        peer.play(check_password(VERIFIER, "xyz"))
    assert peer.asked <= MAX_SASL


def test_the_longest_nonce_that_is_read_does_not_break_the_exchange() -> None:
    Peer(answer=client("pencil", nonce="r" * 3_900)).play(check_password(VERIFIER, "xyz"))


def test_a_client_that_goes_in_the_middle_is_a_lost_connection() -> None:
    said = initial(FIRST) + frame(b"p", FINAL)
    for cut in range(len(said)):
        with pytest.raises(ConnectionError):
            play(check_password(VERIFIER, SERVER_NONCE), said[:cut])


def test_no_changed_byte_of_the_final_message_lets_anybody_in() -> None:
    for at in range(len(FINAL)):
        changed = FINAL[:at] + bytes([FINAL[at] ^ 1]) + FINAL[at + 1 :]
        with pytest.raises((ProtocolError, WrongPassword)):
            play(check_password(VERIFIER, SERVER_NONCE), initial(FIRST) + frame(b"p", changed))


@given(st.binary(max_size=120), st.binary(max_size=120))
def test_any_bytes_are_refused_as_ours(first: bytes, final: bytes) -> None:
    for said in (first, frame(b"p", first), initial(first), initial(FIRST) + frame(b"p", final)):
        with suppress(AirtunnelError, ConnectionError):
            play(check_password(VERIFIER, SERVER_NONCE), said)
            pytest.fail("let in")
