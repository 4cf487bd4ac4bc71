"""What is remembered for completion."""

from pathlib import Path

import pytest

from airtunnel.cli.complete import complete_context, complete_target, remember_targets
from airtunnel.config.client import ClientConfig, Context
from airtunnel.errors import Refused
from airtunnel.wire.control import Catalog, CatalogEntry

REFUSAL = Refused(who="ana", target="payroll", rule="r", place="p:1", reasons=["no"])
CATALOG = Catalog(
    "ana",
    "https://idp",
    (),
    (
        CatalogEntry("warehouse", "postgres", "sales", {}),
        CatalogEntry("wiki", "tcp", "", {}),
        CatalogEntry("payroll", "postgres", "", {}, refusal=REFUSAL),
    ),
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Directories of the test's own."""
    monkeypatch.setenv("AIRTUNNEL_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("AIRTUNNEL_CONFIG_DIR", str(tmp_path / "config"))
    return tmp_path


def test_what_may_be_reached_is_completed_with_its_description() -> None:
    assert complete_target("") == []
    remember_targets(CATALOG)
    assert complete_target("w") == [("warehouse", "sales"), ("wiki", "")]
    assert complete_target("payroll") == []


def test_what_cannot_be_remembered_stops_nobody(home: Path) -> None:
    (home / "state").write_text("a file where a directory should be")
    remember_targets(CATALOG)
    assert complete_target("") == []


def test_what_a_gateway_says_cannot_become_a_command_of_the_shell() -> None:
    hostile = Catalog(
        "ana",
        "https://idp",
        (),
        tuple(
            CatalogEntry(name, "tcp", "a\\\"; touch x; $(y) `z` \n'q", {})
            for name in ("good-1.x", "a;b", "$(c)", "d\ne", "`f`", 'g"')
        ),
    )
    remember_targets(hostile)
    [(name, text)] = complete_target("")
    assert name == "good-1.x"
    assert not set(text) & set("\\\"';$`\n")


def test_logins_are_completed_by_their_names(home: Path) -> None:
    config = ClientConfig.load()
    config.put(Context("work", "a.example.com:443"))
    config.save()
    assert complete_context("w") == ["work"]
    config.path.write_text("[")
    assert complete_context("w") == []
