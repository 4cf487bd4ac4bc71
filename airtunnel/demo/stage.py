"""The demo's stage: a provider, a private PostgreSQL and a gateway in one process, over files that the user can read."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

from airtunnel.config.gateway import load_gateway
from airtunnel.demo.database import PrivateDatabase
from airtunnel.demo.files import Files, write_files
from airtunnel.demo.people import PEOPLE
from airtunnel.demo.provider import Provider
from airtunnel.gateway.authority import create_keys
from airtunnel.gateway.serve import Gateway
from airtunnel.gateway.setup import create_certificate

HOST = "127.0.0.1"
CLIENT_ID = "airtunnel"
AUDIENCE = "airtunnel-gateway"
PORTS = (8443, 2222, 5556)
"""HTTPS, SSH, provider: as in the README, where they are free."""


@dataclass(frozen=True, slots=True)
class Stage:
    """Everything that runs. `address`: what to log in to, `host:port`."""

    directory: Path
    files: Files
    provider: Provider
    database: PrivateDatabase
    gateway: Gateway
    address: str

    @property
    def ca(self) -> Path:
        """What vouches for the gateway."""
        return self.directory / "tls" / "ca.pem"

    @property
    def audit(self) -> Path:
        """What happened."""
        return self.directory / "audit" / "audit.jsonl"

    @property
    def client(self) -> Path:
        """Where the client's configuration and login go, so that the user's own stay as they are."""
        return self.directory / "client"


@contextlib.asynccontextmanager
async def open_stage(directory: Path) -> AsyncIterator[Stage]:
    """The stage, in `directory`, until the block is left. Raises AddressTaken, ConfigError, Unreachable."""
    https_port, ssh_port, provider_port = (_free_port(port) for port in PORTS)
    with contextlib.ExitStack() as stack:
        provider = stack.enter_context(Provider(PEOPLE, port=provider_port, client_id=CLIENT_ID, audience=AUDIENCE, interval=1))
        database = await _start(PrivateDatabase(directory))
        stack.callback(database.stop)
        files = write_files(
            directory,
            issuer=provider.issuer,
            client_id=CLIENT_ID,
            audience=AUDIENCE,
            https_port=https_port,
            ssh_port=ssh_port,
            socket=database.socket,
            broker_user=database.broker_user,
            broker_password=database.broker_password,
        )
        create_keys(directory / "authority")
        create_certificate(directory / "tls", (HOST, "localhost"))
        async with Gateway.open(load_gateway(files.gateway)) as gateway:
            yield Stage(directory, files, provider, database, gateway, f"{HOST}:{gateway.https_port}")


async def _start(database: PrivateDatabase) -> PrivateDatabase:
    """Start it in a thread; a Ctrl-C meanwhile waits for the thread, so that no server is left behind."""
    starting = asyncio.ensure_future(asyncio.to_thread(database.start))
    try:
        await asyncio.shield(starting)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            await starting
            database.stop()
        raise
    return database


def _free_port(wanted: int) -> int:
    """`wanted` if it is free, else any free one."""
    for port in (wanted, 0):
        with contextlib.suppress(OSError), _bound(port) as bound:
            return int(bound.getsockname()[1])
    return 0


@contextlib.contextmanager
def _bound(port: int) -> Iterator[socket.socket]:
    with socket.create_server((HOST, port)) as bound:
        yield bound
