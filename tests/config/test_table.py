"""Reading a table: values of the right type, and complaints in the words of the file."""

from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

import pytest

from airtunnel.config import table as readers
from airtunnel.config.document import Node, Source, parse_document
from airtunnel.config.table import Table, each, existing, file, path, some, whole
from airtunnel.errors import ConfigError
from airtunnel.model import Address, Place

SOURCE = Source("policy/shop.yaml", Path("/etc/airtunnel/policy"))


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


def table(text: str) -> Table:
    return Table(parse_document(text.encode(), SOURCE))


def complaint(text: str, read: Callable[[Node], object]) -> str:
    """What reading the key `k` of the file complains about."""
    with pytest.raises(ConfigError) as caught:
        table(text).need("k", read)
    return caught.value.message


@pytest.mark.parametrize(
    ("written", "read", "value"),
    [
        ("no", readers.text, "no"),
        ("1e3", readers.text, "1e3"),
        ("08:00", readers.text, "08:00"),
        ("0x10", readers.text, "0x10"),
        ("'null'", readers.text, "null"),
        ("2026-01-01", readers.text, "2026-01-01"),
        ("=", readers.text, "="),
        (">\n  one\n  two", readers.prose, "one two"),
        ("''", readers.prose, ""),
        ("true", readers.boolean, True),
        ("false", readers.boolean, False),
        ("20", readers.count, 20),
        ("1h30m", readers.duration, timedelta(minutes=90)),
        ("db.internal:5432", readers.address, Address("db.internal", 5432)),
        ("'[::1]:5432'", readers.address, Address("::1", 5432)),
        ("unix:/run/pg", readers.address, Address(path="/run/pg")),
        ("unix:run/pg", readers.address, Address(path="/etc/airtunnel/policy/run/pg")),
        ("[a, no]", readers.texts, ("a", "no")),
        ("a", readers.texts, ("a",)),
        ("[1, 2]", each(readers.count), (1, 2)),
        ("[]", each(readers.count), ()),
        ("3", some(readers.count), (3,)),
        ("red", readers.choice(Colour), Colour.RED),
        ("../secrets/x", path, Path("/etc/airtunnel/policy/../secrets/x")),
        ("/run/x", path, Path("/run/x")),
    ],
)
def test_a_value_is_read_as_what_is_expected(written: str, read: Callable[[Node], object], value: object) -> None:
    assert table(f"k: {written}").need("k", read) == value


@pytest.mark.parametrize(
    ("written", "read", "message"),
    [
        ("", readers.text, "`k` has no value"),
        ("null", readers.text, "`k` has no value"),
        ("~", readers.boolean, "`k` has no value"),
        ("''", readers.text, "`k` is a text of one line"),
        ("'  '", readers.text, "`k` is a text of one line"),
        ("[a]", readers.text, "`k` is one value"),
        ("{a: b}", readers.text, "`k` is one value"),
        ("'a\u00a0b'", readers.text, "`k` is a text of one line"),
        ("yes", readers.boolean, "`k` is true or false"),
        ("True", readers.boolean, "`k` is true or false"),
        ("0", readers.count, "`k` is a whole number of at least 1"),
        ("-1", readers.count, "`k` is a whole number of at least 1"),
        ("1.5", readers.count, "`k` is a whole number of at least 1"),
        ("1_000", readers.count, "`k` is a whole number of at least 1"),
        ("9999999999", readers.count, "`k` is a whole number of at least 1"),
        ("'²'", readers.count, "`k` is a whole number of at least 1"),
        ("5 parsecs", readers.duration, "`k`: `5 parsecs` is not a length of time like 30s, 5m or 1h30m"),
        ("0s", readers.duration, "`k`: `0s` is no time at all; it must be more than zero"),
        ("db", readers.address, "`k`: `db` is not an address like db.internal:5432"),
        ("unix:/run/pg", readers.host_port, "`k` is a host and port, not a unix socket"),
        ("[]", readers.texts, "`k` is an empty list"),
        ("{a: b}", readers.texts, "`k` is one value"),
        ("a", each(readers.text), "`k` is a list"),
        ("gren", readers.choice(Colour), "`k` is red or green, not `gren`; did you mean `green`?"),
        ("7", whole(lambda inner: inner.need("a", readers.text)), "`k` is a table of `key: value` lines"),
    ],
)
def test_a_value_of_another_kind_is_refused_at_its_place(written: str, read: Callable[[Node], object], message: str) -> None:
    assert complaint(f"# shop\nk: {written}", read) == f"policy/shop.yaml:2:{4 if written else 3}: {message}"


