"""A JSON body, field by field: what is missing or of another kind is a ProtocolError that names the whole."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from airtunnel.errors import ProtocolError

MAX_BODY = 64 * 1024
"""Bytes. A grant request holds a public key and tags; nothing honest is larger."""

Json = Mapping[str, Any]  # Any: what json.loads gives
T = TypeVar("T")


def decode(data: bytes, what: str, build: Callable[[Json], T]) -> T:
    """What `build` makes of the JSON object in `data`; any mismatch becomes a ProtocolError that names `what`."""
    if len(data) > MAX_BODY * 16:
        raise ProtocolError(f"{what} is too large: {len(data)} bytes")
    try:
        body = json.loads(data)
        if not isinstance(body, dict):
            raise ProtocolError(f"{what} is not a JSON object")
        return build(body)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ProtocolError(f"{what} does not have the expected form: {type(error).__name__}: {error}") from error


def dump(body: Json) -> bytes:
    return json.dumps(body, separators=(",", ":"), default=dict).encode()


def text(body: Json, name: str) -> str:
    if not isinstance(value := body[name], str):
        raise TypeError(f"{name} is not a text")
    return value


def word(body: Json, name: str) -> str:
    """A text that may stand in other programs' files and command lines: at most 64 letters and digits."""
    if not (value := text(body, name)).isascii() or not value.isalnum() or len(value) > 64:
        raise ValueError(f"{name} is not a word")
    return value


def optional(body: Json, name: str) -> str | None:
    return None if body.get(name) is None else text(body, name)


def texts(body: Json, name: str) -> tuple[str, ...]:
    if not isinstance(value := body[name], list) or not all(isinstance(one, str) for one in value):
        raise TypeError(f"{name} is not a list of texts")
    return tuple(value)


def mapping(body: Json, name: str) -> dict[str, str]:
    value = body.get(name) or {}
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in value.values()):
        raise TypeError(f"{name} is not an object of texts")
    return value


def number(body: Json, name: str) -> int:
    if not isinstance(value := body[name], int):
        raise TypeError(f"{name} is not a whole number")
    return value


def time(body: Json, name: str) -> datetime:
    moment = datetime.fromisoformat(text(body, name))
    if moment.tzinfo is None:
        raise ValueError(f"{name} has no time zone")
    return moment
