"""The policy as data: targets and rules, as they were read from its files."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import TypeAlias
from zoneinfo import ZoneInfo

from airtunnel.model import Limits, Place, PrincipalKind, Target

NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
"""What a target or rule may be called: it must fit into an SSH host field, a file name and an environment variable."""

ENVIRONMENT = "env"
"""The label of a target that says in which environment it stands."""

Network: TypeAlias = IPv4Network | IPv6Network


class Effect(StrEnum):
    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Who:
    """Whom a rule is about. Several fields: all must fit. Several values in a field: any of them.

    All are compared to the letter: two accounts may differ in nothing but case (`main` and `Main` are two branches).
    Only in the values of claims `*` stands for any text: `repo:acme/dags:*`. The proof of a workload is made of such parts.
    With no field set it is everybody, which a file must say as `anyone`.
    """

    groups: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    """Principal.name: in most companies an e-mail address."""
    claims: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    kind: PrincipalKind | None = None
    issuers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class When:
    """A weekly window on the clock of `zone`. Days: Monday is 0.

    `start` after `end`: the window runs over midnight and belongs to the day on which it began. `end` 00:00 is the day's end.
    """

    zone: ZoneInfo
    days: frozenset[int] = frozenset(range(7))
    start: time = time(0)
    end: time = time(0)
    phrase: str = ""
    """As it is shown: `mon-fri 08:00-18:00 Europe/Berlin`."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One entry of the policy. It speaks of a target that fits both `targets` (globs) and `labels`, where they are given."""

    name: str
    effect: Effect
    place: Place
    who: Who
    targets: tuple[str, ...] = ()
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    tags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Globs by the tag's name."""
    require: tuple[str, ...] = ()
    """Tags that must be said, whatever they say."""
    when: When | None = None
    networks: tuple[Network, ...] = ()
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Policy:
    """Everything that was read. Targets and rules in the order of the files, which are in alphabetical order.

    place: the first file, line 1; commit: the git commit of the files, with `-dirty` if they differ from it, where known
    groups: the groups that there are, as the files say; empty if they do not
    """

    targets: Mapping[str, Target]
    rules: tuple[Rule, ...]
    place: Place
    commit: str | None = None
    groups: frozenset[str] = frozenset()
