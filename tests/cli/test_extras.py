"""What a command needs beyond a laptop's installation."""

import pytest

from airtunnel.cli import extras
from airtunnel.errors import UsageError


def test_what_is_installed_is_not_asked_for() -> None:
    for name in extras.PACKAGES:
        extras.need_extra(name)


def test_what_is_missing_is_named_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(extras.PACKAGES, "gateway", ("json", "no_such_package"))
    with pytest.raises(UsageError, match="needs no_such_package") as raised:
        extras.need_extra("gateway")
    assert raised.value.hint == "pip install 'airtunnel[gateway]'"
