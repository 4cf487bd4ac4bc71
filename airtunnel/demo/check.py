"""`demo --check`: the whole job without a person, step by step; every step says what it saw.

login -> connect -> query -> write -> refused -> expired -> [airflow] -> clean -> audit
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from airtunnel.audit.file import verify_file
from airtunnel.config.client import ClientConfig, Context
from airtunnel.demo.airflow import run_airflow
from airtunnel.demo.people import PEOPLE
from airtunnel.demo.person import approve
from airtunnel.demo.stage import Stage, open_stage
from airtunnel.errors import AirtunnelError, Ended
from airtunnel.identity.login.device import DevicePrompt
from airtunnel.identity.login.drive import log_in
from airtunnel.identity.present import StoredLogin
from airtunnel.identity.published import fetch_published
from airtunnel.identity.store import open_store
from airtunnel.identity.tokens import save_tokens
from airtunnel.model import Protocol, Tags
from airtunnel.tunnel.account import Account
from airtunnel.tunnel.listen import Bind, Listener
from airtunnel.tunnel.tunnels import Tunnels, Way

CLEAN_LIMIT = 10.0
"""Seconds in which every role must be gone after its session."""
OPENED = ["grant.issued", "session.opened"]
ENDED = ["lease.returned", "session.closed"]
CONNECTION = ["connection.opened", "connection.closed"]
FIRST = ["connection.opened", "lease.lent", "connection.closed"]


class StepFailed(AirtunnelError):
    """A step of the check did not hold."""

    code = "step_failed"


@dataclass(frozen=True, slots=True)
class Step:
    """One step that held: its name, how long it took, what was seen."""

    name: str
    seconds: float
    seen: str


class Check:
    """The job, with what one step leaves for the next."""

    def __init__(self, directory: Path, airflow: Path | None) -> None:
        self._directory = directory
        self._airflow = airflow
        self._stage: Stage
        self._account: Account
        self._tunnels: Tunnels
        self._way: Way
        self._session: contextlib.AsyncExitStack
        self._expected: list[list[str]] = []
        """The audit's records of each session, in the order of the sessions."""

    async def run(self) -> AsyncGenerator[Step, None]:
        """The steps, as they are done. Raises StepFailed, or whatever went wrong."""
        steps = [self.log_in, self.connect, self.query, self.write, self.refused, self.expired]
        steps += [self.airflow] if self._airflow else []
        async with contextlib.AsyncExitStack() as stack:
            self._session = await stack.enter_async_context(contextlib.AsyncExitStack())
            began = time.monotonic()
            self._stage = await self._session.enter_async_context(open_stage(self._directory))
            yield Step("start", time.monotonic() - began, f"provider, private PostgreSQL, gateway at {self._stage.address}")
            for step in (*steps, self.clean):
                began = time.monotonic()
                seen = await step()
                yield Step(step.__name__, time.monotonic() - began, seen)
        began = time.monotonic()
        yield Step("audit", time.monotonic() - began, self.audit())

    async def log_in(self) -> str:
        """Ana logs in through the provider's own pages."""
        stage, ana = self._stage, PEOPLE[0]
        published = await fetch_published(stage.address, ca=stage.ca)
        pages: list[asyncio.Task[str]] = []

        def show(prompt: DevicePrompt) -> None:
            address = prompt.verification_uri_complete or prompt.verification_uri
            pages.append(asyncio.ensure_future(asyncio.to_thread(approve, address, ana.login, ana.password)))

        tokens = await log_in(published, show=show)
        await asyncio.gather(*pages)
        store = open_store("file", stage.client / "state" / "tokens")
        save_tokens(store, published, stage.address, tokens)
        self._account = Account(stage.address, published, StoredLogin(store, stage.address, stage.client / "state"), stage.ca)
        _hold(tokens.name == ana.email, f"the login is of {tokens.name}")
        return f"{tokens.name} through the device page of {published.issuer}"

    async def connect(self) -> str:
        """A grant, a link, a first login through everything, then a local port."""
        self._tunnels = await self._session.enter_async_context(Tunnels.open(self._account, ["warehouse"], Tags(reason="demo")))
        await self._tunnels.test("warehouse")
        self._way = await self._tunnels.listen("warehouse")
        rule = self._way.target
        self._expected.append([*OPENED, *FIRST, *CONNECTION, *CONNECTION, "refused", *ENDED])
        return f"warehouse at {self._way.host}:{self._way.port}, rule {rule.rule} ({rule.place})"

    async def query(self) -> str:
        """A query, as a role that did not exist a second ago."""
        rows = await _ask(self._way.url, "SELECT count(*), session_user, current_user FROM orders")
        count, role, group = rows[0]
        _hold(count > 0 and role.startswith("at_e_") and group == "shop_rw", f"unexpected: {rows[0]}")
        return f"{count} orders, as {role} in {group}"

    async def write(self) -> str:
        """A write, kept."""
        await _ask(self._way.url, "CREATE TABLE demo_notes AS SELECT 'written through the tunnel'::text AS note")
        database = self._stage.database
        with database.connect(database.superuser, database.superuser_password, "shop") as direct:
            row = direct.execute("SELECT note, tableowner FROM demo_notes, pg_tables WHERE tablename = 'demo_notes'").fetchone()
        _hold(row == ("written through the tunnel", "shop_rw"), f"the database has {row}")
        return "a row in a new table, which belongs to shop_rw"

    async def refused(self) -> str:
        """A target that ana may not reach: the database driver shows the rule, with file and line."""
        policy = self._stage.files.policy.read_text().splitlines()
        line = next(at for at, text in enumerate(policy, 1) if "name: payroll-is-for-finance" in text)
        link = self._tunnels.link
        listener = Listener("payroll", Protocol.POSTGRES, lambda: link.open_channel("payroll"))
        await listener.start(Bind())
        try:
            url = f"postgresql://ana:{listener.password}@{listener.host}:{listener.port}/payroll"
            error = await _fail(url, "SELECT 1")
        finally:
            await listener.close()
        for wanted in ("payroll-is-for-finance", f"policy/shop.yaml:{line}", "needs group finance", "data-eng"):
            _hold(wanted in error, f"`{wanted}` is missing in: {error}")
        return error.splitlines()[0].partition("FATAL:")[2].strip()

    async def expired(self) -> str:
        """A session of four seconds, in the middle of a query."""
        await self._tunnels.close()
        async with Tunnels.open(self._account, ["flash-sale"], Tags()) as tunnels:
            way = await tunnels.listen("flash-sale")
            error = await _fail(way.url, "SELECT pg_sleep(60)", psycopg.errors.AdminShutdown)
            await asyncio.wait_for(tunnels.link.over.wait(), CLEAN_LIMIT)
            ending = tunnels.link.error
        _hold("expired" in error and isinstance(ending, Ended), f"{error}; {ending!r}")
        self._expected.append([*OPENED, *FIRST, *ENDED])
        return f"57P01 {error.splitlines()[0]}"

    async def airflow(self) -> str:
        """A developer's `airflow tasks test`, for both tasks of the DAG."""
        assert self._airflow is not None
        _save_context(self._stage, self._account)
        seen = await run_airflow(self._stage, self._airflow)
        # SQLExecuteQueryOperator and PostgresHook open as many connections as they like; each is opened and closed.
        self._expected += [[*OPENED, "*", *ENDED]] * len(seen)
        return ", ".join(seen)

    async def clean(self) -> str:
        """No role is left."""
        database = self._stage.database
        until = time.monotonic() + CLEAN_LIMIT
        with database.connect(database.superuser, database.superuser_password, "postgres") as direct:
            while rows := direct.execute(r"SELECT rolname FROM pg_roles WHERE rolname LIKE 'at\_e\_%'").fetchall():
                _hold(time.monotonic() < until, f"still there: {rows}")
                await asyncio.sleep(0.05)
        return "no role is left behind"

    def audit(self) -> str:
        """The chain holds, and says exactly what happened."""
        path = self._directory / "audit" / "audit.jsonl"
        verified = verify_file(path)
        _hold(verified.broken is None, f"the chain is broken: {verified.broken}")
        records = [json.loads(line) for line in path.read_text().splitlines()]
        sessions: dict[str | None, list[str]] = {}
        for record in records:
            sessions.setdefault(record.get("sid"), []).append(record["event"])
        outside = sessions.pop(None)
        _hold(outside == ["gateway.started", "gateway.stopped"], f"outside of sessions: {outside}")
        _hold(len(sessions) == len(self._expected), f"{len(sessions)} sessions instead of {len(self._expected)}")
        for found, expected in zip(sessions.values(), self._expected, strict=True):
            _hold(matches(found, expected), f"a session has the records {found} instead of {expected}")
        return f"{verified.count} records of {len(sessions)} sessions, exactly as expected, in an unbroken chain"


