"""What a credential source is, which ones there are, and whether a target's options suit its source.

A source lends a temporary login (a Lease) and takes it back. The caller chooses the lease's id and writes it down first, so
that a gateway which dies in between still knows what to take back.
"""

import difflib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib import import_module
from types import MappingProxyType
from typing import Protocol

from airtunnel.errors import ConfigError, CredentialUnavailable
from airtunnel.model import CredentialSpec, Lease, Place, Principal, Tags, Target


@dataclass(frozen=True, slots=True)
class Loan:
    """What a source needs to know to lend.

    lease_id: 12 hex digits, chosen by the caller before anything is created; until: when the login stops working, aware
    """

    lease_id: str
    target: Target
    principal: Principal
    session: str
    tags: Tags
    until: datetime


class Source(Protocol):
    """Where temporary credentials come from. One object serves all targets that name this source."""

    async def lend(self, loan: Loan) -> Lease:
        """A login for `loan.target`. Raises CredentialUnavailable that names source and target, never a secret.

        The caller sets the time limit. After a failure the login may exist all the same: `take_back` is then to be called.
        """

    async def take_back(self, target: Target, lease_id: str) -> None:
        """Ends a login and what is connected with it. A lease that is gone, or never was, is fine.

        Raises CredentialUnavailable if that could not be done now: it is to be tried again.
        """

    async def sweep(self, target: Target) -> int:
        """Removes logins of dead gateways that have expired; how many. Raises CredentialUnavailable."""

    async def aclose(self) -> None:
        """Lets go of what is kept open. May be called twice."""


@dataclass(frozen=True, slots=True)
class _Known:
    module: str
    make: str
    required: tuple[str, ...]
    optional: tuple[str, ...] = ()


# Modules by name, not by import: what only checks a file does not need a database driver.
SOURCES: Mapping[str, _Known] = MappingProxyType(
    {
        "postgres-role": _Known(
            "airtunnel.credentials.postgres_role", "PostgresRoles", ("admin", "admin_password_file", "role"), ("database",)
        ),
        "file": _Known("airtunnel.credentials.file", "CredentialFile", ("path",)),
    }
)


def find_source(name: str, place: Place | None = None) -> Source:
    """A new source of that name. Raises ConfigError with the likely name, at `place`."""
    known = _known(name, place)
    make: Callable[[], Source] = getattr(import_module(known.module), known.make)
    return make()


def check_options(target: Target) -> None:
    """Raises ConfigError, with the place, if the target's credential names no source or has a wrong or missing option."""
    if (spec := target.credential) is None:
        return
    known = _known(spec.source, spec.place)
    for name in spec.options:
        if name not in known.required + known.optional:
            likely = _likely(name, known.required + known.optional)
            raise ConfigError(f"{spec.place}: source {spec.source} has no option {name}", hint=likely)
    for name in known.required:
        if not spec.options.get(name):
            raise ConfigError(f"{spec.place}: source {spec.source} of target {target.name} needs the option {name}")


def spec_of(target: Target) -> CredentialSpec:
    """The target's credential. Raises CredentialUnavailable if it has none."""
    if target.credential is None:
        raise CredentialUnavailable(f"target {target.name} has no credential", hint=f"add `credential:` at {target.place}")
    return target.credential


def _known(name: str, place: Place | None) -> _Known:
    if name in SOURCES:
        return SOURCES[name]
    where = "" if place is None else f"{place}: "
    raise ConfigError(f"{where}no credential source is called {name}", hint=_likely(name, SOURCES))


def _likely(name: str, known: Collection[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known: {', '.join(sorted(known))}"
