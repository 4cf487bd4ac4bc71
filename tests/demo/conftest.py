"""What several tests of the demo need: a provider with a hand-driven clock, a device at it, one database for the module."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from airtunnel.demo.database import PrivateDatabase
from airtunnel.demo.people import PEOPLE
from airtunnel.demo.provider import Provider
from tests.demo.device import Device, HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def provider(clock: HandClock) -> Iterator[Provider]:
    with Provider(PEOPLE, client_id="airtunnel", audience="airtunnel-gateway", clock=clock) as provider:
        yield provider


@pytest.fixture
def device(provider: Provider) -> Iterator[Device]:
    with closing(Device(provider)) as device:
        yield device


@pytest.fixture
def ground() -> Iterator[Path]:
    """A directory with a short name that every user may pass, so that a database's home is in it, also when root runs us."""
    directory = Path(tempfile.mkdtemp(dir="/tmp"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateDatabase]:
    directory: Path = tmp_path_factory.mktemp("database")
    with PrivateDatabase(directory) as database:
        yield database
