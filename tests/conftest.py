"""Fixtures of the whole path, and what a skipped test means."""

import os
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


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Where everything is installed, a test that does not run is a failure: AIRTUNNEL_TEST_SKIPS=fail says so."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("AIRTUNNEL_TEST_SKIPS") == "fail" and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
