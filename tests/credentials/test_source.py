"""Finding sources and checking their options."""

import subprocess
import sys

import pytest

from airtunnel.credentials.file import CredentialFile
from airtunnel.credentials.postgres_role import PostgresRoles
from airtunnel.credentials.source import SOURCES, check_options, find_source, spec_of
from airtunnel.errors import ConfigError, CredentialUnavailable
from airtunnel.model import Address, CredentialSpec, Protocol, Target
from tests.credentials.conftest import PLACE

GOOD = {"admin": "broker", "admin_password_file": "/secret", "role": "app_rw"}


def with_credential(source: str, options: dict[str, str]) -> Target:
    spec = CredentialSpec(source, options, PLACE)
    return Target("orders-db", Protocol.POSTGRES, Address("db", 5432), PLACE, credential=spec)


def test_every_known_source_can_be_made() -> None:
    assert {name: type(find_source(name)) for name in SOURCES} == {"postgres-role": PostgresRoles, "file": CredentialFile}


def test_an_unknown_source_is_refused_with_the_likely_one_and_its_place() -> None:
    with pytest.raises(ConfigError, match=r"targets.yaml:7: no credential source is called postgres-rle") as caught:
        find_source("postgres-rle", PLACE)
    assert caught.value.hint == "did you mean postgres-role?"


def test_a_source_like_no_other_is_answered_with_all_names() -> None:
    with pytest.raises(ConfigError) as caught:
        check_options(with_credential("xyz", {}))
    assert caught.value.hint == "known: file, postgres-role"


@pytest.mark.parametrize("target", [with_credential("postgres-role", GOOD), with_credential("file", {"path": "/x"})])
def test_the_right_options_pass(target: Target) -> None:
    check_options(target)


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_or_empty_option_is_named_with_its_place(name: str) -> None:
    for options in ({key: value for key, value in GOOD.items() if key != name}, GOOD | {name: ""}):
        with pytest.raises(ConfigError, match=f"^targets.yaml:7: .* needs the option {name}$"):
            check_options(with_credential("postgres-role", options))


def test_an_unknown_option_is_named_with_the_likely_one() -> None:
    with pytest.raises(ConfigError, match=r"^targets.yaml:7: source postgres-role has no option rolle") as caught:
        check_options(with_credential("postgres-role", GOOD | {"rolle": "x"}))
    assert caught.value.hint == "did you mean role?"


def test_a_target_without_a_credential_has_no_options_and_lends_nothing() -> None:
    target = Target("orders-db", Protocol.POSTGRES, Address("db", 5432), PLACE)
    check_options(target)
    with pytest.raises(CredentialUnavailable, match="orders-db has no credential"):
        spec_of(target)


def test_checking_a_file_loads_no_database_driver() -> None:
    program = "import sys, airtunnel.credentials.source; sys.exit('asyncpg' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
