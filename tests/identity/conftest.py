from collections.abc import Iterator

import pytest

from .provider import Provider, providing


@pytest.fixture
def provider() -> Iterator[Provider]:
    with providing() as provider:
        yield provider
