"""The real things that tests of the whole path share: one provider, one PostgreSQL; a gateway of its own for each test.

async with lab.gateway(POLICY) as site:
    async with Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels: ...
    site.records("connection.closed")
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from airtunnel.config.client import ClientConfig, Context
from airtunnel.config.gateway import load_gateway
from airtunnel.demo.database import PrivateDatabase
from airtunnel.demo.people import PEOPLE
from airtunnel.demo.person import approve
from airtunnel.demo.provider import Provider
from airtunnel.gateway.authority import create_keys
from airtunnel.gateway.serve import Gateway
from airtunnel.gateway.setup import create_certificate
from airtunnel.identity.login.device import DevicePrompt
from airtunnel.identity.login.drive import log_in
from airtunnel.identity.present import StoredLogin
from airtunnel.identity.store import MemoryStore, open_store
from airtunnel.identity.tokens import save_tokens
from airtunnel.identity.tokenset import TokenSet
from airtunnel.tunnel.account import Account
from airtunnel.wire.control import Published

MARGIN = timedelta(minutes=5)
"""How long a token must still be good for a test to begin with it: no test takes longer."""
CLIENT_ID, AUDIENCE = "airtunnel", "airtunnel-gateway"

CONFIG = """\
name: test
listen: {{https: "127.0.0.1:0", ssh: "127.0.0.1:0"}}
tls: {{certificate: tls/gateway.pem, key: tls/gateway.key}}
providers:
  - issuer: "{issuer}"
    client_id: airtunnel
    audiences: [airtunnel-gateway]
    scopes: [openid, email, groups, offline_access]
policy: policy
{extra}
"""

POLICY = """\
targets:
  warehouse:
    protocol: postgres
    address: {address}
    database: shop
    credential: {{source: postgres-role, admin: broker, admin_password_file: ../secrets/broker.password, role: shop_rw}}
    airflow: {{connection: warehouse}}
  payroll:
    protocol: postgres
    address: {address}
    database: payroll
    credential: {{source: postgres-role, admin: broker, admin_password_file: ../secrets/broker.password, role: payroll_ro}}
    airflow: {{connection: payroll}}
rules:
  - name: engineers
    effect: allow
    who: {{groups: [data-eng]}}
    targets: [warehouse]
    limits: {{duration: 1h}}
  - name: payroll-is-for-finance
    effect: allow
    who: {{groups: [finance]}}
    targets: [payroll]
"""
"""`{address}` becomes the test database's. Ana is in data-eng, fin in finance and data-eng."""


@dataclass(slots=True)
class Site:
    """A running gateway, and who may use it."""

    lab: "Lab"
    gateway: Gateway
    directory: Path

    @property
    def address(self) -> str:
        """What a client logs in to."""
        return f"127.0.0.1:{self.gateway.https_port}"

    @property
    def ca(self) -> Path:
        """What vouches for it."""
        return self.directory / "tls" / "ca.pem"

    @property
    def published(self) -> Published:
        """What it publishes."""
        assert self.gateway.published is not None
        return self.gateway.published

    async def account(self, login: str) -> Account:
        """The account of a person who has logged in."""
        store = MemoryStore()
        save_tokens(store, self.published, self.address, await self.lab.tokens(login))
        return Account(self.address, self.published, StoredLogin(store, self.address, self.directory / "client"), self.ca)

    async def environ(self, login: str) -> dict[str, str]:
        """The environment in which `airtunnel` finds this person logged in."""
        client = self.directory / "client"
        store = open_store("file", client / "state" / "tokens")
        save_tokens(store, self.published, self.address, await self.lab.tokens(login))
        config = ClientConfig(client / "config.toml")
        config.put(Context("test", self.address, str(self.ca), "file", issuer=self.published.issuer))
        config.save()
        return os.environ | {"AIRTUNNEL_CONFIG_DIR": str(client), "AIRTUNNEL_STATE_DIR": str(client / "state")}

    def records(self, *events: str) -> list[dict[str, Any]]:  # Any: JSON
        """The audit's records so far, all or those of some events."""
        lines = (self.directory / "audit" / "audit.jsonl").read_text().splitlines()
        return [one for one in map(json.loads, lines) if not events or one["event"] in events]


@dataclass(slots=True)
class Lab:
    """Provider and database, for all tests. `root`: a directory of the test's own."""

    provider: Provider
    database: PrivateDatabase
    root: Path
    known: dict[str, TokenSet] = field(default_factory=dict)

    @contextlib.asynccontextmanager
    async def gateway(self, policy: str = POLICY, extra: str = "", *, name: str = "site") -> AsyncIterator[Site]:
        """A gateway with this policy; the same `name` again: the same one, restarted. extra: more lines of gateway.yaml."""
        directory = self.write(policy, extra, name=name)
        async with Gateway.open(load_gateway(directory / "gateway.yaml")) as gateway:
            yield Site(self, gateway, directory)

    def write(self, policy: str = POLICY, extra: str = "", *, name: str = "site") -> Path:
        """The directory of such a gateway, ready for `airtunnel gateway serve --config DIRECTORY/gateway.yaml`."""
        directory = self.root / name
        for inner in ("policy", "secrets"):
            (directory / inner).mkdir(parents=True, exist_ok=True)
        (directory / "gateway.yaml").write_text(CONFIG.format(issuer=self.provider.issuer, extra=extra))
        (directory / "policy" / "policy.yaml").write_text(policy.format(address=f"unix:{self.database.socket}"))
        secret = directory / "secrets" / "broker.password"
        secret.touch(mode=0o600)
        secret.write_text(self.database.broker_password)
        create_keys(directory / "authority")
        create_certificate(directory / "tls", ("127.0.0.1", "localhost"))
        return directory

    async def tokens(self, login: str) -> TokenSet:
        """What the provider gave to a person of the demo's, after a real login; the same for all tests while it is fresh.

        Each test keeps a copy of its own: were one of them renewed, the others' refresh token would be dead.
        """
        known = self.known.get(login)
        if known is None or known.expires_at - datetime.now(UTC) < MARGIN:
            known = self.known[login] = await self._log_in(login)
        return known

    def roles(self) -> list[str]:
        """The ephemeral roles that the database has now."""
        with self.database.connect(self.database.superuser, self.database.superuser_password, "postgres") as direct:
            return [row[0] for row in direct.execute(r"SELECT rolname FROM pg_roles WHERE rolname LIKE 'at\_e\_%'")]

    async def _log_in(self, login: str) -> TokenSet:
        person = next(one for one in PEOPLE if one.login == login)
        pages: list[asyncio.Future[str]] = []

        def show(prompt: DevicePrompt) -> None:
            address = prompt.verification_uri_complete or prompt.verification_uri
            pages.append(asyncio.ensure_future(asyncio.to_thread(approve, address, person.login, person.password)))

        scopes = ("openid", "email", "groups", "offline_access")
        login_only = Published("lab", self.provider.issuer, CLIENT_ID, scopes, ("device",), "access_token", "", 0, (), "")
        tokens = await log_in(login_only, show=show)
        await asyncio.gather(*pages)
        return tokens
