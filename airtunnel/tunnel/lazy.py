"""Tunnels that open on first use: what stands behind the agent's socket while a command runs.

Each task that asks for a connection gets a session of its own, with its own tags, so that the audit tells tasks apart and a
session ends with its task.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from airtunnel.model import Protocol, Tags
from airtunnel.tunnel.account import Account
from airtunnel.tunnel.agent import Opened
from airtunnel.tunnel.listen import Traffic
from airtunnel.tunnel.tunnels import Tunnels, Way
from airtunnel.wire.control import Catalog


@dataclass(slots=True)
class Use:
    """One session that was opened on first use: for the summary at the end. `closed` is None while it runs."""

    target: str
    tags: Tags
    rule: str
    place: str
    opened: datetime
    closed: datetime | None = None
    connections: int = 0
    up: int = 0
    down: int = 0

    def count(self, traffic: Traffic) -> None:
        """One connection more has ended."""
        self.connections += 1
        self.up += traffic.up
        self.down += traffic.down


@dataclass(slots=True)
class LazyTunnels:
    """Opens the target whose `airflow: {connection: ...}` was asked for. `said` are tags that hold for all of them."""

    account: Account
    catalog: Catalog
    said: Tags = field(default_factory=Tags)
    uses: list[Use] = field(default_factory=list)

    @property
    def managed(self) -> tuple[str, ...]:
        """The Airflow connection ids that the gateway knows, whether we may use them or not."""
        return tuple(one.airflow_connection for one in self.catalog.targets if one.airflow_connection)

    async def open(self, connection_id: str, tags: Tags) -> Opened | None:
        """The way for one Airflow connection id, or None if the gateway does not know it. Raises Refused, Unreachable, ..."""
        name = next((one.name for one in self.catalog.targets if one.airflow_connection == connection_id), None)
        if name is None:
            return None
        tags = merge(tags, self.said)
        async with contextlib.AsyncExitStack() as stack:
            tunnels = await stack.enter_async_context(Tunnels.open(self.account, [name], tags))
            granted = tunnels.reply.targets[0]
            use = Use(name, tags, granted.rule, granted.place, datetime.now(UTC))
            way = await tunnels.listen(name, on_close=use.count)
            self.uses.append(use)
            keep = stack.pop_all()

        async def close() -> None:
            use.closed = datetime.now(UTC)
            await keep.aclose()

        return Opened(airflow_connection(way), close)


def merge(tags: Tags, said: Tags) -> Tags:
    """`tags`, with what they leave open taken from `said`."""
    return Tags(**said.said() | tags.said())  # type: ignore[arg-type]  # `said` gives each tag the type that it had


def airflow_connection(way: Way) -> Mapping[str, Any]:  # Any: JSON
    """The connection as Airflow's JSON has it (airflow.sdk Connection): what hooks and SQLAlchemy use of it."""
    if way.target.protocol != Protocol.POSTGRES:
        return {"conn_type": "generic", "host": way.host, "port": way.port}
    return {
        "conn_type": "postgres",
        "host": way.host,
        "port": way.port,
        "login": way.user,
        "password": way.password,
        "schema": way.database,
    }
