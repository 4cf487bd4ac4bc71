"""`sessions:` and `admins:`: what the file may say, and who is meant."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from airtunnel.config.document import read_document
from airtunnel.config.sessions import Admins, SessionsConfig, read_admins, read_sessions
from airtunnel.config.table import Table, whole
from airtunnel.errors import ConfigError
from airtunnel.model import Principal, PrincipalKind

ANA = Principal(PrincipalKind.PERSON, "https://id.example.com", "u1", "ana@example.com", ("data-eng", "sre"))
JOB = replace(ANA, kind=PrincipalKind.WORKLOAD)


def read(path: Path, text: str) -> tuple[SessionsConfig, Admins]:
    """What a file with these two keys says."""

    def build(table: Table) -> tuple[SessionsConfig, Admins]:
        sessions = table.take("sessions", whole(read_sessions), SessionsConfig())
        return sessions, table.take("admins", whole(read_admins), Admins())

    path.write_text(text)
    return whole(build)(read_document(path))


def test_everything_may_be_said_or_left_out(tmp_path: Path) -> None:
    plain = SessionsConfig(timedelta(seconds=30), 20, 1000, 2000)
    assert read(tmp_path / "a.yaml", "sessions: {drain: 30s}") == (plain, Admins())
    text = "sessions: {drain: 1h, per_principal: 1, per_workload: 2, total: 3}\nadmins: {groups: sre, users: [ana@example.com]}"
    assert read(tmp_path / "a.yaml", text) == (
        SessionsConfig(timedelta(hours=1), 1, 2, 3),
        Admins(("sre",), ("ana@example.com",)),
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sessions: {per_principal: 0}", "whole number of at least 1"),
        ("sessions: {per_principle: 5}", "did you mean `per_principal`"),
        ("admins: {group: [sre]}", "did you mean `groups`"),
        ("admins: {groups: []}", "empty list"),
        ("admins: [sre]", "`admins` is a table"),
    ],
)
def test_what_is_wrong_is_named_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"a\.yaml:1:.*" + said):
        read(tmp_path / "a.yaml", text)


def test_nobody_is_an_admin_by_default_and_a_program_never_is() -> None:
    assert not Admins().include(ANA)
    for admins in (Admins(users=("ana@example.com",)), Admins(groups=("sre", "x"))):
        assert admins.include(ANA)
        assert not admins.include(JOB)
    for admins in (Admins(users=("Ana@example.com", "ana")), Admins(groups=("sr", "SRE"))):
        assert not admins.include(ANA)


def test_a_workload_has_a_cap_of_its_own() -> None:
    config = SessionsConfig()
    assert (config.cap(ANA), config.cap(JOB)) == (20, 1000)
