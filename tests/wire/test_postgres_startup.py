import struct
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airtunnel.errors import AirtunnelError, ProtocolError
from airtunnel.wire.postgres import CancelRequest, Startup, Unsupported, encode_cancel, encode_startup, read_startup
from airtunnel.wire.postgres.startup import TLS_ALERT

from .dialogue import Peer, play

SSL = struct.pack("!II", 8, 80877103)
GSS = struct.pack("!II", 8, 80877104)
ANA = Startup({"user": "ana", "database": "sales", "application_name": "psql", "client_encoding": "UTF8"})


def packet(body: bytes, code: int = 0x30000) -> bytes:
    return struct.pack("!II", len(body) + 8, code) + body


def test_a_startup_is_read_and_what_follows_is_not() -> None:
    peer = Peer(encode_startup(ANA) + b"tail")
    assert peer.play(read_startup()) == ANA
    assert (peer.said, peer.sent) == (b"tail", [])


@pytest.mark.parametrize("requests", [[SSL], [GSS], [SSL, GSS], [GSS, SSL]])
def test_encryption_is_answered_with_no_once_for_each_kind(requests: list[bytes]) -> None:
    peer = Peer(b"".join(requests) + encode_startup(ANA))
    assert peer.play(read_startup()) == ANA
    assert peer.sent == [b"N"] * len(requests)


@pytest.mark.parametrize("said", [SSL * 2, GSS * 2, SSL + GSS + SSL, SSL * 50, packet(b"x", 80877103)])
def test_encryption_is_not_asked_for_twice_or_with_a_tail(said: bytes) -> None:
    peer = Peer(said)
    with pytest.raises(ProtocolError, match="encryption"):
        peer.play(read_startup())
    assert len(peer.sent) <= 2


def test_direct_tls_gets_an_alert_that_tls_understands() -> None:
    peer = Peer(bytes.fromhex("16030102000100"))
    with pytest.raises(Unsupported, match="TLS"):
        peer.play(read_startup())
    assert peer.sent == [TLS_ALERT]


@pytest.mark.parametrize("length", [0, 1, 4, 7, 10_001, 0x47455420, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_length_beyond_the_limits_is_refused_before_it_is_read(length: int) -> None:
    peer = Peer(length.to_bytes(4, "big") + b"x" * 64)
    with pytest.raises(ProtocolError, match="no PostgreSQL startup packet"):
        peer.play(read_startup())
    assert peer.asked == 4


def test_the_largest_packet_has_ten_thousand_bytes() -> None:
    room = 10_000 - 8 - len(b"user\0\0\0")
    assert len(encode_startup(Startup({"user": "u" * room}))) == 10_000
    assert play(read_startup(), encode_startup(Startup({"user": "u" * room}))) == Startup({"user": "u" * room})
    with pytest.raises(ProtocolError):
        play(read_startup(), encode_startup(Startup({"user": "u" * (room + 1)})))


@pytest.mark.parametrize("minor", [1, 2, 9999, 0xFFFF])
def test_a_newer_minor_version_is_talked_down_to_three_zero(minor: int) -> None:
    peer = Peer(packet(b"user\0ana\0\0", 0x30000 + minor))
    assert peer.play(read_startup()) == Startup({"user": "ana"})
    assert peer.sent == [b"v" + struct.pack("!III", 12, 0x30000, 0)]


def test_protocol_options_are_named_as_unknown_and_dropped() -> None:
    peer = Peer(packet(b"_pq_.a\0on\0user\0ana\0_pq_.bc\0\0\0"))
    assert peer.play(read_startup()) == Startup({"user": "ana"})
    names = b"_pq_.a\0_pq_.bc\0"
    assert peer.sent == [b"v" + struct.pack("!III", 12 + len(names), 0x30000, 2) + names]


@pytest.mark.parametrize("code", [0, 0x20000, 0x40000, 80877105, 0xFFFFFFFF])
def test_another_major_version_is_unsupported(code: int) -> None:
    with pytest.raises(Unsupported, match=r"airtunnel speaks 3\.0"):
        play(read_startup(), packet(b"user\0ana\0\0", code))


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "end"),
        (b"\0", "no user"),
        (b"\0\0", "without a value"),
        (b"user\0ana\0", "end"),
        (b"user\0ana", "end"),
        (b"user\0\0", "without a value"),
        (b"user\0\0\0", "no user"),
        (b"user\0ana\0\0\0", "without a value"),
        (b"user\0ana\0\0x\0\0", "nameless"),
        (b"\0x\0user\0ana\0\0", "nameless"),
        (b"user\0ana\0user\0bob\0\0", "twice"),
        (b"database\0sales\0\0", "no user"),
        (b"USER\0ana\0\0", "no user"),
        (b"user\0\xff\xfe\0\0", "UTF-8"),
        (b"user\0ana\nx\0\0", "control"),
        (b"user\0ana\x1b[2J\0\0", "control"),
        ("user\0ana\u202ebob\0\0".encode(), "control"),
        (b"user\0ana\0replication\0database\0\0", "replication"),
        (b"user\0ana\0replication\0false\0\0", "replication"),
    ],
)
def test_a_bad_packet_is_refused_with_its_fault(body: bytes, fault: str) -> None:
    with pytest.raises(ProtocolError, match=fault):
        play(read_startup(), packet(body))


