"""Providers and a browser that others wrote; found, or skipped."""

from collections.abc import Iterator

import pytest

from tests.providers.chromium import Chromium
from tests.providers.glewlwyd import Glewlwyd, find_glewlwyd
from tests.providers.oidc import OidcProvider, find_modules


@pytest.fixture(scope="session")
def oidc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OidcProvider]:
    """One oidc-provider, for all tests that leave it running."""
    provider = OidcProvider(find_modules(), tmp_path_factory.mktemp("oidc"))
    provider.start()
    yield provider
    provider.stop()


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """One browser, for all tests."""
    browser = Chromium()
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def glewlwyd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Glewlwyd]:
    """One glewlwyd, for all tests."""
    provider = Glewlwyd(find_glewlwyd(), tmp_path_factory.mktemp("glewlwyd"))
    provider.start()
    yield provider
    provider.stop()