def test_a_missing_key_is_named_with_its_table() -> None:
    outer = table("who: {users: [a]}")
    with pytest.raises(ConfigError, match=r"^policy/shop\.yaml:1:6: `groups` is missing in who$"):
        outer.need("who", whole(lambda inner: inner.need("groups", readers.texts)))
    with pytest.raises(ConfigError, match=r"^policy/shop\.yaml:1:1: `rules` is missing$"):
        outer.need("rules", readers.texts)


def test_an_unknown_key_is_named_with_the_likely_one() -> None:
    def who(inner: Table) -> tuple[str, ...]:
        return inner.take("groups", readers.texts, ())

    with pytest.raises(ConfigError) as caught:
        table("who:\n  grups: [eng]").need("who", whole(who))
    assert caught.value.message == "policy/shop.yaml:2:3: unknown key `grups` in who; did you mean `groups`?"
    with pytest.raises(ConfigError) as caught:
        table("who:\n  zzz: [eng]").need("who", whole(who))
    assert caught.value.message == "policy/shop.yaml:2:3: unknown key `zzz` in who"


def test_a_mistyped_key_that_is_needed_is_unknown_rather_than_missing() -> None:
    with pytest.raises(ConfigError) as caught:
        table("protocl: tcp").need("protocol", readers.text)
    assert caught.value.message == "policy/shop.yaml:1:1: unknown key `protocl`; did you mean `protocol`?"


def test_a_key_that_may_be_missing_has_its_default() -> None:
    one = table("a: 1")
    assert one.take("b", readers.count, None) is None
    assert "a" in one
    assert one.take("a", readers.count, 7) == 1
    assert "a" not in one
    one.done()


def test_a_table_with_keys_of_the_writers_own_gives_them_in_order() -> None:
    one = table("b: 1\na: 2")
    assert [(key.text, readers.count(value)) for key, value in one.entries()] == [("b", 1), ("a", 2)]
    one.done()


def test_a_complaint_can_point_at_a_key_that_was_read() -> None:
    one = table("a: 1\nb: 2")
    one.need("b", readers.count)
    assert one.fault("b", "too much").message == "policy/shop.yaml:2:1: too much"
    assert one.fault("gone", "too little").message == "policy/shop.yaml:1:1: too little"
    assert one.place == Place("policy/shop.yaml", 1, 1)


def test_a_list_or_text_in_the_place_of_the_file_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"^policy/shop\.yaml:1:1: the file is a table"):
        table("[a]")


def test_a_file_that_must_be_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    (tmp_path / "policy").mkdir()

    def read(written: str, reader: Callable[[Node], Path]) -> Path:
        return Table(parse_document(f"ca: {written}".encode(), Source("g.yaml", tmp_path))).need("ca", reader)

    assert read("ca.pem", file) == tmp_path / "ca.pem"
    assert read("policy", existing) == tmp_path / "policy"
    for gone, reader, nothing in (
        ("gone.pem", file, "no file"),
        ("policy", file, "no file"),
        ("x" * 5000, existing, "nothing at"),
    ):
        with pytest.raises(ConfigError) as caught:
            read(gone, reader)
        assert caught.value.message == f"g.yaml:1:5: `ca`: there is {nothing} {tmp_path / gone}"


def test_a_very_long_key_does_not_flood_the_message() -> None:
    with pytest.raises(ConfigError) as caught:
        table("x" * 1000 + ": 1").done()
    assert len(caught.value.message) < 150
