import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from psycopg import errors, sql

from airtunnel.credentials.postgres_role import PostgresRoles
from airtunnel.credentials.source import Loan
from airtunnel.demo.database import PrivateDatabase
from airtunnel.demo.files import write_files
from airtunnel.model import Principal, PrincipalKind, Tags
from airtunnel.policy.load import load_policy

ROLE = sql.Identifier("at_e_0123456789ab")
LOGIN, PASSWORD = "at_e_0123456789ab", "lease"


@pytest.fixture
def broker(database: PrivateDatabase) -> Iterator[psycopg.Connection]:
    with database.connect(database.broker_user, database.broker_password, "shop") as connection:
        yield connection


@pytest.fixture(params=["INHERIT", "NOINHERIT"])
def lease(broker: psycopg.Connection, request: pytest.FixtureRequest) -> Iterator[str]:
    """A temporary login for the shop, made as the gateway makes one."""
    verifier = broker.pgconn.encrypt_password(PASSWORD.encode(), LOGIN.encode(), b"scram-sha-256").decode()
    until = datetime.now(UTC) + timedelta(hours=1)
    with broker.transaction():
        broker.execute(
            sql.SQL("CREATE ROLE {} LOGIN {} PASSWORD {} VALID UNTIL {} CONNECTION LIMIT 20 IN ROLE shop_rw").format(
                ROLE, sql.SQL(request.param), verifier, until.isoformat()
            )
        )
        broker.execute(sql.SQL("ALTER ROLE {} SET role = 'shop_rw'").format(ROLE))
        broker.execute(sql.SQL("COMMENT ON ROLE {} IS 'ana@example.com dag=shop_report'").format(ROLE))
    yield LOGIN
    broker.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(ROLE))


def test_it_is_up_within_five_seconds(tmp_path: Path) -> None:
    began = time.monotonic()
    with PrivateDatabase(tmp_path):
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("user", ["postgres", "broker"])
@pytest.mark.parametrize("password", ["", "guess"])
def test_nobody_gets_in_without_the_password(database: PrivateDatabase, user: str, password: str) -> None:
    with pytest.raises(psycopg.OperationalError, match=r"no password supplied|password authentication failed"):
        database.connect(user, password, "postgres")


def test_its_passwords_are_in_no_repr_and_no_log(database: PrivateDatabase) -> None:
    log = (database.socket.parent / "log").read_text()
    for password in (database.superuser_password, database.broker_password):
        assert len(password) >= 32
        assert password not in repr(database) + log


def test_its_only_rule_asks_everybody_for_scram(database: PrivateDatabase) -> None:
    with database.connect(database.superuser, database.superuser_password, "postgres") as connection:
        rules = connection.execute("SELECT type, database, user_name, auth_method FROM pg_hba_file_rules").fetchall()
    assert rules == [("local", ["all"], ["all"], "scram-sha-256")]


def test_the_sample_data_is_the_same_each_time(database: PrivateDatabase) -> None:
    with database.connect(database.superuser, database.superuser_password, "shop") as shop:
        assert shop.execute("SELECT count(*), count(DISTINCT city) FROM customers").fetchone() == (200, 8)
        orders = shop.execute("SELECT count(*), sum(amount), count(DISTINCT customer_id) FROM orders").fetchone()
        assert orders == (600, Decimal("82980.00"), 200)
    with database.connect(database.superuser, database.superuser_password, "payroll") as payroll:
        assert payroll.execute("SELECT count(*) FROM salaries").fetchone() == (24,)


def test_the_broker_is_no_superuser(broker: psycopg.Connection) -> None:
    row = broker.execute("SELECT rolsuper, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user").fetchone()
    assert row == (False, True, False)
    with pytest.raises(errors.InsufficientPrivilege):
        broker.execute("GRANT pg_read_all_data TO shop_rw")


def test_a_lease_reads_and_writes_the_shop_and_its_tables_belong_to_the_group(database: PrivateDatabase, lease: str) -> None:
    with database.connect(lease, PASSWORD, "shop") as shop:
        assert shop.execute("SELECT session_user, current_user").fetchone() == (lease, "shop_rw")
        with shop.transaction(force_rollback=True):
            assert shop.execute("UPDATE orders SET quantity = 9 WHERE id = 1").rowcount == 1
            assert shop.execute("DELETE FROM orders WHERE id = 2").rowcount == 1
            shop.execute("CREATE TABLE report (city text)")
            owner = shop.execute("SELECT tableowner FROM pg_tables WHERE tablename = 'report'").fetchone()
            assert owner == ("shop_rw",)