def test_replication_is_unsupported_rather_than_broken() -> None:
    with pytest.raises(Unsupported):
        play(read_startup(), packet(b"user\0ana\0replication\0true\0\0"))


@pytest.mark.parametrize("said", [encode_startup(ANA), SSL + encode_startup(ANA), encode_cancel(CancelRequest(1, b"abcd"))])
def test_a_client_that_goes_in_the_middle_is_a_lost_connection(said: bytes) -> None:
    for cut in range(len(said)):
        with pytest.raises(ConnectionError):
            play(read_startup(), said[:cut])


@pytest.mark.parametrize("size", [4, 32, 256])
def test_a_cancel_request_is_read(size: int) -> None:
    cancel = CancelRequest(0x81234567, b"k" * size)
    assert play(read_startup(), encode_cancel(cancel)) == cancel


@pytest.mark.parametrize("size", [0, 3, 257, 9_000])
def test_a_cancel_key_of_another_length_is_refused(size: int) -> None:
    with pytest.raises(ProtocolError, match="cancel key"):
        play(read_startup(), packet(b"\0\0\0\x01" + b"k" * size, 80877102))


def test_a_cancel_request_of_three_zero_has_sixteen_bytes() -> None:
    assert encode_cancel(CancelRequest(7, b"abcd")) == b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x07abcd"


def test_a_cancel_key_stays_out_of_the_repr() -> None:
    assert "hush" not in repr(CancelRequest(7, b"hush"))


def test_the_database_is_the_users_where_none_is_named() -> None:
    assert Startup({"user": "ana"}).database == "ana"
    assert Startup({"user": "ana", "database": ""}).database == "ana"
    assert ANA.database == "sales"


@pytest.mark.parametrize("parameters", [{"user": "a\0b"}, {"us\0er": "a"}, {"": "a"}, {"user": "\ud800"}])
def test_no_text_is_written_that_leaves_its_field(parameters: dict[str, str]) -> None:
    with pytest.raises(ProtocolError):
        encode_startup(Startup(parameters))


texts = st.text(st.characters(codec="utf-8").filter(str.isprintable), max_size=20)
names = texts.filter(lambda name: bool(name) and not name.startswith("_pq_.") and name not in ("user", "replication"))


@given(st.dictionaries(names, texts), texts.filter(bool))
def test_every_startup_survives_the_way_through_bytes(parameters: dict[str, str], user: str) -> None:
    startup = Startup(parameters | {"user": user})
    assert play(read_startup(), encode_startup(startup)) == startup


@given(st.binary(max_size=200))
def test_any_body_is_a_startup_or_an_error_of_ours(body: bytes) -> None:
    with suppress(AirtunnelError):
        play(read_startup(), packet(body))


@given(st.binary(max_size=200))
def test_any_bytes_are_understood_refused_or_cut(said: bytes) -> None:
    with suppress(AirtunnelError, ConnectionError):
        play(read_startup(), said)
