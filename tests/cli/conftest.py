"""A terminal, a gateway, and a person who is logged in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.cli.terminal import Terminal
from tests.lab import Lab, Site


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """A terminal of somebody who is not logged in anywhere."""
    home = tmp_path / "person"
    home.mkdir()
    return Terminal(home)


@pytest.fixture
async def site(lab: Lab) -> AsyncIterator[Site]:
    """A gateway of the test's own."""
    async with lab.gateway() as running:
        yield running


@pytest.fixture
async def ana(terminal: Terminal, lab: Lab, site: Site) -> Terminal:
    """The terminal of ana, who is logged in at `site`."""
    terminal.log_in(site, await lab.tokens("ana"))
    return terminal
