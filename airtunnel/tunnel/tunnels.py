"""A session at the gateway with local listeners on it: what `connect`, `exec` and the agent all open.

async with Tunnels.open(account, ["warehouse"], tags) as tunnels:
    await tunnels.test("warehouse")            a login through the whole path, so that "ready" is true
    way = await tunnels.listen("warehouse")    way.host, way.port, way.password
"""

import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from urllib.parse import quote

from airtunnel.errors import AirtunnelError, TargetRefused, Unreachable, UsageError
from airtunnel.model import Protocol, Tags
from airtunnel.tunnel.account import Account
from airtunnel.tunnel.drive import drive
from airtunnel.tunnel.link import Link
from airtunnel.tunnel.listen import Bind, Listener, Traffic
from airtunnel.wire import postgres
from airtunnel.wire.control import GrantedTarget, GrantReply

TEST_LIMIT = timedelta(seconds=25)
"""For the first login: the gateway itself gives the target 15 seconds, and the source of credentials 5."""
FALLBACK_DATABASE = "postgres"


@dataclass(frozen=True, slots=True)
class Way:
    """How a program on this machine reaches a target: host and port, or `path` of a Unix socket, and the local password."""

    target: GrantedTarget
    user: str
    password: str = field(repr=False)
    host: str = ""
    port: int = 0
    path: str = ""

    @property
    def database(self) -> str:
        """The database's name for the driver."""
        return self.target.database or FALLBACK_DATABASE

    @property
    def url(self) -> str:
        """A connection URL (RFC 3986). Holds the local password, which is worth nothing elsewhere."""
        if self.target.protocol != Protocol.POSTGRES:
            return f"tcp://{self.host}:{self.port}" if not self.path else f"unix:{self.path}"
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        database = quote(self.database, safe="")
        if self.path:
            return f"postgresql://{quote(self.user, safe='')}@/{database}?host={quote(self.directory, safe='/')}"
        return f"postgresql://{login}@{self.host}:{self.port}/{database}"

    @property
    def directory(self) -> str:
        """The directory of the Unix socket: libpq's `host`."""
        return self.path.rpartition("/")[0]


class Tunnels:
    """One grant in use by this process."""

    def __init__(self, link: Link, reply: GrantReply) -> None:
        self.reply = reply
        self.link = link
        self.ways: dict[str, Way] = {}
        self._listeners: list[Listener] = []

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, account: Account, targets: Sequence[str], tags: Tags) -> AsyncIterator["Tunnels"]:
        """A grant for all targets and the link that uses it; both end with the block.

        Raises Refused, LoginRequired, Unreachable, Ended, Temporary.
        """
        granted = await account.grant(tuple(targets), tags)
        tunnels = cls(await account.link(granted), granted.reply)
        try:
            yield tunnels
        finally:
            await tunnels.close()

    @property
    def ends_at(self) -> datetime:
        """When the gateway ends this session."""
        return self.reply.ends_at

    async def test(self, name: str) -> None:
        """Log in to the target once, through everything. Raises what stands in the way."""
        target = self._target(name)
        channel = await self.link.open_channel(name)
        try:
            if target.protocol == Protocol.POSTGRES:
                startup = postgres.Startup(
                    {"user": self.reply.who, "database": target.database or FALLBACK_DATABASE, "application_name": "airtunnel"}
                )
                flow = postgres.log_in(startup, "", nonce=secrets.token_urlsafe(18), clear_allowed=False)
                await drive(flow, channel, limit=TEST_LIMIT, peer=f"target {name}")
                channel.write(postgres.TERMINATE)
        except TargetRefused as error:
            raise _gateways(error) from error
        finally:
            channel.close()

    async def listen(
        self,
        name: str,
        bind: Bind | None = None,
        *,
        on_open: Callable[[], None] = lambda: None,
        on_close: Callable[[Traffic], None] = lambda traffic: None,
    ) -> Way:
        """A local address for the target. Raises AddressTaken, UsageError, ConfigError."""
        target = self._target(name)
        listener = Listener(
            name, Protocol(target.protocol), lambda: self.link.open_channel(name), on_open=on_open, on_close=on_close
        )
        await listener.start(bind or Bind())
        self._listeners.append(listener)
        way = Way(
            target=target,
            user=self.reply.who,
            password=listener.password,
            host=listener.host,
            port=listener.port,
            path=str(listener.path or ""),
        )
        self.ways[name] = way
        return way

    async def close(self) -> None:
        """Stop listening, end the session."""
        for listener in self._listeners:
            await listener.close()
        self._listeners.clear()
        await self.link.close()

    def _target(self, name: str) -> GrantedTarget:
        for target in self.reply.targets:
            if target.name == name:
                return target
        raise UsageError(f"{name} is not one of the session's targets", hint=f"airtunnel connect {name}")


def _gateways(error: TargetRefused) -> AirtunnelError:
    """The gateway's own words, out of the PostgreSQL error that carried them here."""
    message = error.message.removeprefix("airtunnel: ")
    if message == error.message:
        return error
    if message.startswith("the database refused: "):
        return TargetRefused(message, sqlstate=error.sqlstate, hint=error.hint, details=error.details)
    return Unreachable(message, hint=error.hint, details=error.details)
