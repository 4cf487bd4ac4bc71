"""Fixtures of the whole path."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from airtunnel.demo.database import PrivateDatabase
from airtunnel.demo.people import PEOPLE
from airtunnel.demo.provider import Provider
from airtunnel.identity.tokenset import TokenSet
from tests.lab import AUDIENCE, CLIENT_ID, Lab


@pytest.fixture(scope="session")
def provider() -> Iterator[Provider]:
    """An OpenID provider."""
    with Provider(PEOPLE, client_id=CLIENT_ID, audience=AUDIENCE, interval=1) as running:
        yield running


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDatabase]:
    """A PostgreSQL with sample data."""
    with PrivateDatabase(tmp_path_factory.mktemp("database")) as running:
        yield running


@pytest.fixture(scope="session")
def known_tokens() -> dict[str, TokenSet]:
    """Who has logged in already."""
    return {}


@pytest.fixture
def lab(provider: Provider, database: PrivateDatabase, known_tokens: dict[str, TokenSet], tmp_path: Path) -> Lab:
    """Provider and database, and a directory for gateways."""
    return Lab(provider, database, tmp_path, known_tokens)
