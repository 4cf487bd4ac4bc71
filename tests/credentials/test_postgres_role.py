"""Temporary roles against real servers."""

import asyncio
import logging
import traceback
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest

from airtunnel.credentials.postgres_role import PostgresRoles
from airtunnel.credentials.source import Loan
from airtunnel.errors import CredentialUnavailable
from airtunnel.model import Address, Lease, Principal, PrincipalKind, Tags, Target
from tests.credentials.conftest import BROKER_PASSWORD, make_loan, rewrite, role_target
from tests.credentials.contract import SourceContract
from tests.postgres_server import PostgresServer


class TestPostgresRoles(SourceContract):
    @pytest.fixture
    def source(self, roles: PostgresRoles) -> PostgresRoles:
        return roles

    @pytest.fixture
    def loan(self, orders: Target) -> Loan:
        return make_loan(orders)

    @pytest.fixture
    def hopeless(self, tmp_path: Path, password_file: Path) -> Loan:
        return make_loan(role_target(Address(path=str(tmp_path / "nobody-listens")), password_file))


def exists(server: PostgresServer, role: str) -> bool:
    return server.run(f"SELECT count(*) FROM pg_roles WHERE rolname = '{role}'") == [(1,)]


def owner(server: PostgresServer, table: str, database: str = "orders") -> str:
    return str(server.run(f"SELECT tableowner FROM pg_tables WHERE tablename = '{table}'", database=database)[0][0])


async def test_who_logs_in_is_the_lease_and_acts_as_the_group(
    server: PostgresServer, roles: PostgresRoles, orders: Target
) -> None:
    loan = make_loan(orders)
    lease = await roles.lend(loan)
    assert lease.user == f"at_e_{loan.lease_id}"
    with server.log_in(lease.user, lease.password, "orders") as connection:
        assert connection.execute("SELECT session_user, current_user").fetchone() == (lease.user, "app_rw")


async def test_what_a_lease_creates_belongs_to_the_group_and_outlives_it(
    server: PostgresServer, roles: PostgresRoles, orders: Target
) -> None:
    loan = make_loan(orders)
    lease = await roles.lend(loan)
    with server.log_in(lease.user, lease.password, "orders") as connection:
        connection.execute(f"CREATE TABLE kept_{lease.id} ()".encode())
    await roles.take_back(orders, lease.id)
    assert owner(server, f"kept_{lease.id}") == "app_rw"
    assert not exists(server, lease.user)


async def test_a_live_session_ends_when_its_lease_is_taken_back(
    server: PostgresServer, roles: PostgresRoles, orders: Target
) -> None:
    lease = await roles.lend(make_loan(orders))
    with server.log_in(lease.user, lease.password, "orders") as connection:
        await roles.take_back(orders, lease.id)
        with pytest.raises(psycopg.OperationalError, match="terminating connection"):
            connection.execute("SELECT 1")
    assert not exists(server, lease.user)
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        server.log_in(lease.user, lease.password, "orders")


@pytest.mark.parametrize("role", ["app_rw", "narrow", 'odd "group" \'\\'])
async def test_what_the_lease_itself_owns_goes_to_the_group_in_every_database(
    server: PostgresServer, roles: PostgresRoles, orders: Target, password_file: Path, role: str
) -> None:
    target = role_target(orders.address, password_file, role=role)
    lease = await roles.lend(make_loan(target))
    for database in ("orders", "other"):
        with server.log_in(lease.user, lease.password, database) as connection:
            connection.execute("SET ROLE NONE")
            connection.execute(f"CREATE TABLE mine_{lease.id} ()".encode())
    await roles.take_back(target, lease.id)
    assert not exists(server, lease.user)
    assert [owner(server, f"mine_{lease.id}", database) for database in ("orders", "other")] == [role, role]


async def test_the_broker_keeps_no_membership_that_it_took_to_clean_up(
    server: PostgresServer, roles: PostgresRoles, orders: Target, password_file: Path
) -> None:
    target = role_target(orders.address, password_file, role="narrow")
    lease = await roles.lend(make_loan(target))
    with server.log_in(lease.user, lease.password, "orders") as connection:
        connection.execute("SET ROLE NONE")
        connection.execute(f"CREATE TABLE owned_{lease.id} ()".encode())
    await roles.take_back(target, lease.id)
    memberships = "SELECT grantor::regrole::text, admin_option, inherit_option, set_option FROM pg_auth_members"
    found = server.run(f"{memberships} WHERE member = 'broker'::regrole AND roleid = 'narrow'::regrole")
    assert found == [("postgres", True, False, False)]


