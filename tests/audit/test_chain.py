"""The hash chain: what holds, and what is found when it does not."""

import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airtunnel.audit.chain import GENESIS, MAX_LINE, START, Fault, Position, encode, link, verify

Edit = tuple[int, Fault]


def make_lines(count: int) -> list[bytes]:
    lines, head = [], GENESIS
    for seq in range(count):
        line, head = link(encode({"time": f"t{seq}", "event": "test"}), seq, head)
        lines.append(line)
    return lines


def found(lines: list[bytes]) -> Edit | None:
    broken = verify(lines).broken
    return None if broken is None else (broken.line, broken.fault)


def test_a_line_is_compact_ascii_json_that_names_the_one_before() -> None:
    first, head = link(encode({"time": "t", "who": "Zoë\n\u202e"}), 0, GENESIS)
    second, _ = link(encode({"time": "t"}), 1, head)
    assert first == b'{"v":1,"seq":0,"prev":"' + b"0" * 64 + b'","time":"t","who":"Zo\\u00eb\\n\\u202e"}\n'
    assert json.loads(second)["prev"] == sha256(first[:-1]).hexdigest() == head


@pytest.mark.parametrize("fields", [{}, {"time": float("nan")}, {"time": object()}, {"time": "x" * MAX_LINE}])
def test_what_cannot_be_a_line_is_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"JSON|empty or too long"):
        encode(fields)


def test_a_sound_chain_says_how_much_there_is_and_from_when_to_when() -> None:
    lines = make_lines(3)
    verified = verify(lines)
    assert (verified.count, verified.first_time, verified.last_time, verified.broken) == (3, "t0", "t2", None)
    assert verified.head == sha256(lines[2][:-1]).hexdigest()


def test_nothing_is_a_sound_chain() -> None:
    assert verify([]) == verify(iter(()))
    assert (verify([]).count, verify([]).head, verify([]).broken) == (0, GENESIS, None)


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_an_edited_line_is_found(at: int) -> None:
    lines = make_lines(5)
    lines[at] = lines[at].replace(b'"test"', b'"tost"')
    assert found(lines) == (at + 1, Fault.EDITED)
    assert (verify(lines).count, verify(lines).end) == (at, verify(make_lines(at)).end)


def test_an_edited_number_is_found() -> None:
    lines = make_lines(4)
    lines[2] = lines[2].replace(b'"seq":2', b'"seq":7')
    assert found(lines) == (3, Fault.EDITED)


@pytest.mark.parametrize("at", [1, 2])
def test_an_edited_hash_is_found_in_the_line_that_was_edited(at: int) -> None:
    lines = make_lines(4)
    lines[at] = lines[at].replace(b'"prev":"', b'"prev":"0')
    assert found(lines) == (at + 1, Fault.EDITED)


def test_an_edited_first_hash_is_found() -> None:
    lines = make_lines(2)
    lines[0] = lines[0].replace(b"0" * 64, b"1" * 64)
    assert found(lines) == (1, Fault.EDITED)


@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_a_removed_line_is_found(at: int) -> None:
    lines = make_lines(5)
    del lines[at]
    assert found(lines) == (at + 1, Fault.REMOVED)


@pytest.mark.parametrize(("one", "other"), [(0, 1), (1, 2), (3, 4), (0, 4), (1, 3)])
def test_swapped_lines_are_found(one: int, other: int) -> None:
    lines = make_lines(5)
    lines[one], lines[other] = lines[other], lines[one]
    assert found(lines) == (one + 1, Fault.SWAPPED)


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("seq", [0, 2, 9])
def test_a_line_put_in_is_found(at: int, seq: int) -> None:
    lines = make_lines(5)
    foreign, _ = link(encode({"time": "t", "event": "foreign"}), seq, "f" * 64)
    assert found([*lines[:at], foreign, *lines[at:]]) == (at + 1, Fault.INSERTED)


def test_a_line_put_in_with_the_right_hash_is_found() -> None:
    lines = make_lines(5)
    foreign, _ = link(encode({"time": "t", "event": "foreign"}), 2, sha256(lines[1][:-1]).hexdigest())
    assert found([*lines[:2], foreign, *lines[2:]]) == (3, Fault.INSERTED)


def test_a_repeated_line_is_found() -> None:
    lines = make_lines(3)
    assert found([*lines, lines[1]]) == (4, Fault.SWAPPED)


def test_a_torn_last_line_is_found() -> None:
    lines = make_lines(3)
    for cut in range(1, len(lines[2])):
        assert found([*lines[:2], lines[2][:cut]]) == (3, Fault.TORN)


@pytest.mark.parametrize("line", [b"\n", b"{}\n", b"[]\n", b"\xff\n", b'{"v":2,"seq":1}\n', b"[" * 100_000 + b"\n", b"no end"])
def test_a_line_that_is_no_record_is_found(line: bytes) -> None:
    lines = make_lines(3)
    lines[1] = line
    assert found(lines) == (2, Fault.NOT_JSON)


def test_a_chain_goes_on_from_a_position() -> None:
    lines = make_lines(6)
    half = verify(lines[:3]).end
    rest = verify(lines[3:], half)
    assert half == Position(3, sha256(lines[2][:-1]).hexdigest())
    assert (rest.first, rest.count, rest.broken, rest.end) == (3, 3, None, verify(lines).end)
    assert verify(lines[4:], half).broken is not None


def test_a_chain_of_unknown_beginning_is_believed_from_its_first_line_on() -> None:
    lines = make_lines(6)
    assert (verify(lines[2:], None).first, verify(lines[2:], None).broken) == (2, None)
    first = [lines[0].replace(b"0" * 64, b"1" * 64), *lines[1:]]
    assert verify(first, None).broken is not None  # the very first record has none before it


def test_a_last_line_edited_in_the_file_before_is_found_there() -> None:
    lines = make_lines(4)
    broken = verify(lines[2:], Position(2, "e" * 64)).broken
    assert broken is not None
    assert (broken.line, broken.seq, broken.fault) == (0, 1, Fault.EDITED)


def test_a_chain_that_fits_is_rewritten_if_something_else_was_signed() -> None:
    lines = make_lines(5)
    signed = {1: sha256(lines[1][:-1]).hexdigest(), 3: "e" * 64}
    broken = verify(lines, START, signed).broken
    assert broken is not None
    assert (broken.line, broken.seq, broken.fault) == (4, 3, Fault.REWRITTEN)
    assert verify(lines[:3], START, signed).broken is None


def test_what_stands_before_the_break_is_still_told() -> None:
    lines = make_lines(4)
    verified = verify([*lines[:2], b"x\n", lines[3]])
    assert (verified.count, verified.last_time) == (2, "t1")


@given(st.integers(0, 7), st.data())
def test_no_single_changed_byte_goes_unseen_except_in_the_last_line(at: int, data: st.DataObject) -> None:
    lines = make_lines(9)
    where = data.draw(st.integers(0, len(lines[at]) - 1))
    value = data.draw(st.integers(0, 255).filter(lambda value: value != lines[at][where]))
    lines[at] = lines[at][:where] + bytes([value]) + lines[at][where + 1 :]
    # A file is read line by line: a change may make two of one, or one of two.
    assert verify(b"".join(lines).splitlines(keepends=True)).broken is not None
