from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airtunnel.errors import (
    AddressTaken,
    AirtunnelError,
    AuditUnavailable,
    CredentialUnavailable,
    Ended,
    ProtocolError,
    Refused,
    TargetRefused,
    Unreachable,
)
from airtunnel.wire.postgres import TERMINATE, Unsupported, WrongPassword, at_boundary, error_response, parse_error
from airtunnel.wire.postgres.messages import MAX_TEXT, clean_text, frame, read_message

from .dialogue import Peer, play


def fields(error: AirtunnelError, severity: str = "FATAL") -> dict[str, str]:
    message = error_response(error, severity)
    assert message[:1] == b"E"
    assert int.from_bytes(message[1:5], "big") == len(message) - 1
    return dict(parse_error(message[5:]))


def test_a_refusal_says_rule_place_reasons_who_and_the_next_command() -> None:
    refused = Refused(
        who="ana@example.com",
        target="postgres-prod",
        rule="prod-ro",
        place="policy/prod.yaml:14",
        reasons=["needs group de-oncall", "needs a ticket"],
        request="01J9X",
        hint="airtunnel why 01J9X",
    )
    assert fields(refused) == {
        "S": "FATAL",
        "V": "FATAL",
        "C": "28000",
        "M": "airtunnel: postgres-prod refused by rule prod-ro (policy/prod.yaml:14): needs group de-oncall; needs a ticket;"
        " request 01J9X",
        "D": "you are ana@example.com",
        "H": "airtunnel why 01J9X",
    }


def test_a_refusal_without_place_and_request_reads_well() -> None:
    refused = Refused(who="ana", target="x", rule="default", place="", reasons=["no rule speaks of x"])
    assert fields(refused)["M"] == "airtunnel: x refused by rule default: no rule speaks of x"


@pytest.mark.parametrize(
    ("error", "sqlstate", "text"),
    [
        (WrongPassword("wrong session password"), "28P01", "airtunnel: wrong session password"),
        (ProtocolError("odd"), "08P01", "airtunnel: odd"),
        (Unsupported("replication"), "0A000", "airtunnel: replication"),
        (Unreachable("silence"), "08001", "airtunnel: silence"),
        (CredentialUnavailable("vault is sealed"), "08001", "airtunnel: vault is sealed"),
        (TargetRefused("no such database", sqlstate="3D000"), "3D000", "airtunnel: the database refused: no such database"),
        (TargetRefused("go away"), "08001", "airtunnel: the database refused: go away"),
        (AuditUnavailable("disk full"), "57P03", "airtunnel: disk full"),
        (Ended("the session is over", reason="idle"), "57P01", "airtunnel: the session is over (idle)"),
        (Ended("the grant has expired", reason="expired"), "57P01", "airtunnel: the grant has expired"),
        (AddressTaken("anything else"), "08006", "airtunnel: anything else"),
    ],
)
def test_every_kind_of_error_has_its_sqlstate_and_text(error: AirtunnelError, sqlstate: str, text: str) -> None:
    assert (fields(error)["C"], fields(error)["M"]) == (sqlstate, text)


def test_details_become_lines_of_detail_and_severity_is_the_callers() -> None:
    said = fields(AirtunnelError("x", details=["one", "two"]), severity="ERROR")
    assert (said["D"], said["S"], said["V"]) == ("one\ntwo", "ERROR", "ERROR")


def test_an_error_without_hint_and_details_has_no_such_fields() -> None:
    assert set(fields(AirtunnelError("x"))) == set("SVCM")


@given(st.text(), st.text(), st.lists(st.text()))
def test_no_text_breaks_out_of_its_field(message: str, hint: str, details: list[str]) -> None:
    said = fields(AirtunnelError(message + "\0Cxxxxx\0", hint=hint, details=details))
    assert said["C"] == "08006"
    assert all(line.isprintable() for text in said.values() for line in text.split("\n"))


def test_the_longest_error_is_still_one_that_libpq_takes() -> None:
    error = AirtunnelError("\U0001f512" * 9_999, hint="\U0001f512" * 9_999, details=["\U0001f512" * 999] * 99)
    assert len(error_response(error)) < 30_000


def test_terminal_sequences_do_not_survive() -> None:
    assert clean_text("a\x1b[31mred\r\n\0b\u202ec\u2066d") == "a [31mred b c d"
    assert clean_text("x" * 10 * MAX_TEXT) == "x" * MAX_TEXT


def test_an_error_is_read_whole_and_the_first_of_two_equal_fields_counts() -> None:
    assert parse_error(b"SFATAL\0C28P01\0Mno\0Myes\0\0") == {"S": "FATAL", "C": "28P01", "M": "no"}
    assert parse_error(b"M\xff\0\0") == {"M": "\ufffd"}
    assert parse_error(b"\0") == {}


@pytest.mark.parametrize("cut", range(len(b"SFATAL\0C28P01\0Mno\0\0")))
def test_a_cut_error_is_a_protocol_error(cut: int) -> None:
    with pytest.raises(ProtocolError):
        parse_error(b"SFATAL\0C28P01\0Mno\0\0"[:cut])


@pytest.mark.parametrize("body", [b"", b"\0\0", b"\0\0\0", b"Mx\0\0\0", b"Mx\0\0tail", b"\0Mx\0\0"])
def test_an_error_laid_out_otherwise_is_a_protocol_error(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_error(body)


@given(st.binary(max_size=64))
def test_any_bytes_are_an_error_message_or_a_protocol_error(body: bytes) -> None:
    with suppress(ProtocolError):
        parse_error(body)


@pytest.mark.parametrize(
    ("tail", "boundary"),
    [
        (b"Z\0\0\0\x05I", True),
        (b"Z\0\0\0\x05T", True),
        (b"....Z\0\0\0\x05E", True),
        (b"Z\0\0\0\x05X", False),
        (b"Z\0\0\0\x05", False),
        (b"\0\0\0\x05I", False),
        (b"Z\0\0\0\x05Ix", False),
        (b"Z\0\0\0\x06I", False),
        (b"", False),
    ],
)
def test_a_boundary_is_a_ready_for_query_at_the_very_end(tail: bytes, boundary: bool) -> None:
    assert at_boundary(tail) is boundary


def test_terminate_is_the_five_bytes_of_the_manual() -> None:
    assert frame(b"X", b"") == TERMINATE


def test_a_message_is_read_and_its_tail_is_not() -> None:
    peer = Peer(frame(b"p", b"body") + b"tail")
    assert peer.play(read_message("the client", 4)) == (b"p", b"body")
    assert peer.said == b"tail"


@pytest.mark.parametrize("length", [0, 3, 9, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_no_length_is_believed_beyond_its_limit(length: int) -> None:
    # CVE-2026-6664: a length that overflows.
    peer = Peer(b"p" + length.to_bytes(4, "big") + b"x" * 64)
    with pytest.raises(ProtocolError, match="the client sent a message of"):
        peer.play(read_message("the client", 4))
    assert peer.asked == 5


@pytest.mark.parametrize("cut", range(9))
def test_a_cut_message_is_a_lost_connection(cut: int) -> None:
    with pytest.raises(ConnectionError):
        play(read_message("the client", 9), frame(b"p", b"body")[:cut])
