"""A grant for a stock `ssh`: certificate, the gateway's CAs, and the configuration that names them. No trust on first use.

    in files     key, key-cert.pub, known_hosts, config        the key is on the disk until somebody deletes it
    in an agent  key.pub, key-cert.pub, known_hosts, config    the ssh-agent has the key, and forgets it with the grant

ssh_config(5): a `Host` block; sshd(8), SSH_KNOWN_HOSTS: the `@cert-authority` marker; ssh-add(1), `-t`: a lifetime.
"""

import contextlib
import os
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from airtunnel.errors import ConfigError, ProtocolError, Unreachable
from airtunnel.tunnel.control import Granted
from airtunnel.wire.control import Published

if TYPE_CHECKING:
    import asyncssh

CONFIG = """\
Host {name}
  HostName {host}
  Port {port}
  User {user}
  IdentityFile {key}
  CertificateFile {certificate}
  IdentitiesOnly yes
  UserKnownHostsFile {hosts}
  StrictHostKeyChecking yes
  ExitOnForwardFailure yes
  ServerAliveInterval 15
"""
AGENT_LIMIT = 5.0
"""Seconds. An agent may ask its owner (ssh-add -c), but not to take a key."""
AGENT_LIFE = timedelta(hours=24)
"""The most that an agent keeps a key. When a grant ends is the gateway's word, and whose agent it is has a say, too."""
START = "eval $(ssh-agent)"


def write_files(
    directory: Path, published: Published, granted: Granted, *, name: str = "airtunnel", in_agent: bool = False
) -> Path:
    """Write the files into `directory` (0700, files 0600), and return `config`.

    name: what stands behind `Host`, to be typed as `ssh -F config name`
    in_agent: an ssh-agent has the private key, and only the public one is written
    Raises ConfigError if others may enter the directory, or it cannot be written.
    """
    key, public, certificate = (directory / one for one in ("key", "key.pub", "key-cert.pub"))
    hosts, config = directory / "known_hosts", directory / "config"
    where = f"[{published.ssh_host}]:{published.ssh_port}"
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if directory.stat().st_mode & 0o077:
            raise ConfigError(f"{directory}: others may enter this directory", hint=f"chmod 700 {directory}")
        for old in (key, public):  # the other kind's, from before
            old.unlink(missing_ok=True)
        if in_agent:
            _write(public, granted.key.export_public_key())
        else:
            _write(key, granted.key.export_private_key("openssh"))
        _write(certificate, f"{granted.reply.certificate}\n".encode())
        _write(hosts, "".join(f"@cert-authority {where} {line}\n" for line in published.host_cas).encode())
        named = (("key", public if in_agent else key), ("certificate", certificate), ("hosts", hosts))
        paths = {name: _quote(path) for name, path in named}
        values = {"name": name, "host": published.ssh_host, "port": published.ssh_port, "user": granted.reply.session}
        _write(config, CONFIG.format(**values, **paths).encode())
    except OSError as error:
        raise ConfigError(f"{error.filename or directory}: {(error.strerror or str(error)).lower()}") from error
    return config


@contextlib.asynccontextmanager
async def open_agent(socket: str | None) -> AsyncIterator["asyncssh.SSHAgentClient"]:
    """The ssh-agent of this person, at `socket` (SSH_AUTH_SOCK). Raises Unreachable if there is none."""
    import asyncio

    import asyncssh

    if not socket:
        raise Unreachable("there is no ssh-agent: SSH_AUTH_SOCK is not set", hint=START)
    try:
        async with asyncio.timeout(AGENT_LIMIT):
            agent = await asyncssh.connect_agent(socket)
    except (OSError, TimeoutError) as error:
        cause = (getattr(error, "strerror", None) or "no answer in time").lower()
        raise Unreachable(f"the ssh-agent at {socket} does not answer: {cause}", hint=START) from error
    try:
        yield agent
    finally:
        agent.close()


async def add_to_agent(agent: "asyncssh.SSHAgentClient", granted: Granted, now: datetime) -> None:
    """Give key and certificate to the agent, until the certificate expires, or for AGENT_LIFE if that is sooner.

    Raises Unreachable if it does not take them, ProtocolError if the gateway's reply makes no sense.
    """
    import asyncio

    import asyncssh

    granted.key.set_comment(f"airtunnel {granted.reply.session}")
    try:
        certificate = asyncssh.import_certificate(granted.reply.certificate)
        left = granted.reply.valid_before - now
    except (ValueError, TypeError, OverflowError) as error:  # asyncssh.KeyImportError is a ValueError
        raise ProtocolError(f"the gateway sent a grant that makes no sense: {str(error).lower()}") from error
    # Not 0, which would mean for ever.
    lifetime = max(1, int(min(left, AGENT_LIFE).total_seconds()))
    try:
        async with asyncio.timeout(AGENT_LIMIT):
            await agent.add_keys([(granted.key, certificate)], lifetime=lifetime)
    except (OSError, ValueError, TimeoutError) as error:
        raise Unreachable(
            f"the ssh-agent does not take the key: {str(error).lower() or 'no answer in time'}", hint=START
        ) from error


def _write(path: Path, data: bytes) -> None:
    """A new file of mode 0600 from its first moment on."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)


def _quote(path: Path) -> str:
    """A path as ssh_config takes it: in double quotes, with `%` doubled."""
    return '"' + str(path.absolute()).replace("%", "%%") + '"'
