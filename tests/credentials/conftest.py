"""A PostgreSQL with a broker that has no more rights than it needs, and two groups to lend."""

import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airtunnel.credentials.postgres_role import PostgresRoles
from airtunnel.credentials.source import Loan
from airtunnel.model import Address, CredentialSpec, Place, Principal, PrincipalKind, Protocol, Tags, Target
from tests.postgres_server import PostgresServer, running_postgres

BROKER_PASSWORD = "canary-of-the-broker"
PLACE = Place("targets.yaml", 7)
ANA = Principal(PrincipalKind.PERSON, "https://id.example.com", "u-1", "ana@example.com", ("data-eng",))

SETUP = (
    f"CREATE ROLE broker LOGIN CREATEROLE PASSWORD '{BROKER_PASSWORD}'",
    "GRANT pg_signal_backend TO broker",
    "CREATE ROLE app_rw",
    'CREATE ROLE "odd ""group"" \'\\"',
    "CREATE ROLE narrow",
    "CREATE ROLE stranger",
    "GRANT app_rw TO broker WITH ADMIN OPTION",
    'GRANT "odd ""group"" \'\\" TO broker WITH ADMIN OPTION',
    # The least that lends: the broker itself may neither become this group nor use its rights.
    "GRANT narrow TO broker WITH ADMIN TRUE, INHERIT FALSE, SET FALSE",
    "CREATE DATABASE orders",
    "CREATE DATABASE other",
)
OPEN = ("GRANT CREATE ON SCHEMA public TO public",)


@pytest.fixture(scope="session", params=[16, 18], ids=["postgres16", "postgres18"])
def server(request: pytest.FixtureRequest) -> Iterator[PostgresServer]:
    with running_postgres(request.param) as server:
        server.run(*SETUP)
        for database in ("orders", "other"):
            server.run(*OPEN, database=database)
        yield server


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "broker-password"
    path.touch(mode=0o600)
    path.write_text(BROKER_PASSWORD + "\n")
    return path


@pytest.fixture
def orders(server: PostgresServer, password_file: Path) -> Target:
    return role_target(Address(path=server.socket), password_file)


@pytest.fixture
async def roles() -> AsyncIterator[PostgresRoles]:
    roles = PostgresRoles()
    yield roles
    await roles.aclose()


def role_target(address: Address, password_file: Path, *, role: str = "app_rw") -> Target:
    options = {"admin": "broker", "admin_password_file": str(password_file), "role": role}
    credential = CredentialSpec("postgres-role", options, PLACE)
    return Target("orders-db", Protocol.POSTGRES, address, PLACE, database="orders", credential=credential)


def make_loan(target: Target, *, lasting: timedelta = timedelta(hours=1), tags: Tags | None = None) -> Loan:
    tags = tags or Tags(dag_id="billing", task_id="load", run_id="manual__1")
    return Loan(secrets.token_hex(6), target, ANA, "s-1", tags, datetime.now(UTC) + lasting)


def rewrite(path: Path, text: str, *, mode: int = 0o600) -> None:
    path.write_text(text)
    path.chmod(mode)