async def test_a_lease_that_cannot_be_dropped_can_no_longer_log_in(
    server: PostgresServer, roles: PostgresRoles, orders: Target
) -> None:
    lease = await roles.lend(make_loan(orders))
    server.run(f"CREATE TABLE kept_{lease.id} ()", f"ALTER TABLE kept_{lease.id} OWNER TO {lease.user}", database="orders")
    server.run(f"REVOKE app_rw FROM {lease.user} GRANTED BY broker")
    with pytest.raises(CredentialUnavailable, match=f"cannot take back {lease.user} of orders-db"):
        await roles.take_back(orders, lease.id)
    with pytest.raises(psycopg.OperationalError, match="not permitted to log in"):
        server.log_in(lease.user, lease.password, "orders")
    server.run(f"DROP TABLE kept_{lease.id}", database="orders")
    await roles.take_back(orders, lease.id)


async def test_what_a_lease_says_of_itself_does_not_decide_who_inherits(
    server: PostgresServer, roles: PostgresRoles, orders: Target
) -> None:
    lease = await roles.lend(make_loan(orders))
    with server.log_in(lease.user, lease.password, "orders") as connection:
        connection.execute("SET ROLE NONE")
        connection.execute(f"CREATE TABLE trap_{lease.id} ()".encode())
        connection.execute("ALTER ROLE CURRENT_USER SET role = 'narrow'")
    await roles.take_back(orders, lease.id)
    assert owner(server, f"trap_{lease.id}") == "app_rw"


async def test_a_lease_whose_time_is_over_cannot_log_in_and_is_swept(
    server: PostgresServer, roles: PostgresRoles, orders: Target
) -> None:
    living, expired = await roles.lend(make_loan(orders)), await roles.lend(make_loan(orders, lasting=timedelta(seconds=-1)))
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        server.log_in(expired.user, expired.password, "orders")
    assert await roles.sweep(orders) == 1
    assert (exists(server, expired.user), exists(server, living.user)) == (False, True)


async def test_two_gateways_may_sweep_at_once(server: PostgresServer, roles: PostgresRoles, orders: Target) -> None:
    expired = [await roles.lend(make_loan(orders, lasting=timedelta(seconds=-1))) for _ in range(5)]
    other = PostgresRoles()
    try:
        counts = await asyncio.gather(roles.sweep(orders), other.sweep(orders), other.sweep(orders))
    finally:
        await other.aclose()
    assert sum(counts) == len(expired)
    assert not any(exists(server, lease.user) for lease in expired)


async def test_sweeping_passes_over_a_role_that_cannot_be_dropped(
    server: PostgresServer, roles: PostgresRoles, orders: Target, caplog: pytest.LogCaptureFixture
) -> None:
    stuck, other = [await roles.lend(make_loan(orders, lasting=timedelta(seconds=-1))) for _ in range(2)]
    server.run(f"CREATE TABLE held_{stuck.id} ()", f"ALTER TABLE held_{stuck.id} OWNER TO {stuck.user}", database="orders")
    server.run(f"REVOKE app_rw FROM {stuck.user} GRANTED BY broker")
    assert await roles.sweep(orders) == 1
    assert exists(server, stuck.user)
    assert not exists(server, other.user)
    assert f"cannot drop {stuck.user}" in caplog.text
    server.run(f"DROP TABLE held_{stuck.id}", database="orders")
    await roles.take_back(orders, stuck.id)


async def test_the_comment_says_for_whom_and_nothing_in_it_can_break_out(
    server: PostgresServer, roles: PostgresRoles, orders: Target
) -> None:
    hostile = Principal(PrincipalKind.PERSON, "https://id.example.com", "u-2", "eve'; DROP ROLE app_rw; --\n\x1b[2J\u202e")
    loan = replace(make_loan(orders, tags=Tags(dag_id="a\\' || 1", task_id="täsk", run_id="$1 %I")), principal=hostile)
    lease = await roles.lend(loan)
    [(comment,)] = server.run(f"SELECT shobj_description('{lease.user}'::regrole, 'pg_authid')")
    assert comment == ("eve'; DROP ROLE app_rw; --  [2J  session=s-1 dag=a\\' || 1 task=t\\xe4sk run=$1 %I")
    assert exists(server, "app_rw")


