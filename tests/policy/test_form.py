"""A table that is read whole: its values, and everything that is wrong with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from airtunnel.config.document import Node, Source, parse_document
from airtunnel.config.table import count, text
from airtunnel.errors import ConfigError
from airtunnel.policy.form import Entry, Faults, Form, Key, Kind, items

NAME = Key("name", Kind(text, {"type": "string"}), "What it is called.", needed=True)
AGE = Key("age", Kind(count, {"type": "integer"}), "How old it is.")


def _checks(entry: Entry) -> Iterator[ConfigError]:
    if entry.get(AGE, 0) == 7:
        yield entry.fault(AGE, "not seven")
    if AGE in entry and NAME not in entry:
        yield entry.fault(NAME, "an age of nobody")


FORM = Form((NAME, AGE), _checks)


def node(text: str) -> Node:
    return parse_document(text.encode(), Source("f.yaml", Path()))


def faults(text: str) -> list[str]:
    found = Faults()
    FORM.gather(node(text), found)
    return [str(error) for error in found.found]


def test_a_table_has_its_values() -> None:
    entry = FORM.read(node("{name: ana, age: 8}"))
    assert (entry.need(NAME), entry.get(AGE, None), AGE in entry) == ("ana", 8, True)
    assert FORM.read(node("name: ana")).get(AGE, None) is None


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("{name: ana, age: 0}", ["1:18: `age` is a whole number of at least 1"]),
        ("{name: ana, age: 7}", ["1:13: not seven"]),
        ("{}", ["1:1: `name` is missing"]),
        ("{nmae: x}", ["1:2: unknown key `nmae`; did you mean `name`?"]),
        (
            "{nmae: [], age: x, agee: 1}",
            [
                "1:2: unknown key `nmae`; did you mean `name`?",
                "1:17: `age` is a whole number of at least 1",
                "1:20: unknown key `agee`; did you mean `age`?",
                "1:1: an age of nobody",
            ],
        ),
    ],
)
def test_everything_that_is_wrong_is_told_and_told_once(text: str, wrong: list[str]) -> None:
    assert faults(text) == [f"f.yaml:{one}" for one in wrong]


def test_one_fault_is_an_error_and_several_are_a_group() -> None:
    with pytest.raises(ConfigError):
        FORM.read(node("{}"))
    with pytest.raises(ExceptionGroup) as caught:
        FORM.read(node("{agee: 1, x: 1}"))
    assert len(caught.value.exceptions) == 3


def test_what_is_no_table_is_said_so() -> None:
    with pytest.raises(ConfigError, match="is a table of"):
        FORM.read(node("[]"))


def test_faults_in_faults_come_out_flat() -> None:
    found = Faults()
    with found:
        items((node("{}"), node("{agee: 1, x: 1}"), node("{name: a}")), FORM.read)
    assert [type(error) for error in found.found] == [ConfigError] * 4


@pytest.mark.parametrize("error", [ValueError("x"), ExceptionGroup("x", [ValueError("x"), ConfigError("y")])])
def test_what_is_no_fault_of_the_file_is_not_swallowed(error: Exception) -> None:
    found = Faults()
    with pytest.raises(type(error)), found:
        raise error


def test_the_schema_says_what_the_form_reads() -> None:
    assert FORM.schema == {
        "type": "object",
        "properties": {
            "name": {"description": "What it is called.", "type": "string"},
            "age": {"description": "How old it is.", "type": "integer"},
        },
        "required": ["name"],
        "additionalProperties": False,
    }
