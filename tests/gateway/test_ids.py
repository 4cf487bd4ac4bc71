"""Ids."""

from datetime import UTC, datetime, timedelta

import pytest

from airtunnel.gateway.ids import ALPHABET, id_time, is_id, new_id

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def test_ids_are_sorted_by_their_time_and_never_alike() -> None:
    later = [new_id(NOW + timedelta(milliseconds=number)) for number in range(500)]
    assert later == sorted(later)
    assert len({new_id(NOW) for _ in range(500)}) == 500


def test_an_id_is_known_by_its_form() -> None:
    assert is_id(new_id(NOW))


GOOD = "01m81j18g08wrcbt7rwfmy0r7a"


@pytest.mark.parametrize("text", ["", "root", GOOD[:-1], GOOD + "\n", GOOD.upper(), "i" * 26, '"' + "0" * 25])
def test_what_could_be_anything_else_is_no_id(text: str) -> None:
    assert is_id(GOOD)
    assert not is_id(text)


def test_an_id_says_when_it_was_made_and_a_made_up_one_says_something() -> None:
    assert id_time(new_id(NOW)) == NOW
    assert id_time("0" * 26) == datetime(1970, 1, 1, tzinfo=UTC)
    assert id_time(ALPHABET[-1] * 26).year > 9000
