"""Each kind of value: what its reader takes, its schema takes, and nothing else."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from airtunnel.config.document import Scalar, Source
from airtunnel.errors import ConfigError
from airtunnel.model import PrincipalKind
from airtunnel.policy import kinds
from airtunnel.policy.form import Kind
from airtunnel.policy.target import ADDRESS

CHECKED: dict[str, tuple[Kind[Any], str]] = {  # Any: each of its own kind
    "length": (kinds.LENGTH, "0019dhms y-"),
    "size": (kinds.SIZE, "0195BKMGTi .b"),
    "count": (kinds.COUNT, "0019-.e "),
    "hours": (kinds.HOURS, "01234:-56789 "),
    "days": (kinds.DAY_SPANS, "montuefri- "),
    "rule": (kinds.RULE_NAME, "az0.-_A *"),
    "source": (kinds.SOURCE_NAME, "az0.-_A *"),
    "exact": (kinds.EXACT, "az @*."),
    "text": (kinds.TEXT, "az @*. \t"),
    "tag": (kinds.TAG_LIST, "reason"),
    "word": (kinds.word_of(PrincipalKind), "person"),
    "address": (ADDRESS.kind, "db.:1[]unix/"),
}
SEEDS = {
    "length": ["1h30m", "0s", "0d0h1s", "1m1h", "5", "", "10m0s"],
    "size": ["10GB", "1GiB", "0MB", "1 MB", "1gb", "1234567890B"],
    "count": ["1", "0", "007", "999999999", "1000000000", "-1"],
    "hours": ["08:00-18:00", "00:00-24:00", "24:00-08:00", "8:00-18:00", "08:00-24:30"],
    "days": ["mon", "mon-fri", "mon-", "-fri", "mo", "mon-fri-sun"],
    "rule": ["a", "default", "defaults", "A", "a" * 63, "a" * 64, "-a"],
    "source": ["default", "x" * 64],
    "exact": ["ana@example.com", "*", "a*", " "],
    "text": [" ", "a\tb", "*"],
    "tag": ["reason", "raeson", "dag_id"],
    "word": ["person", "persons", "workload"],
    "address": ["db:1", "[::1]:1", "unix:/x", "unix:", "db", "::1:1", "db:123456"],
}
# A window that begins and ends at once, ports and IPv6 addresses that do not exist: no pattern says so.
MORE_THAN_A_PATTERN = ("begins and ends at once", "is not an address", "at most 107 bytes")


def readable(kind: Kind[Any], text: str) -> str | None:  # Any: as above
    """None, or what is wrong."""
    try:
        kind.read(Scalar(Source("f.yaml", Path("/")), 1, 1, "key", text, plain=False))
    except ConfigError as error:
        return error.message
    return None


def check(name: str, text: str) -> None:
    kind, _ = CHECKED[name]
    wrong, valid = readable(kind, text), Draft202012Validator(kind.schema).is_valid(text)
    if wrong is None:
        assert valid, text
    else:
        assert not valid or any(one in wrong for one in MORE_THAN_A_PATTERN), (text, wrong)


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in SEEDS.items() for text in texts])
def test_reader_and_schema_agree(name: str, text: str) -> None:
    check(name, text)


@given(st.sampled_from(list(CHECKED)), st.data())
def test_reader_and_schema_agree_on_anything_alike(name: str, data: st.DataObject) -> None:
    check(name, data.draw(st.text(alphabet=CHECKED[name][1], max_size=12)))


@example("1h 30m")
@given(st.text(max_size=8))
def test_no_kind_of_value_breaks_on_any_text(text: str) -> None:
    for kind, _ in CHECKED.values():
        readable(kind, text)


@pytest.mark.parametrize(("one", "several"), [("mon-wed", ["mon-tue", "wed"]), ("fri-mon", ["fri", "sat-mon"])])
def test_days_may_be_said_in_parts(one: str, several: list[str]) -> None:
    def days(text: str) -> frozenset[int]:
        return kinds.day_span(Scalar(Source("f.yaml", Path("/")), 1, 1, "days", text, plain=True))[0]

    assert days(one) == frozenset().union(*map(days, several))
