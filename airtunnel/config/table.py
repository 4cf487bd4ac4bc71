"""Reads a file's tables key by key, into typed values, and says what is wrong in the words of the file.

    table = Table(node)
    rule = Rule(name=table.need("name", text), ttl=table.take("ttl", duration, None))
    table.done()                    # `policy/shop.yaml:12:5: unknown key `grups` in who; did you mean `groups`?`

A reader is any function from a node to a value that raises `fault(node, ...)`.
"""

import difflib
from collections.abc import Callable, Collection, Iterator
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from airtunnel.config.document import Mapping, Node, Scalar, Sequence, fault
from airtunnel.config.values import cut, parse_address, parse_duration
from airtunnel.errors import ConfigError
from airtunnel.model import Address, Place

T = TypeVar("T")
D = TypeVar("D")
E = TypeVar("E", bound=StrEnum)

_NOTHING = frozenset({"", "~", "null", "Null", "NULL"})


class Table:
    """A mapping that is read key by key, and knows in the end which keys nobody asked for."""

    def __init__(self, node: Node) -> None:
        if not isinstance(node, Mapping):
            raise fault(node, f"{_named(node)} is a table of `key: value` lines")
        self.node = node
        self._left = {key.text: (key, value) for key, value in node.entries}
        self._known: list[str] = []

    @property
    def place(self) -> Place:
        return self.node.place

    def __contains__(self, key: str) -> bool:
        """Whether the key is there and was not read yet."""
        return key in self._left

    def need(self, key: str, read: Callable[[Node], T]) -> T:
        """The key's value. Raises ConfigError if it is missing."""
        self._known.append(key)
        if key not in self._left:
            for written in difflib.get_close_matches(key, self._left, 1):
                raise self._unknown(written)
            raise fault(self.node, f"`{key}` is missing{self._where()}")
        return read(self._left.pop(key)[1])

    def take(self, key: str, read: Callable[[Node], T], default: D) -> T | D:
        """The key's value, or the default if the key is not there."""
        self._known.append(key)
        return read(self._left.pop(key)[1]) if key in self._left else default

    def entries(self) -> Iterator[tuple[Scalar, Node]]:
        """All keys that were not read yet, for tables whose keys are the writer's own."""
        left, self._left = self._left, {}
        yield from left.values()

    def fault(self, key: str, message: str) -> ConfigError:
        """An error at a key's place, also after it was read."""
        at = next((written for written, _ in self.node.entries if written.text == key), self.node)
        return fault(at, message)

    def done(self) -> None:
        """Raises ConfigError if a key is left that nobody asked for."""
        for key in self._left:
            raise self._unknown(key)

    def _unknown(self, key: str) -> ConfigError:
        return fault(self._left[key][0], f"unknown key `{cut(key)}`{self._where()}{likely(key, self._known)}")

    def _where(self) -> str:
        return f" in {self.node.key}" if self.node.key else ""


def likely(word: str, known: Collection[str]) -> str:
    """`; did you mean `groups`?` or nothing."""
    return "".join(f"; did you mean `{close}`?" for close in difflib.get_close_matches(word, known, 1))


def whole(build: Callable[[Table], T]) -> Callable[[Node], T]:
    """A reader of a table in which `build` must ask for every key."""

    def read(node: Node) -> T:
        table = Table(node)
        built = build(table)
        table.done()
        return built

    return read


def each(read: Callable[[Node], T]) -> Callable[[Node], tuple[T, ...]]:
    """A reader of a list."""

    def read_all(node: Node) -> tuple[T, ...]:
        if not isinstance(node, Sequence):
            raise fault(node, f"{_named(node)} is a list")
        return tuple(read(item) for item in node.items)

    return read_all


def some(read: Callable[[Node], T]) -> Callable[[Node], tuple[T, ...]]:
    """A reader of a list of at least one, or of a single one without the brackets."""

    def read_some(node: Node) -> tuple[T, ...]:
        if not isinstance(node, Sequence):
            return (read(node),)
        if not node.items:
            raise fault(node, f"{_named(node)} is an empty list")
        return each(read)(node)

    return read_some


def raw(node: Node) -> str:
    """One value exactly as written, be it quoted or not: `no`, `1e3` and `08:00` are texts."""
    if not isinstance(node, Scalar):
        raise fault(node, f"{_named(node)} is one value")
    if node.plain and node.text in _NOTHING:
        raise fault(node, f"{_named(node)} has no value")
    return node.text


def text(node: Node) -> str:
    """One line that is not empty."""
    line = raw(node)
    if not line.strip() or not line.isprintable():
        raise fault(node, f"{_named(node)} is a text of one line")
    return line


def prose(node: Node) -> str:
    """A text that may run over several lines, as one line."""
    return " ".join(raw(node).split())


def texts(node: Node) -> tuple[str, ...]:
    """At least one text: a list, or a single one without the brackets."""
    return some(text)(node)


def boolean(node: Node) -> bool:
    match raw(node):
        case "true":
            return True
        case "false":
            return False
    raise fault(node, f"{_named(node)} is true or false")


def count(node: Node) -> int:
    """A whole number of at least 1."""
    digits = raw(node)
    if not digits.isascii() or not digits.isdigit() or not 0 < len(digits) < 10 or int(digits) == 0:
        raise fault(node, f"{_named(node)} is a whole number of at least 1")
    return int(digits)


def duration(node: Node) -> timedelta:
    return _parsed(node, parse_duration)


def address(node: Node) -> Address:
    """`host:port` or `unix:/path`; a path is taken from the file's directory."""
    where = _parsed(node, parse_address)
    return Address(path=str(node.source.directory / where.path)) if where.path else where


def host_port(node: Node) -> Address:
    """`host:port`. Port 0 is any free one."""
    where = address(node)
    if where.path:
        raise fault(node, f"{_named(node)} is a host and port, not a unix socket")
    return where


def path(node: Node) -> Path:
    """A path, taken from the file's directory."""
    return node.source.directory / text(node)


def file(node: Node) -> Path:
    """A path at which there is a file."""
    return _found(node, Path.is_file, "no file")


def existing(node: Node) -> Path:
    """A path at which there is a file or a directory."""
    return _found(node, Path.exists, "nothing at")


def choice(words: type[E]) -> Callable[[Node], E]:
    """A reader of one of the enumeration's words."""

    def read(node: Node) -> E:
        word = raw(node)
        try:
            return words(word)
        except ValueError:
            known = [str(one) for one in words]
            guess = likely(word, known)
            raise fault(node, f"{_named(node)} is {' or '.join(known)}, not `{cut(word)}`{guess}") from None

    return read


def _named(node: Node) -> str:
    return f"`{node.key}`" if node.key else "the file"


def _found(node: Node, look: Callable[[Path], bool], nothing: str) -> Path:
    where = path(node)
    try:
        found = look(where)
    except OSError:  # no permission to look, a name too long
        found = False
    if not found:
        raise fault(node, f"{_named(node)}: there is {nothing} {where}")
    return where


def _parsed(node: Node, parse: Callable[[str], T]) -> T:
    written = text(node)
    try:
        return parse(written)
    except ValueError as error:
        raise fault(node, f"{_named(node)}: {error}") from error
