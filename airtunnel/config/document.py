"""A YAML file as a read-only tree whose every node knows its place.

The tree holds texts only: what a text means (`no` is a name here and a boolean there) is decided by the one who reads it.
Files that are made to harm are refused before they cost anything: by size, depth, number of values, aliases, tags.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from airtunnel.config.values import cut
from airtunnel.errors import ConfigError
from airtunnel.model import Place

if TYPE_CHECKING:
    import yaml

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 50
MAX_VALUES = 50_000
"""Together they keep the worst file under a second and 50 MB."""

# A tab is not indentation for YAML; a lone CR, U+0085 and U+2028 are line breaks for it but not for an editor; bidi marks and
# zero-width spaces make a rule read as something else (CVE-2021-42574). Whoever reviews the file must see what it decides.
_FORBIDDEN = re.compile(
    "\r(?!\n)|[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufffe\uffff]"
)


@dataclass(frozen=True, slots=True)
class Source:
    """The file of a node: as it is shown, and the directory against which paths in it resolve."""

    file: str
    directory: Path


@dataclass(frozen=True, slots=True)
class _Node:
    source: Source
    line: int
    column: int
    key: str
    """The key under which the node stands; an item of a list has the key of the list. Empty at the top."""

    @property
    def place(self) -> Place:
        return Place(self.source.file, self.line, self.column)


@dataclass(frozen=True, slots=True)
class Scalar(_Node):
    """One value, as it was written. `plain`: without quotes."""

    text: str = field(repr=False)
    plain: bool


@dataclass(frozen=True, slots=True)
class Sequence(_Node):
    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Mapping(_Node):
    """Keys and values in the file's order; every key stands there once."""

    entries: tuple[tuple[Scalar, "Node"], ...]


Node: TypeAlias = Scalar | Sequence | Mapping


def fault(node: Node, message: str, *, hint: str | None = None) -> ConfigError:
    """The error that says where: `file:line:column: message`."""
    return ConfigError(f"{node.source.file}:{node.line}:{node.column}: {message}", hint=hint)


def read_document(path: Path, shown: str | None = None) -> Node:
    """The tree of the file at `path`. `shown` is how the file is named in errors; its own name otherwise.

    Raises ConfigError: `file: reason` if the file cannot be read, `file:line:column: reason` if it cannot be understood.
    """
    shown = shown or path.name
    try:
        if not path.is_file():
            raise ConfigError(f"{shown}: there is no such file")
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise ConfigError(f"{shown}: cannot be read: {getattr(error, 'strerror', None) or error}") from error
    return parse_document(data, Source(shown, path.absolute().parent))


def parse_document(data: bytes, source: Source) -> Node:
    """The tree of a file's bytes. Raises ConfigError, `file:line:column: reason`."""
    if len(data) > MAX_BYTES:
        raise _at(source, 1, 1, f"larger than {MAX_BYTES // 1024} KiB")
    text = _decode(data, source)
    builder = _Builder(source)
    for event in _events(text, source):
        builder.take(event)
    if builder.root is None:
        raise _at(source, 1, 1, "the file is empty")
    return builder.root


def _at(source: Source, line: int, column: int, message: str) -> ConfigError:
    return ConfigError(f"{source.file}:{line}:{column}: {message}")