def test_a_lease_for_the_shop_cannot_touch_payroll(database: PrivateDatabase, lease: str) -> None:
    with database.connect(lease, PASSWORD, "payroll") as payroll:
        for statement in ("SELECT * FROM public.salaries", "SET ROLE payroll_ro", "CREATE TABLE public.mine ()"):
            with pytest.raises(errors.InsufficientPrivilege):
                payroll.execute(statement)


def test_a_lease_for_payroll_reads_it_and_writes_nothing(database: PrivateDatabase, broker: psycopg.Connection) -> None:
    broker.execute("CREATE ROLE at_e_pay LOGIN PASSWORD 'lease' IN ROLE payroll_ro")
    try:
        with database.connect("at_e_pay", PASSWORD, "payroll") as payroll:
            assert payroll.execute("SELECT count(*) FROM salaries").fetchone() == (24,)
            with pytest.raises(errors.InsufficientPrivilege):
                payroll.execute("UPDATE salaries SET monthly = 1")
    finally:
        broker.execute("DROP ROLE at_e_pay")


def test_the_broker_ends_and_drops_a_lease_in_use(database: PrivateDatabase, broker: psycopg.Connection, lease: str) -> None:
    with database.connect(lease, PASSWORD, "shop") as shop:
        broker.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(ROLE))
        ended = broker.execute("SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE usename = %s", (lease,))
        assert ended.fetchall() == [(True,)]
        broker.execute(sql.SQL("DROP ROLE {}").format(ROLE))
        with pytest.raises(psycopg.OperationalError):
            shop.execute("SELECT 1")
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        database.connect(lease, PASSWORD, "shop")


def test_the_broker_clears_up_after_a_lease_that_owned_something(
    database: PrivateDatabase, broker: psycopg.Connection, lease: str
) -> None:
    with database.connect(database.superuser, database.superuser_password, "shop") as shop:
        shop.execute(sql.SQL("CREATE TABLE left_behind (); ALTER TABLE left_behind OWNER TO {}").format(ROLE))
    with pytest.raises(errors.DependentObjectsStillExist):
        broker.execute(sql.SQL("DROP ROLE {}").format(ROLE))
    broker.execute(sql.SQL("GRANT {} TO CURRENT_USER").format(ROLE))
    broker.execute(sql.SQL("REASSIGN OWNED BY {} TO shop_rw").format(ROLE))
    broker.execute(sql.SQL("DROP OWNED BY {}").format(ROLE))
    broker.execute(sql.SQL("DROP ROLE {}").format(ROLE))
    broker.execute("DROP TABLE left_behind")


@pytest.mark.parametrize(("name", "query"), [("warehouse", "orders"), ("payroll", "salaries"), ("flash-sale", "customers")])
async def test_the_gateways_source_lends_a_login_for_each_target(
    database: PrivateDatabase, tmp_path: Path, name: str, query: str
) -> None:
    files = write_files(
        tmp_path,
        issuer="http://127.0.0.1:5556",
        client_id="airtunnel",
        audience="airtunnel-gateway",
        https_port=8443,
        ssh_port=2222,
        socket=database.socket,
        broker_user=database.broker_user,
        broker_password=database.broker_password,
    )
    target = load_policy(files.policy.parent).targets[name]
    fin = Principal(PrincipalKind.PERSON, "http://127.0.0.1:5556", "fin", "fin@example.com")
    source = PostgresRoles()
    try:
        loan = Loan("0123456789cd", target, fin, "session", Tags(), datetime.now(UTC) + timedelta(hours=1))
        lease = await source.lend(loan)
        assert target.database is not None
        with database.connect(lease.user, lease.password, target.database) as connection:
            assert connection.execute(sql.SQL("SELECT count(*) > 0 FROM {}").format(sql.Identifier(query))).fetchone() == (
                True,
            )
        await source.take_back(target, lease.id)
        with pytest.raises(psycopg.OperationalError):
            database.connect(lease.user, lease.password, target.database)
    finally:
        await source.aclose()
