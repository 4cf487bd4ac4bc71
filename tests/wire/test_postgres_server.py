"""Our client's side against a real PostgreSQL."""

import socket
from collections.abc import Iterator

import pytest

from airtunnel.errors import TargetRefused, Unreachable
from airtunnel.wire.postgres import (
    TERMINATE,
    LoggedIn,
    Startup,
    at_boundary,
    encode_cancel,
    format_verifier,
    log_in,
    make_verifier,
    request_tls,
    rewrite_startup,
)
from tests.postgres_server import running_postgres

from .connection import run

HBA = """
local all postgres,by_trust trust
local all by_scram scram-sha-256
local all by_clear password
local all by_md5 md5
"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """The socket of a server whose roles log in by four methods. Their password is `right`, their verifier was made by us."""
    verifier = format_verifier(make_verifier("right", b"0123456789abcdef"))
    with running_postgres(16) as server:
        for role in ("by_trust", "by_scram", "by_clear", "by_md5", "by_nothing"):
            server.run(f"CREATE ROLE {role} LOGIN PASSWORD '{verifier}'")
        server.run("SET password_encryption = 'md5'", "ALTER ROLE by_md5 PASSWORD 'right'")
        (server.directory / "pg_hba.conf").write_text(HBA)
        server.run("SELECT pg_reload_conf()")
        yield server.socket


def connect(address: str) -> socket.socket:
    end = socket.socket(socket.AF_UNIX)
    end.settimeout(30)
    end.connect(address)
    return end


def login(end: socket.socket, role: str, password: str = "right", **more: str) -> LoggedIn:
    asked = Startup({"user": "ana", "database": "postgres"} | more)
    startup = rewrite_startup(asked, user=role, database=None, application_name="airtunnel:dag/task/run")
    return run(log_in(startup, password, nonce="a-nonce-for-this-login", clear_allowed=True), end)


def query(end: socket.socket, sql: str) -> bytes:
    """All that the server says to a query, up to ReadyForQuery."""
    end.sendall(b"Q" + (len(sql) + 5).to_bytes(4, "big") + sql.encode() + b"\0")
    said = b""
    while not at_boundary(said):
        said += end.recv(65_536)
    return said


@pytest.mark.parametrize("role", ["by_trust", "by_scram", "by_clear"])
def test_a_role_with_our_verifier_logs_in_and_the_session_works(address: str, role: str) -> None:
    with connect(address) as end:
        got = login(end, role)
        assert got.key is not None
        assert at_boundary(got.reply)
        assert b"server_version\0" in got.reply
        assert role.encode() in query(end, "select session_user")
        end.sendall(TERMINATE)


@pytest.mark.parametrize("role", ["by_scram", "by_clear"])
def test_a_wrong_password_is_the_targets_refusal(address: str, role: str) -> None:
    with connect(address) as end, pytest.raises(TargetRefused, match="password authentication failed") as caught:
        login(end, role, "wrong")
    assert caught.value.sqlstate == "28P01"


def test_a_role_without_a_rule_is_the_targets_refusal(address: str) -> None:
    with connect(address) as end, pytest.raises(TargetRefused, match=r"no pg_hba\.conf entry") as caught:
        login(end, "by_nothing")
    assert caught.value.sqlstate == "28000"


def test_a_database_that_is_not_there_is_the_targets_refusal(address: str) -> None:
    with connect(address) as end, pytest.raises(TargetRefused, match="does not exist") as caught:
        login(end, "by_scram", database="nowhere")
    assert caught.value.sqlstate == "3D000"


def test_md5_is_refused(address: str) -> None:
    with connect(address) as end, pytest.raises(Unreachable, match="MD5"):
        login(end, "by_md5")


def test_a_password_past_its_time_is_refused_by_the_target(address: str) -> None:
    # CVE-2025-2291: PgBouncer checked the password itself and forgot VALID UNTIL. Here the target checks it.
    with connect(address) as admin, connect(address) as end:
        login(admin, "postgres")
        query(admin, "alter role by_scram valid until '2001-01-01'")
        try:
            with pytest.raises(TargetRefused) as caught:
                login(end, "by_scram")
        finally:
            query(admin, "alter role by_scram valid until 'infinity'")
    assert caught.value.sqlstate == "28P01"


def test_the_server_reads_settings_and_options_as_they_were_meant(address: str) -> None:
    with connect(address) as end:
        login(end, "by_scram", options=r"-c search_path=a,\ \"b\ \\c\" --lock-timeout=5s", DateStyle="German")
        names = ("search_path", "lock_timeout", "DateStyle", "application_name")
        said = query(end, "select " + ", ".join(f"current_setting('{name}')" for name in names))
        assert b'a, "b \\c"' in said
        assert b"5s" in said
        assert b"German" in said
        assert b"airtunnel:dag/task/run" in said


def test_the_targets_key_cancels_a_query(address: str) -> None:
    with connect(address) as end, connect(address) as other:
        got = login(end, "by_scram")
        assert got.key is not None
        sql = b"select pg_sleep(60)\0"
        end.sendall(b"Q" + (len(sql) + 4).to_bytes(4, "big") + sql)
        login(other, "postgres")
        busy = f"select 'is ' || wait_event from pg_stat_activity where pid = {got.key.pid}"
        while b"is PgSleep" not in query(other, busy):
            pass
        with connect(address) as canceller:
            canceller.sendall(encode_cancel(got.key))
            assert canceller.recv(1) == b""
        said = b""
        while not at_boundary(said):
            said += end.recv(65_536)
    assert b"57014" in said


def test_a_server_without_tls_says_no_and_goes_on(address: str) -> None:
    with connect(address) as end:
        assert run(request_tls(), end) is False
        assert login(end, "by_scram").key is not None