async def test_a_lease_cannot_open_connections_without_end(
    server: PostgresServer, roles: PostgresRoles, orders: Target
) -> None:
    lease = await roles.lend(make_loan(orders))
    assert server.run(f"SELECT rolconnlimit FROM pg_roles WHERE rolname = '{lease.user}'") == [(20,)]


@pytest.mark.parametrize("lease_id", ["", "0123456789AB", "0123456789abc", "0123456789ab\n", "x' OR 'x", "broker"])
async def test_only_what_looks_like_a_lease_is_ever_dropped(roles: PostgresRoles, orders: Target, lease_id: str) -> None:
    with pytest.raises(CredentialUnavailable, match="not 12 hex digits"):
        await roles.take_back(orders, lease_id)


async def test_a_group_that_may_not_be_lent_is_named_with_what_is_missing(
    roles: PostgresRoles, orders: Target, password_file: Path
) -> None:
    with pytest.raises(CredentialUnavailable, match=r"no login for orders-db: permission denied.*stranger") as caught:
        await roles.lend(make_loan(role_target(orders.address, password_file, role="stranger")))
    assert "WITH ADMIN OPTION" in str(caught.value.hint)


async def test_a_failed_loan_leaves_no_role(
    server: PostgresServer, roles: PostgresRoles, orders: Target, password_file: Path
) -> None:
    loan = make_loan(role_target(orders.address, password_file, role="no such group"))
    with pytest.raises(CredentialUnavailable, match='"no such group" does not exist'):
        await roles.lend(loan)
    assert not exists(server, f"at_e_{loan.lease_id}")


async def test_a_changed_admin_password_is_read_again(
    server: PostgresServer, roles: PostgresRoles, orders: Target, password_file: Path
) -> None:
    rewrite(password_file, "wrong")
    with pytest.raises(CredentialUnavailable, match='password authentication failed for user "broker"'):
        await roles.lend(make_loan(orders))
    rewrite(password_file, BROKER_PASSWORD)
    assert await roles.lend(make_loan(orders))


async def test_a_cut_broker_connection_is_made_anew(server: PostgresServer, roles: PostgresRoles, orders: Target) -> None:
    for _ in range(3):
        await asyncio.gather(*(roles.lend(make_loan(orders)) for _ in range(4)))
        server.run("SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity WHERE usename = 'broker'")
    assert await roles.lend(make_loan(orders))


async def test_many_may_borrow_and_give_back_at_once(server: PostgresServer, roles: PostgresRoles, orders: Target) -> None:
    leases = await asyncio.gather(*(roles.lend(make_loan(orders)) for _ in range(20)))
    await asyncio.gather(*(roles.take_back(orders, lease.id) for lease in leases))
    assert not any(exists(server, lease.user) for lease in leases)


async def test_a_hostile_function_in_public_is_not_called_by_the_broker(
    server: PostgresServer, roles: PostgresRoles, orders: Target
) -> None:
    name = f"trap_{datetime.now(UTC):%H%M%S%f}"
    server.run(
        f"CREATE TABLE {name} (who text)",
        f"CREATE FUNCTION public.format(text, VARIADIC text[]) RETURNS text LANGUAGE sql AS "
        f"$$ INSERT INTO {name} VALUES (current_user) RETURNING 'SELECT 1' $$",
        f"GRANT ALL ON {name} TO public",
        database="orders",
    )
    try:
        await roles.lend(make_loan(orders))
        assert server.run(f"SELECT * FROM {name}", database="orders") == []
    finally:
        server.run("DROP FUNCTION public.format(text, text[])", f"DROP TABLE {name}", database="orders")


async def test_no_secret_reaches_a_log_an_error_or_the_server(
    server: PostgresServer,
    roles: PostgresRoles,
    orders: Target,
    password_file: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    written: list[str] = []

    async def spoil(loan: Loan) -> None:
        with pytest.raises(CredentialUnavailable) as caught:
            await roles.lend(loan)
        written.append("".join(traceback.format_exception(caught.value)))

    lease: Lease = await roles.lend(make_loan(orders))
    with server.log_in(lease.user, lease.password, "orders"):
        await roles.take_back(orders, lease.id)
    await spoil(make_loan(role_target(orders.address, password_file, role="stranger")))
    again = make_loan(orders)
    await roles.lend(again)
    await spoil(again)
    written += [caplog.text, server.log, repr(roles), repr(vars(roles)), repr(lease)]
    assert f"at_e_{lease.id}" in server.log
    for secret in (lease.password, BROKER_PASSWORD):
        assert not [text for text in written if secret in text.replace(f"PASSWORD '{BROKER_PASSWORD}'", "")]
