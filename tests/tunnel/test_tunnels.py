"""Every driver that people use, through everything."""

import asyncio
import hashlib
import io
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import psycopg2  # type: ignore[import-untyped]  # its stubs are no dependency of ours
import pytest
import sqlalchemy as sa

from airtunnel.errors import LoginRequired, Refused, Unreachable
from airtunnel.identity.present import StoredLogin
from airtunnel.identity.store import MemoryStore
from airtunnel.model import Protocol, Tags
from airtunnel.tunnel.account import Account
from airtunnel.tunnel.listen import Bind
from airtunnel.tunnel.tunnels import Tunnels, Way
from airtunnel.wire.control import GrantedTarget
from tests.lab import POLICY, Lab

ROWS = 1000


def by_psycopg(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as one:
        one.execute("CREATE TEMP TABLE t (a int, b text)")
        one.execute("INSERT INTO t VALUES (%s, %s)", [1, "é"])
        with one.cursor().copy("COPY t FROM STDIN") as copy:
            for number in range(ROWS):
                copy.write_row((number, "x" * 100))
        with one.cursor().copy("COPY t TO STDOUT") as copy:
            assert len(list(copy.rows())) == ROWS + 1
        one.execute("LISTEN news")
        one.execute("SELECT pg_notify('news', 'hello')")
        assert next(one.notifies(timeout=5)).payload == "hello"
        with pytest.raises(psycopg.errors.DivisionByZero):
            one.execute("SELECT 1 / 0")
        assert one.execute("SELECT count(*) FROM t").fetchone() == (ROWS + 1,)


def by_psycopg2(url: str) -> None:
    one = psycopg2.connect(url)
    try:
        one.autocommit = True
        with one.cursor() as cursor:
            cursor.execute("CREATE TEMP TABLE t (a int)")
            cursor.execute("INSERT INTO t VALUES (%s)", [1])
            cursor.copy_expert("COPY t FROM STDIN", io.StringIO("2\n3\n"))
            out = io.StringIO()
            cursor.copy_expert("COPY t TO STDOUT", out)
            assert out.getvalue() == "1\n2\n3\n"
            cursor.execute("LISTEN news")
            cursor.execute("NOTIFY news, 'hello'")
            one.poll()
            assert [notice.payload for notice in one.notifies] == ["hello"]
            with pytest.raises(psycopg2.errors.DivisionByZero):
                cursor.execute("SELECT 1 / 0")
    finally:
        one.close()


def by_asyncpg(url: str) -> None:
    async def work() -> None:
        one = await asyncpg.connect(url, ssl=False)
        try:
            await one.execute("CREATE TEMP TABLE t (a int)")
            await one.execute("INSERT INTO t VALUES ($1)", 1)
            await one.copy_records_to_table("t", records=[(number,) for number in range(ROWS)])
            assert await one.fetchval("SELECT count(*) FROM t") == ROWS + 1
            heard: asyncio.Future[object] = asyncio.get_running_loop().create_future()
            await one.add_listener("news", lambda *words: heard.set_result(words[3]))
            await one.execute("NOTIFY news, 'hello'")
            assert await asyncio.wait_for(heard, 5) == "hello"
            await one.reset()
            with pytest.raises(asyncpg.DivisionByZeroError):
                await one.fetchval("SELECT 1 / 0")
            with pytest.raises(TimeoutError):
                await one.fetchval("SELECT pg_sleep(30)", timeout=0.2)
            assert await one.fetchval("SELECT 1", timeout=5) == 1
        finally:
            await one.close()

    asyncio.run(work())


def by_sqlalchemy(url: str) -> None:
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    try:
        with engine.begin() as one:
            one.execute(sa.text("CREATE TEMP TABLE t (a int)"))
            one.execute(sa.text("INSERT INTO t VALUES (:a)"), [{"a": 1}, {"a": 2}])
            assert one.scalar(sa.text("SELECT sum(a) FROM t")) == 3
        assert "orders" in sa.inspect(engine).get_table_names()
        with pytest.raises(sa.exc.DBAPIError, match="division by zero"), engine.connect() as one:
            one.execute(sa.text("SELECT 1 / 0"))
    finally:
        engine.dispose()


@pytest.mark.parametrize("work", [by_psycopg, by_psycopg2, by_asyncpg, by_sqlalchemy])
async def test_a_driver_works_through_the_tunnel(lab: Lab, work: Any) -> None:  # Any: one of the above
    async with lab.gateway() as site, Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels:
        way = await tunnels.listen("warehouse")
        await asyncio.to_thread(work, way.url)


@pytest.mark.skipif(shutil.which("psql") is None, reason="there is no psql")
async def test_psql_works_through_port_and_socket(lab: Lab) -> None:
    with tempfile.TemporaryDirectory(prefix="at-") as near:
        async with lab.gateway() as site, Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels:
            for bind in (Bind(), Bind(path=Path(near) / "db")):
                way = await tunnels.listen("warehouse", bind)
                psql = await asyncio.create_subprocess_exec(
                    "psql", "-X", "-At", "-c", "SELECT 1", "-c", "SELECT 1/0", "-c", "SELECT current_user", way.url,
                    stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, env={"PATH": os.environ["PATH"]},
                )  # fmt: skip
                out, error = await psql.communicate()
                assert out.decode().split() == ["1", "shop_rw"]
                assert b"division by zero" in error


async def test_fifty_megabytes_come_through_unchanged_both_ways(lab: Lab) -> None:
    query = "SELECT md5(g::text) || repeat('x', 960) FROM generate_series(1, 50000) g"
    async with lab.gateway() as site, Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels:
        way = await tunnels.listen("warehouse")

        def carry() -> tuple[str, str, int]:
            down, count = hashlib.sha256(), 0
            with psycopg.connect(way.url, autocommit=True) as one, psycopg.connect(way.url, autocommit=True) as two:
                two.execute("CREATE TEMP TABLE t (n serial, a text)")
                with (
                    one.cursor().copy(f"COPY ({query}) TO STDOUT") as source,
                    two.cursor().copy("COPY t (a) FROM STDIN") as sink,
                ):
                    for block in source:
                        down.update(block)
                        count += len(block)
                        sink.write(block)
                up = hashlib.sha256()
                with two.cursor().copy("COPY (SELECT a FROM t ORDER BY n) TO STDOUT") as again:
                    for block in again:
                        up.update(block)
            return down.hexdigest(), up.hexdigest(), count

        first, second, count = await asyncio.to_thread(carry)
    expected = hashlib.sha256()
    for number in range(1, 50001):
        digest = hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()
        expected.update(f"{digest}{'x' * 960}\n".encode())
    assert first == second == expected.hexdigest()
    assert count > 49_000_000
    carried = max(site.records("connection.closed"), key=lambda one: int(one["bytes_down"]))
    assert carried["bytes_down"] > count


async def test_a_test_tells_what_stands_in_the_way(lab: Lab) -> None:
    async with lab.gateway() as site, Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels:
        await tunnels.test("warehouse")
    nowhere = POLICY.replace("database: shop", "database: nowhere")
    async with (
        lab.gateway(nowhere, name="other") as site,
        Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels,
    ):
        with pytest.raises(Unreachable, match=r'^postgres-role gave no login for warehouse: database "nowhere" does not exist'):
            await tunnels.test("warehouse")


async def test_a_test_on_a_link_that_breaks_says_so(lab: Lab) -> None:
    async with lab.gateway() as site, Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels:
        testing = asyncio.ensure_future(tunnels.test("warehouse"))
        while not site.records("connection.opened"):
            await asyncio.sleep(0)
        assert tunnels.link._connection is not None
        tunnels.link._connection.abort()
        with pytest.raises(Unreachable):
            await asyncio.wait_for(testing, 5)
        with pytest.raises(Unreachable, match="link to the gateway"):
            await tunnels.test("warehouse")


async def test_refused_targets_open_nothing(lab: Lab) -> None:
    async with lab.gateway() as site:
        with pytest.raises(Refused, match="payroll") as refused:
            async with Tunnels.open(await site.account("ana"), ["warehouse", "payroll"], Tags()):
                pass
        assert refused.value.place.startswith("policy/policy.yaml:")
        stranger = Account(
            site.address, site.published, StoredLogin(MemoryStore(), site.address, site.directory / "client"), site.ca
        )
        with pytest.raises(LoginRequired):
            async with Tunnels.open(stranger, ["warehouse"], Tags()):
                pass
        assert len(site.gateway.sessions) == 0


@pytest.mark.parametrize(
    ("way", "url"),
    [
        (Way(GrantedTarget("w", Protocol.POSTGRES, "r", "p"), "a@b/c", "p:w", "127.0.0.1", 5), "postgresql://a%40b%2Fc:p%3Aw@127.0.0.1:5/postgres"),
        (Way(GrantedTarget("w", Protocol.POSTGRES, "r", "p", "sh op"), "a", "p", path="/d/.s.PGSQL.5432"), "postgresql://a@/sh%20op?host=/d"),
        (Way(GrantedTarget("w", Protocol.TCP, "r", "p"), "a", "p", "127.0.0.1", 5), "tcp://127.0.0.1:5"),
        (Way(GrantedTarget("w", Protocol.TCP, "r", "p"), "a", "p", path="/d/w.sock"), "unix:/d/w.sock"),
    ],
)  # fmt: skip
def test_a_way_is_a_url(way: Way, url: str) -> None:
    assert way.url == url
