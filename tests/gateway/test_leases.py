"""What was borrowed comes back: after a crash, after a failure, and when it was never made."""

import asyncio
import contextlib
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from airtunnel.audit.file import verify_file
from airtunnel.errors import AuditUnavailable, CredentialUnavailable
from airtunnel.gateway.leases import Leases, instance
from airtunnel.gateway.service import Service
from airtunnel.identity.http import http_client
from airtunnel.identity.present import StoredLogin
from airtunnel.identity.store import MemoryStore
from airtunnel.identity.tokens import save_tokens
from airtunnel.model import Tags
from airtunnel.tunnel.account import Account
from airtunnel.tunnel.tunnels import Tunnels
from airtunnel.wire.control import WELL_KNOWN, Published
from tests.gateway.grants import a_grant
from tests.lab import CONFIG, Lab


def free_ports() -> tuple[int, int]:
    """Two ports that are free now."""
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        return one.getsockname()[1], two.getsockname()[1]


@contextlib.asynccontextmanager
async def process(directory: Path) -> AsyncIterator["asyncio.subprocess.Process"]:
    """A gateway as a process of its own; ready."""
    command = [sys.executable, "-m", "airtunnel", "gateway", "serve", "--config", str(directory / "gateway.yaml")]
    running = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2])
    try:
        assert running.stderr is not None
        async with asyncio.timeout(20):
            while b"ready" not in (line := await running.stderr.readline()):
                assert line, "it ended before it was ready"
        yield running
    finally:
        if running.returncode is None:
            running.terminate()
        await running.communicate()


async def account_of(lab: Lab, directory: Path, port: int) -> Account:
    """Ana's account at a gateway in another process."""
    async with http_client(ca=directory / "tls" / "ca.pem") as client:
        published = Published.decode((await client.get(f"https://127.0.0.1:{port}{WELL_KNOWN}")).content)
    store, gateway = MemoryStore(), f"127.0.0.1:{port}"
    save_tokens(store, published, gateway, await lab.tokens("ana"))
    return Account(gateway, published, StoredLogin(store, gateway, directory / "client"), directory / "tls" / "ca.pem")


async def test_after_a_crash_the_next_gateway_gives_back_what_the_dead_one_borrowed(lab: Lab) -> None:
    directory, (https, ssh) = lab.write(), free_ports()
    text = CONFIG.format(issuer=lab.provider.issuer, extra="")
    listen = text.replace('https: "127.0.0.1:0"', f'https: "127.0.0.1:{https}"').replace(
        'ssh: "127.0.0.1:0"', f'ssh: "127.0.0.1:{ssh}"'
    )
    (directory / "gateway.yaml").write_text(listen)
    async with (
        process(directory) as gateway,
        Tunnels.open(await account_of(lab, directory, https), ["warehouse"], Tags()) as tunnels,
    ):
        way = await tunnels.listen("warehouse")
        connection = await psycopg.AsyncConnection.connect(way.url)
        asking = asyncio.ensure_future(connection.execute("SELECT pg_sleep(60)"))
        while not (roles := lab.roles()):
            await asyncio.sleep(0.02)
        gateway.send_signal(signal.SIGKILL)
        with pytest.raises(psycopg.OperationalError):
            await asyncio.wait_for(asking, 3)
        await connection.close()
        assert lab.roles() == roles
    async with process(directory):
        async with asyncio.timeout(15):
            while lab.roles():
                await asyncio.sleep(0.05)
    verified = verify_file(directory / "audit" / "audit.jsonl")
    assert verified.broken is None
    text = (directory / "audit" / "audit.jsonl").read_text()
    assert len(re.findall('"event":"lease.lent"', text)) == len(re.findall('"event":"lease.returned"', text)) == 1
    assert re.findall('"event":"session.closed".*"close_reason":"([a-z_]+)"', text) == ["gateway_crash"]


