import datetime as dt
import struct
from collections.abc import Callable

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from airtunnel.errors import AirtunnelError, CredentialUnavailable, ProtocolError, TargetRefused, Unreachable
from airtunnel.wire.flow import Flow, Recv, Send
from airtunnel.wire.postgres import (
    CancelRequest,
    LoggedIn,
    Startup,
    check_password,
    encode_startup,
    end_point,
    log_in,
    make_verifier,
    read_startup,
    replace_key,
    request_tls,
)
from airtunnel.wire.postgres.login import MAX_LOGIN, MAX_MESSAGES
from airtunnel.wire.postgres.messages import frame

from .dialogue import Peer, converse, play

LEASE = Startup({"user": "at_e_1", "database": "sales"})
PASSWORD = "hush-hush"
SALT = b"0123456789abcdef"


def auth(code: int, data: bytes = b"") -> bytes:
    return frame(b"R", struct.pack("!I", code) + data)


OK = auth(0)
STATUS = frame(b"S", b"server_version\x0016.14\0")
KEY = frame(b"K", b"\0\0\x10\x01abcd")
READY = frame(b"Z", b"I")
NOTICE = frame(b"N", b"SWARNING\0C01000\0Mmind the gap\0\0")
ERROR = frame(b"E", b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed\0\0")
REPLY = OK + STATUS + KEY + READY


def login(said: bytes, clear_allowed: bool = False) -> LoggedIn:
    return play(log_in(LEASE, PASSWORD, nonce="abc", clear_allowed=clear_allowed), said)


def server(password: str, reply: bytes = REPLY, iterations: int = 4096, before: bytes = b"") -> Flow[object]:
    """An honest target: our own server's side of SCRAM, which the RFC's example and libpq have tested."""
    assert (yield from read_startup()) == LEASE
    yield Send(before)
    yield from check_password(make_verifier(password, SALT, iterations), "xyz")
    yield Send(reply)
    return "let in"


def scripted(challenge: str, after: bytes = b"") -> Callable[[bytes], bytes]:
    """A target that answers the client's first message with `challenge`, whatever it is."""

    def answer(sent: bytes) -> bytes:
        if sent == encode_startup(LEASE):
            return auth(10, b"SCRAM-SHA-256\0\0")
        return auth(11, challenge.encode()) if b"SCRAM-SHA-256" in sent else after

    return answer


def test_a_login_without_password_hands_on_what_the_target_said() -> None:
    peer = Peer(NOTICE + REPLY + b"tail")
    got = peer.play(log_in(LEASE, PASSWORD, nonce="abc", clear_allowed=False))
    assert got == LoggedIn(REPLY, CancelRequest(0x1001, b"abcd"))
    assert (peer.sent, peer.said) == ([encode_startup(LEASE)], b"tail")


def test_a_notice_after_the_login_is_part_of_the_reply() -> None:
    assert login(OK + NOTICE + STATUS + READY) == LoggedIn(OK + NOTICE + STATUS + READY, None)


def test_scram_logs_in_and_both_sides_are_content() -> None:
    assert converse(log_in(LEASE, PASSWORD, nonce="abc", clear_allowed=False), server(PASSWORD, before=NOTICE)) == (
        LoggedIn(REPLY, CancelRequest(0x1001, b"abcd")),
        "let in",
    )


def test_the_password_is_never_sent_in_scram() -> None:
    peer = Peer(answer=scripted(f"r=abcxyz,s={'MDEyMzQ1Njc4OWFiY2RlZg=='},i=4096"))
    with pytest.raises(Unreachable, match="closed the connection"):
        peer.play(log_in(LEASE, PASSWORD, nonce="abc", clear_allowed=True))
    assert len(peer.sent) == 3
    assert PASSWORD.encode() not in b"".join(peer.sent)


def test_a_clear_password_is_sent_only_where_allowed() -> None:
    peer = Peer(auth(3) + REPLY)
    assert peer.play(log_in(LEASE, PASSWORD, nonce="abc", clear_allowed=True)).reply == REPLY
    assert peer.sent[1:] == [frame(b"p", b"hush-hush\0")]

    peer = Peer(auth(3) + REPLY)
    with pytest.raises(Unreachable, match="clear text"):
        peer.play(log_in(LEASE, PASSWORD, nonce="abc", clear_allowed=False))
    assert peer.sent[1:] == []


@pytest.mark.parametrize(("code", "name"), [(5, "MD5"), (7, "GSSAPI"), (9, "SSPI"), (2, "Kerberos"), (13, "method 13")])
def test_any_other_method_is_refused_by_name_and_nothing_is_sent(code: int, name: str) -> None:
    peer = Peer(auth(code, b"salt") + REPLY)
    with pytest.raises(Unreachable, match=name):
        peer.play(log_in(LEASE, PASSWORD, nonce="abc", clear_allowed=True))
    assert peer.sent[1:] == []


@pytest.mark.parametrize("offered", [b"", b"\0", b"SCRAM-SHA-1\0\0", b"OAUTHBEARER\0\0", b"SCRAM-SHA-256-PLUS\0\0"])
def test_a_target_without_scram_sha_256_is_refused(offered: bytes) -> None:
    with pytest.raises(Unreachable, match="SCRAM-SHA-256"):
        login(auth(10, offered))


def test_a_target_that_does_not_know_the_password_is_not_believed() -> None:
    # The signature is of the right length and form, and wrong.
    final = auth(12, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    peer = Peer(answer=scripted("r=abcxyz,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096", final + REPLY))
    with pytest.raises(ProtocolError, match="signature"):
        peer.play(log_in(LEASE, PASSWORD, nonce="abc", clear_allowed=True))


@pytest.mark.parametrize("after", [REPLY, auth(3) + REPLY, auth(11, b"r=a") + REPLY, STATUS])
def test_a_target_does_not_leave_scram_before_it_has_proven_itself(after: bytes) -> None:
    peer = Peer(answer=scripted("r=abcxyz,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096", after))
    with pytest.raises(ProtocolError):
        peer.play(log_in(LEASE, PASSWORD, nonce="abc", clear_allowed=True))
    assert PASSWORD.encode() not in b"".join(peer.sent)


def test_a_target_does_not_skip_the_challenge() -> None:
    with pytest.raises(ProtocolError, match="leaves the SCRAM exchange"):
        login(auth(10, b"SCRAM-SHA-256\0\0") + REPLY)


@pytest.mark.parametrize("rounds", ["1", "4095", "100001", "1000000000", "0", "-1", "x", "\u00b2", "9" * 5000, "04096", ""])
def test_rounds_too_few_and_too_many_are_refused_before_they_are_computed(rounds: str) -> None:
    peer = Peer(answer=scripted(f"r=abcxyz,s=MDEyMzQ1Njc4OWFiY2RlZg==,i={rounds}"))
    with pytest.raises(ProtocolError):
        peer.play(log_in(LEASE, PASSWORD, nonce="abc", clear_allowed=True))
    assert len(peer.sent) == 2


def test_a_hundred_thousand_rounds_are_computed() -> None:
    results = converse(log_in(LEASE, PASSWORD, nonce="abc", clear_allowed=False), server(PASSWORD, iterations=100_000))
    assert results[1] == "let in"


@pytest.mark.parametrize(
    "challenge",
    [
        "",
        "\0",
        "r=abcx",
        "r=abc,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096",
        "r=other,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096",
        "m=x,r=abcx,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096",
        "r=abcx,s=!,i=4096",
        "r=abcx,s=MDEy,i=4096",
        "e=other-error",
        "e=\u202e",
    ],
)
def test_a_challenge_out_of_form_is_a_protocol_error(challenge: str) -> None:
    with pytest.raises(ProtocolError, match="SCRAM"):
        Peer(answer=scripted(challenge)).play(log_in(LEASE, PASSWORD, nonce="abc", clear_allowed=True))


def test_a_refusal_keeps_the_targets_own_code_and_text() -> None:
    for said in (ERROR, OK + ERROR, auth(10, b"SCRAM-SHA-256\0\0") + ERROR, NOTICE + ERROR):
        with pytest.raises(TargetRefused) as caught:
            login(said)
        assert (caught.value.sqlstate, caught.value.message) == ("28P01", "password authentication failed")


@pytest.mark.parametrize(
    ("body", "sqlstate", "message"),
    [
        (b"Mno\0\0", None, "no"),  # CVE-2026-6666: an error without SQLSTATE.
        (b"\0", None, "without a word"),
        (b"C\0Mno\0\0", None, "no"),
        (b"C28P0\0Mno\0\0", None, "no"),
        (b"C28P01x\0Mno\0\0", None, "no"),
        ("C٣٣٣٣٣\0Mno\0\0".encode(), None, "no"),
        (b"C3d000\0Mno\0\0", "3D000", "no"),
        (b"C28000\0Mred\x1b[31m\r\nalert\0\0", "28000", "red [31m alert"),
        (b"M" + b"x" * 9_999 + b"\0\0", None, "x" * 2_000),
        (b"Mno \xff\0\0", None, "no \ufffd"),
    ],
)
def test_an_odd_refusal_is_still_one(body: bytes, sqlstate: str | None, message: str) -> None:
    with pytest.raises(TargetRefused) as caught:
        login(frame(b"E", body))
    assert (caught.value.sqlstate, caught.value.message) == (sqlstate, message)


@pytest.mark.parametrize("length", [0, 3, MAX_LOGIN + 5, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize("before", [b"", OK])
def test_a_length_beyond_the_limits_is_refused_before_it_is_read(before: bytes, length: int) -> None:
    peer = Peer(before + b"S" + length.to_bytes(4, "big") + b"x" * 64)
    with pytest.raises(ProtocolError, match="the database sent a message of"):
        peer.play(log_in(LEASE, PASSWORD, nonce="abc", clear_allowed=True))
    assert peer.asked == 5


@pytest.mark.parametrize("before", [b"", OK])
@pytest.mark.parametrize("endless", [NOTICE, frame(b"N", b"M" + b"x" * 500_000 + b"\0\0")])
def test_a_target_that_talks_without_end_is_left(before: bytes, endless: bytes) -> None:
    with pytest.raises(ProtocolError, match="the database sent"):
        login(before + endless * (MAX_MESSAGES if len(endless) < 99 else 3))


@pytest.mark.parametrize(
    "said",
    [
        READY,
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        frame(b"R", b""),
        frame(b"R", b"\0\0\0"),
        OK + OK,
        OK + frame(b"Z", b"X"),
        OK + frame(b"Z", b""),
        OK + KEY + KEY,
        OK + frame(b"K", b"\0\0\0\x01abc"),
        OK + frame(b"K", b"\0\0\0\x01" + b"k" * 257),
        OK + frame(b"T", b"\0\0"),
        auth(3) + auth(3),
        auth(3) + auth(5),
        frame(b"E", b""),
        frame(b"E", b"Mno"),
    ],
)
def test_a_target_out_of_order_is_a_protocol_error(said: bytes) -> None:
    with pytest.raises(ProtocolError):
        login(said, clear_allowed=True)


@pytest.mark.parametrize("said", [REPLY, auth(3) + REPLY, NOTICE + OK + NOTICE + KEY + READY])
def test_a_target_that_goes_in_the_middle_is_unreachable(said: bytes) -> None:
    for cut in range(len(said)):
        with pytest.raises(Unreachable, match="closed the connection during the login"):
            login(said[:cut], clear_allowed=True)


def test_a_target_that_talks_of_versions_is_heard_out() -> None:
    assert login(frame(b"v", struct.pack("!II", 0x30000, 0)) + REPLY).reply == REPLY


@pytest.mark.parametrize("password", ["a\0b", "a\x07b", "\ud800"])
def test_a_password_that_no_server_can_have_is_a_fault_of_the_credential(password: str) -> None:
    with pytest.raises(CredentialUnavailable) as caught:
        play(log_in(LEASE, password, nonce="abc", clear_allowed=True), auth(10, b"SCRAM-SHA-256\0\0"))
    assert password not in caught.value.message
    if "\0" in password:
        with pytest.raises(CredentialUnavailable):
            play(log_in(LEASE, password, nonce="abc", clear_allowed=True), auth(3))


@pytest.mark.parametrize("offered", [b"SCRAM-SHA-256\0\0", b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"])
def test_channel_binding_is_used_if_offered_and_a_stripped_offer_is_told(offered: bytes) -> None:
    peer = Peer(answer=lambda sent: auth(10, offered) if sent == encode_startup(LEASE) else b"")
    with pytest.raises(Unreachable):
        peer.play(log_in(LEASE, PASSWORD, nonce="abc", clear_allowed=False, channel_binding=b"hash"))
    # "y": I could, and you did not offer it. A server that did offer it knows then that somebody is in between.
    expected = (
        b"SCRAM-SHA-256-PLUS\0\0\0\0\x23p=tls-server-end-point,," if b"PLUS" in offered else b"SCRAM-SHA-256\0\0\0\0\x0dy,,"
    )
    assert peer.sent[1][5:].startswith(expected[: expected.index(b"\0") + 1])
    assert expected.split(b"\0")[-1][1:] in peer.sent[1]


@given(st.binary(max_size=120))
def test_any_bytes_are_a_refusal_of_ours(data: bytes) -> None:
    for said in (
        data,
        auth(10, data),
        OK + data,
        OK + frame(b"K", data),
        frame(b"E", data),
        auth(10, b"SCRAM-SHA-256\0\0") + data,
    ):
        with pytest.raises(AirtunnelError):
            login(said)


@given(st.text(max_size=80), st.text(max_size=80))
def test_any_text_in_scram_is_a_refusal_of_ours(challenge: str, final: str) -> None:
    for first in (challenge, "r=abcx" + challenge, "r=abcx,s=MDEyMzQ1Njc4OWFiY2RlZg==,i=4096"):
        peer = Peer(answer=scripted(first.encode(errors="replace").decode(), auth(12, final.encode(errors="replace")) + REPLY))
        with pytest.raises(AirtunnelError):
            peer.play(log_in(LEASE, PASSWORD, nonce="abc", clear_allowed=True))


def test_the_client_is_told_our_key_and_nothing_else_changes() -> None:
    got = login(OK + STATUS + NOTICE + KEY + STATUS + READY)
    told = replace_key(got, CancelRequest(0x7FFFFFFF, b"ours"))
    assert told == OK + STATUS + NOTICE + frame(b"K", b"\x7f\xff\xff\xffours") + STATUS + READY


def test_a_long_key_of_the_targets_becomes_a_short_one_of_ours() -> None:
    got = login(OK + frame(b"K", b"\0\0\0\x07" + b"k" * 32) + READY)
    assert got.key == CancelRequest(7, b"k" * 32)
    assert replace_key(got, CancelRequest(1, b"ours")) == OK + frame(b"K", b"\0\0\0\x01ours") + READY


def test_a_target_without_a_key_leaves_the_client_without_one() -> None:
    assert replace_key(login(OK + READY), CancelRequest(1, b"ours")) == OK + READY


def test_neither_key_nor_password_stands_in_a_repr() -> None:
    flow = log_in(LEASE, PASSWORD, nonce="abc", clear_allowed=True)
    assert PASSWORD not in repr(flow)
    assert "abcd" not in repr(login(REPLY))


@pytest.mark.parametrize(("answer", "agreed"), [(b"S", True), (b"N", False)])
def test_tls_is_agreed_on_with_one_byte(answer: bytes, agreed: bool) -> None:
    # CVE-2021-3935, CVE-2021-23214: what else came with that byte is not read here, so that the caller sees and refuses it.
    peer = Peer(answer + b"injected")
    assert peer.play(request_tls()) is agreed
    assert (peer.sent, peer.said) == ([b"\0\0\0\x08\x04\xd2\x16\x2f"], b"injected")


@pytest.mark.parametrize("answer", [b"E", b"H", b"\x15", b"\0"])
def test_any_other_answer_is_no_postgresql(answer: bytes) -> None:
    peer = Peer(answer + b"\0\0\0\x20Mcome closer\0\0")
    with pytest.raises(ProtocolError) as caught:
        peer.play(request_tls())
    assert "closer" not in caught.value.message


def test_a_target_that_goes_when_asked_for_tls_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        play(request_tls())


def certificate(
    key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, algorithm: hashes.SHA384 | None
) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "db")])
    start = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, start, start + dt.timedelta(days=1))
    return builder.sign(key, algorithm)


def test_the_end_point_is_the_certificates_hash_by_its_own_algorithm() -> None:
    signed = certificate(ec.generate_private_key(ec.SECP256R1()), hashes.SHA384())
    der = signed.public_bytes(Encoding.DER)
    assert end_point(der) == signed.fingerprint(hashes.SHA384())


def test_a_certificate_without_a_hash_has_no_end_point() -> None:
    signed = certificate(ed25519.Ed25519PrivateKey.generate(), None)
    assert end_point(signed.public_bytes(Encoding.DER)) is None


def test_a_flow_asks_before_it_is_told() -> None:
    flow = request_tls()
    assert isinstance(next(flow), Send)
    assert flow.send(b"") == Recv(1)
