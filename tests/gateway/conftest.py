"""The store in each database that it may be in."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from airtunnel.gateway.store import Store
from tests.postgres_server import PostgresServer, running_postgres

Opener = Callable[[], AbstractAsyncContextManager[Store]]


@pytest.fixture(scope="session")
def state_server() -> Iterator[PostgresServer]:
    """A PostgreSQL for stores."""
    with running_postgres(16) as server:
        server.run("CREATE ROLE gateway LOGIN PASSWORD 'secret'")
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def opener(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    """Opens the same new store each time, as the gateways of a fleet would."""
    if request.param == "sqlite":
        return lambda: Store.open(tmp_path / "state.db")
    server: PostgresServer = request.getfixturevalue("state_server")
    server.run("DROP DATABASE IF EXISTS shared WITH (FORCE)", "CREATE DATABASE shared OWNER gateway")
    return lambda: Store.open(f"postgresql://gateway:secret@/shared?host={server.directory}")


@pytest.fixture
async def any_store(opener: Opener) -> AsyncIterator[Store]:
    """A new store, open."""
    async with opener() as store:
        yield store
