"""What a table of the policy may hold, said once: how each key is read, what an editor is told of it, and what it is for.

IDLE = Key("idle", LENGTH, "End a session that ...")
LIMITS = Form(DURATION, IDLE)
entry = LIMITS.read(node)           # every fault of the table at once
entry.get(IDLE, None)               # timedelta | None
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from airtunnel.config import document
from airtunnel.config.document import Node, Scalar, fault
from airtunnel.config.table import Table, likely
from airtunnel.config.values import cut
from airtunnel.errors import ConfigError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
D = TypeVar("D")
Schema = Mapping[str, Any]  # Any: JSON Schema is JSON


@dataclass(frozen=True, slots=True)
class Kind(Generic[T_co]):
    """One kind of value: how it is read from a node (raising ConfigError), and the JSON Schema of what can be read."""

    read: Callable[[Node], T_co]
    schema: Schema


@dataclass(frozen=True, slots=True)
class Key(Generic[T_co]):
    """A key that a table may have, or must have. `help`: what an editor shows beside it."""

    name: str
    kind: Kind[T_co]
    help: str
    needed: bool = False


@dataclass(frozen=True, slots=True)
class Entry:
    """A table that was read. A value that is wrong is not there, but its key still counts as written.

    unknown: the keys that no table of this form has
    """

    node: document.Mapping
    values: Mapping[str, object]
    unknown: tuple[str, ...] = ()

    def __contains__(self, key: Key[Any]) -> bool:  # Any: whatever its kind
        return any(written.text == key.name for written, _ in self.node.entries)

    def get(self, key: Key[T], default: D) -> T | D:
        """The key's value, or the default if it is not there."""
        return cast(T, self.values[key.name]) if key.name in self.values else default

    def need(self, key: Key[T]) -> T:
        """The value of a key that the form needs."""
        return cast(T, self.values[key.name])

    def fault(self, key: Key[Any], message: str) -> ConfigError:  # Any: whatever its kind
        """An error at the key's place, or the table's if the key is not there."""
        at = next((written for written, _ in self.node.entries if written.text == key.name), self.node)
        return fault(at, message)


def _nothing(entry: Entry) -> Iterator[ConfigError]:
    yield from ()


@dataclass(frozen=True, slots=True)
class Form:
    """The keys of a table.

    checks: what is wrong between several keys; it is asked whether or not each of them is right
    more: what JSON Schema says of that
    """

    keys: tuple[Key[Any], ...]  # Any: each of its own kind
    checks: Callable[[Entry], Iterator[ConfigError]] = _nothing
    more: Schema = field(default_factory=dict)

    def read(self, node: Node) -> Entry:
        """The table at the node. Raises ConfigError, or an ExceptionGroup of all of them if there are several."""
        faults = Faults()
        entry = self.gather(node, faults)
        faults.done(f"{_named(node)} has faults")
        return entry

    def gather(self, node: Node, faults: "Faults") -> Entry:
        """What can be read of the table at the node; what is wrong goes to `faults`. Raises ConfigError if it is no table."""
        table = Table(node)
        known = {key.name: key for key in self.keys}
        values: dict[str, object] = {}
        unknown = tuple(key.text for key, _ in table.node.entries if key.text not in known)
        for key in self.keys:
            # A key that is there but misspelt is told once, as unknown.
            if key.needed and key.name not in table and not any(likely(one, [key.name]) for one in unknown):
                faults.add(fault(node, f"`{key.name}` is missing{_where(node)}"))
        for written, value in table.entries():
            with faults:
                if written.text not in known:
                    guess = likely(written.text, known)
                    raise fault(written, f"unknown key `{cut(written.text)}`{_where(node)}{guess}")
                values[written.text] = known[written.text].kind.read(value)
        entry = Entry(table.node, values, unknown)
        faults.add(*self.checks(entry))
        return entry

    def kind(self, build: Callable[[Entry], T]) -> Kind[T]:
        """The kind of value that `build` makes of such a table."""
        return Kind(lambda node: build(self.read(node)), self.schema)

    @property
    def schema(self) -> Schema:
        needed = [key.name for key in self.keys if key.needed]
        return {
            "type": "object",
            "properties": {key.name: {"description": key.help, **key.kind.schema} for key in self.keys},
            **({"required": needed} if needed else {}),
            "additionalProperties": False,
            **self.more,
        }


class Faults:
    """What is wrong with a file, gathered so that it can be told at once. As a context it keeps what is raised in it."""

    def __init__(self) -> None:
        self.found: list[ConfigError] = []

    def add(self, *faults: ConfigError) -> None:
        self.found.extend(faults)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if isinstance(error, ConfigError):
            self.found.append(error)
            return True
        if isinstance(error, ExceptionGroup):
            # Only forms raise groups here, and theirs are flat.
            ours, others = error.split(ConfigError)
            if ours is not None and others is None:
                self.found.extend(cast("tuple[ConfigError, ...]", ours.exceptions))
                return True
        return False

    def done(self, message: str) -> None:
        """Raises the one fault, or the group of all; nothing if there is none."""
        if len(self.found) == 1:
            raise self.found[0]
        if self.found:
            raise ExceptionGroup(message, self.found)


def choices(node: Node, each: Callable[[Scalar, Node], T], faults: Faults) -> Mapping[str, T]:
    """A table of the writer's own keys, each read with its value; what is wrong goes to `faults`."""
    found: dict[str, T] = {}
    for key, value in Table(node).entries():
        with faults:
            found[key.text] = each(key, value)
    return found


def items(nodes: Iterable[Node], read: Callable[[Node], T]) -> tuple[T, ...]:
    """Each of a list read. Raises all the faults at once."""
    faults = Faults()
    found: list[T] = []
    for node in nodes:
        with faults:
            found.append(read(node))
    faults.done("a list has faults")
    return tuple(found)


def _where(node: Node) -> str:
    return f" in {node.key}" if node.key else ""


def _named(node: Node) -> str:
    return f"{node.place}: {node.key or 'the file'}"
