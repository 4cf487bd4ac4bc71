"""A JWT's two JSON parts, read strictly and not verified (RFC 7519 section 3, RFC 7515 section 7.1)."""

import base64
import binascii
import json
from typing import Any

from airtunnel.errors import TokenRejected
from airtunnel.identity.answer import Json

MAX_TOKEN = 16 * 1024
"""Bytes. Tokens with hundreds of groups stay below; more is refused before it is parsed."""


def read_parts(token: str, what: str = "token") -> tuple[Json, Json]:
    """Header and claims. Nothing of them is proven: this says which key and which rules to verify with.

    what: by which name a refusal calls it
    Raises TokenRejected if the token is too large, not a signed JWT in compact form, or names a member twice.
    """
    if len(token) > MAX_TOKEN or not token.isascii():
        raise TokenRejected(f"the {what} is larger than {MAX_TOKEN} bytes, or not ASCII")
    parts = token.split(".")
    if len(parts) != 3 or not all(parts):
        raise TokenRejected(f"the {what} is not a signed JWT: it does not have three parts")
    return _object(parts[0], f"{what}'s header"), _object(parts[1], f"{what}'s payload")


def _object(part: str, what: str) -> Json:
    try:
        # Python's decoder skips foreign characters unless told not to: two spellings of one token would pass.
        text = base64.b64decode(part.replace("-", "+").replace("_", "/") + "=" * (-len(part) % 4), validate=True).decode()
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (binascii.Error, ValueError, RecursionError) as error:
        raise TokenRejected(f"the {what} cannot be read: {type(error).__name__}") from error
    if not isinstance(value, dict):
        raise TokenRejected(f"the {what} is not a JSON object")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:  # Any: JSON
    """RFC 7519 section 4: names are unique. Libraries take the last one, so that what one reads another does not."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise TokenRejected("the token names a claim or header twice (duplicate member)")
    return members


def _no_constant(name: str) -> object:
    raise TokenRejected(f"the token holds {name}, which is not JSON")
