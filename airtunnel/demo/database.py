"""The demo's private database: what stands in it, and the roles that lead there.

shop      customers, orders   shop_rw reads and writes
payroll   salaries            payroll_ro reads
broker    makes the gateway's temporary logins: CREATEROLE, and admin of both group roles (PostgreSQL 16 and newer)
"""

import secrets
from importlib import resources
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from airtunnel.demo.postgres import SUPERUSER, Postmaster, connect

BROKER = "broker"
GROUPS = {"shop": "shop_rw", "payroll": "payroll_ro"}
"""Each database, and the group role that may see what is in it."""


class PrivateDatabase:
    """A PostgreSQL with sample data, from `start` to `stop`; as a context manager both happen by themselves.

    directory: a directory of the caller's, where the data goes if it can (see demo.postgres); `stop` takes its own away again
    Raises Unreachable when it does not come up.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.superuser = SUPERUSER
        self.superuser_password = secrets.token_urlsafe(24)
        self.broker_user = BROKER
        self.broker_password = secrets.token_urlsafe(24)
        self._postmaster = Postmaster(directory)

    def __repr__(self) -> str:
        return f"<PrivateDatabase {self.directory}>"

    @property
    def socket(self) -> Path:
        """The Unix socket, `.s.PGSQL.5432` in a directory of mode 0700."""
        return self._postmaster.socket

    def connect(self, user: str, password: str, database: str) -> psycopg.Connection:
        """A connection over the socket, in autocommit. Raises psycopg.OperationalError."""
        return connect(self.socket, user, password, database)

    def start(self) -> None:
        """Starts the server and fills it. Blocks for about two seconds."""
        self._postmaster.start(self.superuser_password)
        try:
            self._fill()
        except BaseException:  # also KeyboardInterrupt
            self.stop()
            raise

    def stop(self) -> None:
        """Stops the server and removes its files."""
        self._postmaster.stop()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _fill(self) -> None:
        with self.connect(self.superuser, self.superuser_password, "postgres") as connection:
            _make_roles(connection, self.broker_password)
        for database in GROUPS:
            with self.connect(self.superuser, self.superuser_password, database) as connection:
                script = resources.files("airtunnel.demo").joinpath(f"templates/{database}.sql").read_text("utf-8")
                connection.execute(script)


def _make_roles(connection: psycopg.Connection, broker_password: str) -> None:
    """The databases, their group roles and the broker.

    WITH ADMIN lets the broker give a group to the logins it makes. It inherits the groups too: REASSIGN OWNED, with which it
    clears up after a login that left tables, asks for the rights of both sides.
    """
    # A verifier, so that the password itself is in no statement and no log.
    verifier = connection.pgconn.encrypt_password(broker_password.encode(), BROKER.encode(), b"scram-sha-256").decode()
    broker = sql.Identifier(BROKER)
    connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}").format(broker, verifier))
    connection.execute(sql.SQL("GRANT pg_signal_backend TO {}").format(broker))
    for name, role in GROUPS.items():
        database, group = sql.Identifier(name), sql.Identifier(role)
        for statement in (
            "CREATE ROLE {group} NOLOGIN",
            "GRANT {group} TO {broker} WITH ADMIN TRUE, INHERIT TRUE, SET TRUE",
            "CREATE DATABASE {database}",
            # CONNECT stays with PUBLIC: it is asked for before a temporary login that is NOINHERIT takes on its group.
            "REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC",
            "GRANT TEMPORARY ON DATABASE {database} TO {group}",
        ):
            connection.execute(sql.SQL(statement).format(group=group, broker=broker, database=database))
