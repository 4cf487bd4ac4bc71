"""SSH clients by hand: what a stranger, or a person with somebody else's papers, may try at the gateway's SSH port."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import asyncssh

from airtunnel.errors import Ended
from airtunnel.gateway.authority import Authority
from airtunnel.model import Grant, Tags
from airtunnel.tunnel.account import Account
from airtunnel.tunnel.control import Granted
from airtunnel.tunnel.link import SETTINGS
from tests.gateway.grants import a_grant, opened, private_key, public_line
from tests.lab import Site


@dataclass(frozen=True, slots=True)
class Papers:
    """A key, and what a certificate for it says. The honest ones are refused nowhere; tests change one thing at a time."""

    grant: Grant
    key: asyncssh.SSHKey
    principals: tuple[str, ...] | None = None
    command: str | None = None
    valid_after: timedelta = timedelta(seconds=-60)
    valid_before: timedelta = timedelta(minutes=5)
    user: str | None = None


def papers(grant: Grant | None = None) -> Papers:
    """Honest papers for a fresh key."""
    return Papers(grant or a_grant(), asyncssh.generate_private_key("ssh-ed25519"))


async def certify(authority: Authority, one: Papers) -> asyncssh.SSHCertificate:
    """The certificate: by `sign_grant` where the papers are honest, else with the same call by hand."""
    if replace(one, user=None) == Papers(one.grant, one.key):
        return asyncssh.import_certificate(await authority.sign_grant(one.grant, public_line(one.key)))
    honest = opened(await authority.sign_grant(one.grant, public_line(one.key)))
    command = one.command if one.command is not None else str(honest.options["force-command"])
    now = one.grant.issued_at
    return private_key(authority.user_ca).generate_user_certificate(
        one.key.convert_to_public(),
        key_id="by hand",
        principals=[one.grant.session] if one.principals is None else list(one.principals),
        valid_after=int((now + one.valid_after).timestamp()),
        valid_before=int((now + one.valid_before).timestamp()),
        force_command=command or None,
    )


@contextlib.asynccontextmanager
async def visit(site: Site, one: Papers, authority: Authority | None = None) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """An SSH connection with these papers."""
    certificate = await certify(authority or site.gateway.service.authority, one)
    async with connect(site, username=one.user or one.grant.session, client_keys=[(one.key, certificate)]) as connection:
        yield connection


@contextlib.asynccontextmanager
async def connect(site: Site, **options: Any) -> AsyncIterator[asyncssh.SSHClientConnection]:  # Any: asyncssh's options
    """An SSH connection that trusts the gateway's host CA."""
    authorities = [asyncssh.import_public_key(line) for line in site.published.host_cas]
    settings = {**SETTINGS, "known_hosts": ([], authorities, []), "client_keys": (), "password": None, **options}
    async with asyncssh.connect("127.0.0.1", site.published.ssh_port, **settings) as connection:
        yield connection


async def granted(site: Site, login: str = "ana", targets: tuple[str, ...] = ("warehouse",)) -> Granted:
    """A grant that the gateway gave."""
    return await (await site.account(login)).grant(targets, Tags())


def login_of(one: Granted) -> dict[str, Any]:  # Any: asyncssh's options
    """How to use a grant, as `connect` takes it."""
    certificate = asyncssh.import_certificate(one.reply.certificate)
    return {"username": one.reply.session, "client_keys": [(one.key, certificate)]}


async def told_end(account: Account, granted: Granted) -> str:
    """How a link with this grant ends: at once, or a moment after it came up."""
    try:
        link = await account.link(granted)
        await asyncio.wait_for(link.over.wait(), 10)
    except Ended as error:
        return str(error)
    return str(link.error)