def _decode(data: bytes, source: Source) -> str:
    """Text without any character that hides what the file says."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        column = error.start - before.rfind(b"\n")
        raise _at(source, before.count(b"\n") + 1, column, f"not UTF-8: byte 0x{data[error.start]:02x}") from error
    if found := _FORBIDDEN.search(text):
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - text.rfind("\n", 0, found.start())
        raise _at(source, line, column, _unseen(found.group()))
    return text


def _unseen(character: str) -> str:
    if character == "\t":
        return "a tab; indent with spaces"
    return f"an invisible character, U+{ord(character):04X}"


def _events(text: str, source: Source) -> Iterator["yaml.Event"]:
    """The parser's events. The tree is not built by PyYAML: its composer recurses, and knows no limit."""
    try:
        import yaml
    except ImportError as error:
        raise ConfigError("YAML cannot be read without PyYAML", hint="pip install 'airtunnel[gateway]'") from error
    # libyaml is ten times faster (1 MiB: 0.3 s, not 3 s), but PyYAML can be built without it.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    line = 0
    try:
        for event in yaml.parse(text, Loader=loader):
            line = event.start_mark.line if event.start_mark else line
            yield event
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (line, 0)
        context = f"{error.context}, " if error.context else ""
        raise _at(source, line + 1, column + 1, f"not YAML: {context}{error.problem}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last two: PyYAML's own parser on "\UFFFFFFFF"
        raise _at(source, line + 1, 1, f"not YAML: {error}") from error


@dataclass(slots=True)
class _Open:
    """A mapping or list whose end has not come yet. `pending` is a mapping's key that waits for its value."""

    line: int
    column: int
    key: str
    names: dict[str, int] | None
    items: list[Node] = field(default_factory=list)
    entries: list[tuple[Scalar, Node]] = field(default_factory=list)
    pending: Scalar | None = None


class _Builder:
    """Builds the tree from events, without recursion, and refuses what a configuration has no need of."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.root: Node | None = None
        self._open: list[_Open] = []
        self._count = 0

    def take(self, event: "yaml.Event") -> None:
        kind = type(event).__name__
        mark = event.start_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        if kind == "AliasEvent" or getattr(event, "anchor", None) is not None:
            raise _at(
                self.source, line, column, "anchors and aliases (`&`, `*`) are not supported; quote a text that begins so"
            )
        if getattr(event, "tag", None) is not None:
            raise _at(self.source, line, column, "tags (`!`) are not supported; quote a text that begins so")
        match kind:
            case "DocumentStartEvent" if self.root is not None:
                raise _at(self.source, line, column, "a second document; one file holds one")
            case "MappingStartEvent" | "SequenceStartEvent":
                self._begin(line, column, {} if kind.startswith("Mapping") else None)
            case "MappingEndEvent" | "SequenceEndEvent":
                self._end()
            case "ScalarEvent":
                # Without quotes, libyaml says the style is "", PyYAML's own parser says None.
                self._scalar(getattr(event, "value", ""), not getattr(event, "style", None), line, column)

    def _begin(self, line: int, column: int, names: dict[str, int] | None) -> None:
        if self._open and self._open[-1].names is not None and self._open[-1].pending is None:
            raise _at(self.source, line, column, "a key is one text, not a list or a table")
        if len(self._open) >= MAX_DEPTH:
            raise _at(self.source, line, column, f"deeper than {MAX_DEPTH} levels")
        self._open.append(_Open(line, column, self._key(), names))

    def _end(self) -> None:
        done = self._open.pop()
        place = (self.source, done.line, done.column, done.key)
        self._add(Sequence(*place, tuple(done.items)) if done.names is None else Mapping(*place, tuple(done.entries)))

    def _scalar(self, text: str, plain: bool, line: int, column: int) -> None:
        # Escapes ("\u0007") bring in what the file itself may not hold.
        if found := _FORBIDDEN.search(text):
            raise _at(self.source, line, column, _unseen(found.group()))
        node = Scalar(self.source, line, column, self._key(), text, plain)
        top = self._open[-1] if self._open else None
        if top is None or top.names is None or top.pending is not None:
            self._add(node)
            return
        if text in top.names:
            raise fault(node, f"`{cut(text)}` stands here twice, first on line {top.names[text]}")
        top.names[text] = line
        top.pending = node

    def _key(self) -> str:
        if not self._open:
            return ""
        top = self._open[-1]
        return top.pending.text if top.pending else top.key

    def _add(self, node: Node) -> None:
        self._count += 1
        if self._count > MAX_VALUES:
            raise fault(node, f"more than {MAX_VALUES} values")
        if not self._open:
            self.root = node
            return
        top = self._open[-1]
        if top.pending is None:
            top.items.append(node)
        else:
            top.entries.append((top.pending, node))
            top.pending = None