async def test_what_cannot_be_given_back_stays_written_down_and_is_returned_later(lab: Lab) -> None:
    async with lab.gateway() as site:
        service = site.gateway.service
        leases, target = site.gateway._leases, service.policy.targets["warehouse"]
        lease = await leases.borrow(a_grant(), target)
        assert lease.user in lab.roles()
        password = site.directory / "secrets" / "broker.password"
        password.write_text("no longer this one")
        broken = Leases(service)
        await broken.give_back(target, lease.id, session="s", user=lease.user)
        assert [row.lease_id for row in await service.store.outstanding(instance(service.config))] == [lease.id]
        (stuck,) = site.records("lease.stuck")
        assert lease.id in stuck["detail"]
        assert lease.user in lab.roles()
        password.write_text(lab.database.broker_password)
        await broken.tend()
        assert await service.store.outstanding(instance(service.config)) == []
        assert lease.user not in lab.roles()
        assert lease.password not in (site.directory / "audit" / "audit.jsonl").read_text()
        await broken.aclose()


async def test_the_janitor_leaves_alone_what_is_in_use(lab: Lab) -> None:
    async with lab.gateway() as site:
        leases = site.gateway._leases
        target = site.gateway.service.policy.targets["warehouse"]
        lease = await leases.borrow(a_grant(), target)
        await leases.tend()
        assert site.records("lease.returned", "lease.stuck") == []
        assert lease.user in lab.roles()
        await leases.give_back(target, lease.id, session="s")
        assert lease.user not in lab.roles()


async def test_a_lease_that_was_never_made_is_given_back_all_the_same(lab: Lab) -> None:
    async with lab.gateway() as site:
        service = site.gateway.service
        grant = a_grant()
        await service.store.put_lease("0123456789ab", grant.session, "warehouse", instance(service.config), grant.ends_at)
        await service.store.put_lease("0123456789ac", grant.session, "gone", instance(service.config), grant.ends_at)
        leases = Leases(service)
        await leases.tend()
        assert [row.target for row in await service.store.outstanding(instance(service.config))] == ["gone"], (
            "and is said to be out"
        )
        await leases.aclose()


async def test_a_source_that_fails_leaves_nothing_lent(lab: Lab) -> None:
    async with lab.gateway() as site:
        service = site.gateway.service
        (site.directory / "secrets" / "broker.password").write_text("wrong")
        leases = site.gateway._leases
        with pytest.raises(CredentialUnavailable, match="warehouse"):
            await leases.borrow(a_grant(), site.gateway.service.policy.targets["warehouse"])
        assert len(await service.store.outstanding(instance(service.config))) == 1, (
            "until the janitor is sure that there is none"
        )
        assert site.records("lease.lent") == []
        (site.directory / "secrets" / "broker.password").write_text(lab.database.broker_password)
        await leases.tend()
        assert await service.store.outstanding(instance(service.config)) == []
        assert lab.roles() == []


async def test_a_lease_that_cannot_be_recorded_is_not_lent(lab: Lab) -> None:
    async with lab.gateway() as site:
        service: Service = site.gateway.service
        leases, target = site.gateway._leases, service.policy.targets["warehouse"]
        audit = site.directory / "audit" / "audit.jsonl"
        before = audit.read_bytes()
        os.truncate(audit, 0)  # it refuses to go on in a file that somebody else has changed
        try:
            with pytest.raises(AuditUnavailable):
                await leases.borrow(a_grant(), target)
            assert lab.roles() == []
        finally:
            audit.write_bytes(before)


async def test_a_gateway_that_stops_tries_once_more_to_give_back_what_is_still_out(lab: Lab) -> None:
    async with lab.gateway() as site:
        service = site.gateway.service
        leases, target = site.gateway._leases, service.policy.targets["warehouse"]
        stuck, forgotten = [await leases.borrow(a_grant(), target) for _ in range(2)]
        password = site.directory / "secrets" / "broker.password"
        password.write_text("no longer this one")
        broken = Leases(service)
        await broken.give_back(target, stuck.id, session="s", user=stuck.user)
        password.write_text(lab.database.broker_password)
        assert {stuck.user, forgotten.user} <= set(lab.roles())
    assert not {stuck.user, forgotten.user} & set(lab.roles())