def matches(found: list[str], expected: list[str]) -> bool:
    """Whether the records are the expected ones, in order; `*` stands for a lease and any connections, each one closed."""
    if "*" not in expected:
        return found == expected
    at = expected.index("*")
    middle = found[at : len(found) - (len(expected) - at - 1)]
    connections = [one for one in middle if one.startswith("connection.")]
    ends = found[:at] == expected[:at] and found[len(found) - (len(expected) - at - 1) :] == expected[at + 1 :]
    balanced = connections.count("connection.opened") == connections.count("connection.closed") > 0
    return ends and balanced and middle.count("lease.lent") == 1 and len(middle) == len(connections) + 1


async def _ask(url: str, *statements: str) -> list[tuple[Any, ...]]:  # Any: a row of whatever was asked for
    """The rows of the last statement."""

    def ask() -> list[tuple[Any, ...]]:  # Any: as above
        with psycopg.connect(url) as connection:
            for statement in statements:
                cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    return await asyncio.to_thread(ask)


async def _fail(url: str, statement: str, kind: type[psycopg.Error] = psycopg.OperationalError) -> str:
    """What the driver says when it fails. Raises StepFailed if it does not."""
    try:
        await _ask(url, statement)
    except kind as error:
        return str(error)
    raise StepFailed(f"{statement} was not refused")


def _save_context(stage: Stage, account: Account) -> None:
    """The login as the command line finds it."""
    config = ClientConfig(stage.client / "config.toml")
    config.put(Context("demo", stage.address, str(stage.ca), "file", issuer=account.published.issuer))
    config.save()


def _hold(held: bool, otherwise: str) -> None:
    if not held:
        raise StepFailed(otherwise)
