"""`sessions:` and `admins:` of the gateway's configuration: how many may run, how they end, who may end others'."""

from dataclasses import dataclass
from datetime import timedelta

from airtunnel.config.table import Table, count, duration, texts
from airtunnel.model import Principal, PrincipalKind


@dataclass(frozen=True, slots=True)
class SessionsConfig:
    """drain: how long running sessions may go on after SIGTERM. The rest: how many may run at all gateways of a store together.

    per_principal: of one person; per_workload: of one program, whose identity all of its tasks share; total: of all
    """

    drain: timedelta = timedelta(seconds=30)
    per_principal: int = 20
    per_workload: int = 1000
    total: int = 2000

    def cap(self, principal: Principal) -> int:
        """How many sessions of this principal may run."""
        return self.per_principal if principal.kind is PrincipalKind.PERSON else self.per_workload


@dataclass(frozen=True, slots=True)
class Admins:
    """Who may see and end others' sessions, and lock. Nobody, if the file does not say. Never a program."""

    groups: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    """Names as the gateway reads them from a token, to the letter."""

    def include(self, principal: Principal) -> bool:
        """Whether this is one of them."""
        person = principal.kind is PrincipalKind.PERSON
        return person and (principal.name in self.users or not set(self.groups).isdisjoint(principal.groups))


def read_sessions(table: Table) -> SessionsConfig:
    """Reads `sessions:`."""
    plain = SessionsConfig()
    return SessionsConfig(
        drain=table.take("drain", duration, plain.drain),
        per_principal=table.take("per_principal", count, plain.per_principal),
        per_workload=table.take("per_workload", count, plain.per_workload),
        total=table.take("total", count, plain.total),
    )


def read_admins(table: Table) -> Admins:
    """Reads `admins:`."""
    return Admins(table.take("groups", texts, ()), table.take("users", texts, ()))
