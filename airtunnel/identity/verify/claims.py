"""From a verified token's claims to a principal. Pure: what reaches policy, audit and terminals is checked here.

A claim's name may be a path: `realm_access/roles`, `kubernetes.io/serviceaccount/name`, `https://example.com/groups`.
"""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airtunnel.errors import TokenRejected
from airtunnel.model import Principal, PrincipalKind

Claims = Mapping[str, Any]  # Any: JSON from the provider

MAX_TEXT = 256
"""Bytes of UTF-8 in one identity string."""
MAX_GROUPS = 1000
MAX_DEPTH = 4
"""Of lists and objects inside a claim that is kept."""


@dataclass(frozen=True, slots=True)
class ClaimMap:
    """Which claim holds what, each by its path.

    subject: what identifies, and never changes (Entra: `oid`); name: what people read (workloads: often `sub`)
    kept: further claims that rules may look at
    """

    name: str = "email"
    groups: str = "groups"
    kept: tuple[str, ...] = ()
    subject: str = "sub"


def find_claim(claims: Claims, path: str) -> object:
    """What stands at a path; None if there is nothing.

    An exact name comes first, because names may hold slashes. Else the longest name before a slash leads inwards, and so on.
    """
    if path in claims:
        return claims[path]
    head = next((one for one in _heads(path) if one in claims), None)
    inner = None if head is None else claims[head]
    return find_claim(inner, path[len(head or "") + 1 :]) if isinstance(inner, Mapping) else None


def check_required(claims: Claims, required: Mapping[str, tuple[str, ...]]) -> None:
    """That each claim has one of its texts, or, where it is a list, holds one of them.

    Raises TokenRejected that names the claim.
    """
    for path, wanted in required.items():
        value = find_claim(claims, path)
        found = value if isinstance(value, list) else [value]
        if not any(_spelled(one) in wanted for one in found):
            # Not what it should be: who reads the audit need not learn what to forge.
            raise TokenRejected(f"claim {path} does not have a value that is required")


def principal_from(claims: Claims, mapping: ClaimMap, kind: PrincipalKind = PrincipalKind.PERSON) -> Principal:
    """The principal that a verified token speaks of: known by issuer and subject, called by the claim of `mapping`.

    Raises TokenRejected if a claim is missing, of a wrong type, too long, or holds characters that could forge a line.
    """
    # No falling back to `sub` for the name: a client chooses its scopes, so it could leave the e-mail out and be called by a
    # subject that it was free to choose, such as somebody else's address.
    name = _text(claims, mapping.name)
    if mapping.name == "email" and claims.get("email_verified", True) not in (True, "true"):  # Cognito sends texts
        raise TokenRejected("the e-mail address is not verified (email_verified is not true)")
    known = kind is PrincipalKind.WORKLOAD or find_claim(claims, mapping.groups) is not None
    return Principal(
        kind=kind,
        groups_known=known,
        issuer=_text(claims, "iss"),
        subject=_text(claims, mapping.subject),
        name=name,
        groups=_groups(claims, mapping.groups),
        claims={one: _clean(value, one, MAX_DEPTH) for one in mapping.kept if (value := find_claim(claims, one)) is not None},
    )


def _heads(path: str) -> list[str]:
    """The beginnings of a path that end before a slash, the longest first."""
    return [path[:at] for at in range(len(path) - 1, 0, -1) if path[at] == "/"]


def _spelled(value: object) -> object:
    """As a configuration writes it: JSON's true is a text there."""
    return str(value).lower() if isinstance(value, bool) else value


def _text(claims: Claims, claim: str) -> str:
    value = find_claim(claims, claim)
    if not isinstance(value, str) or not value.strip():
        raise TokenRejected(f"claim {claim} is missing or not a text")
    return _safe(value, claim)


def _groups(claims: Claims, claim: str) -> tuple[str, ...]:
    elsewhere = claims.get("_claim_names")
    left_out = isinstance(elsewhere, Mapping) and any(one in elsewhere for one in (claim, *_heads(claim)))
    if left_out or claims.get("hasgroups") is True:
        # Entra leaves them out above 200. Taken for none, a deny rule on a group would let its members pass.
        raise TokenRejected(f"claim {claim} is left out because there are too many groups: use app roles")
    value = find_claim(claims, claim)
    groups = [] if value is None else [value] if isinstance(value, str) else value
    if not isinstance(groups, list) or not all(isinstance(one, str) and one for one in groups):
        raise TokenRejected(f"claim {claim} is not a list of texts")
    if len(groups) > MAX_GROUPS:
        raise TokenRejected(f"claim {claim} names {len(groups)} groups, more than {MAX_GROUPS}")
    return tuple(_safe(one, claim) for one in groups)


def _clean(value: object, claim: str, depth: int) -> object:
    """The value, after a look at every text in it."""
    if isinstance(value, str):
        return _safe(value, claim)
    if isinstance(value, list | dict) and depth == 0:
        raise TokenRejected(f"claim {claim} is nested too deeply")
    if isinstance(value, list):
        return [_clean(one, claim, depth - 1) for one in value]
    if isinstance(value, dict):
        return {_safe(name, claim): _clean(one, claim, depth - 1) for name, one in value.items()}
    return value


def _safe(text: str, claim: str) -> str:
    if any(_forges(one) for one in text):
        raise TokenRejected(f"claim {claim} holds control or invisible characters")
    if len(text.encode()) > MAX_TEXT:
        raise TokenRejected(f"claim {claim} is longer than {MAX_TEXT} bytes")
    return text


def _forges(one: str) -> bool:
    """Whether a character breaks a line, moves a cursor, turns the direction of a text, or is not seen (Unicode TR 36)."""
    return unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp")
