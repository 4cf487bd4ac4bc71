"""The SSH connection to the gateway: opened with a grant, ended with a reason."""

import asyncio
import contextlib
from datetime import timedelta
from typing import Any, cast

import asyncssh

from airtunnel import __version__
from airtunnel.errors import AirtunnelError, Ended, Temporary, Unreachable
from airtunnel.model import EndReason
from airtunnel.tunnel.control import Granted
from airtunnel.tunnel.stream import PACKET, WINDOW, ChannelEnd
from airtunnel.wire.control import Published

CONNECT_LIMIT = timedelta(seconds=15)
KEEPALIVE = timedelta(seconds=5)
KEEPALIVES = 3
"""A partition is noticed after KEEPALIVE x (KEEPALIVES + 1)."""
ENDED = "airtunnel: session ended: "
"""How the gateway's disconnect message begins when it ends a session on purpose."""


class Link(asyncssh.SSHClient):
    """One SSH connection of one session."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.error: AirtunnelError | None = None
        """Why it is over; None while it lives, and when we closed it ourselves."""
        self._connection: asyncssh.SSHClientConnection | None = None

    def connection_made(self, conn: asyncssh.SSHClientConnection) -> None:
        self._connection = conn

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is not None:
            self.error = ended(exc)
        self.over.set()

    async def open_channel(self, target: str) -> ChannelEnd:
        """A channel to the target. Raises Ended, Unreachable, or Temporary with the gateway's words when it refuses."""
        if self._connection is None or self.over.is_set():
            raise self.error or Unreachable("the link to the gateway is closed")
        try:
            _, session = await self._connection.create_connection(ChannelEnd, target, 0, window=WINDOW, max_pktsize=PACKET)
        except asyncssh.ChannelOpenError as error:
            raise Temporary(error.reason.removeprefix("airtunnel: ")) from error
        except (asyncssh.Error, OSError) as error:
            raise ended(error) from error
        return cast(ChannelEnd, session)  # what the factory made

    async def close(self) -> None:
        """Close the connection: its session is over at the gateway."""
        if self._connection is not None:
            self._connection.close()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2):
                    await self._connection.wait_closed()


class WrongHost(AirtunnelError):
    """What answers is not the gateway: none of the CAs that it published vouches for the host key."""

    code = "wrong_host"


async def open_link(published: Published, granted: Granted) -> Link:
    """A link for the grant. Raises Unreachable, Ended, WrongHost, or AirtunnelError where the grant is not accepted."""
    reply = granted.reply
    certificate = asyncssh.import_certificate(reply.certificate)
    authorities = [asyncssh.import_public_key(line) for line in published.host_cas]
    where = f"{published.ssh_host}:{published.ssh_port}"
    link = Link()
    try:
        await asyncssh.create_connection(
            lambda: link,
            published.ssh_host,
            published.ssh_port,
            username=reply.session,
            client_keys=[(granted.key, certificate)],
            # The CA that the gateway named over HTTPS, and nothing that was seen or written down before.
            known_hosts=([], authorities, []),
            **SETTINGS,
        )
    except asyncssh.HostKeyNotVerifiable as error:
        raise WrongHost(
            f"{where} is not the gateway that it should be: its host key is not signed by the gateway's CA",
            hint="do not go on; tell the gateway's operator",
        ) from error
    except asyncssh.PermissionDenied as error:
        raise AirtunnelError(
            f"{where} does not accept the grant that its own API gave",
            hint="is the clock right, here and there? do API and SSH port belong to one gateway?",
        ) from error
    except asyncssh.DisconnectError as error:
        raise ended(error) from error
    except (OSError, TimeoutError) as error:
        cause = getattr(error, "strerror", None) or str(error) or "no answer in time"
        raise Unreachable(
            f"gateway {where} (ssh) does not answer: {cause.lower()}", hint="does a firewall let this port through?"
        ) from error
    if link.over.is_set():  # it was accepted, and ended at once
        raise link.error or Unreachable(f"the link to {where} broke")
    return link


SETTINGS: dict[str, Any] = {  # Any: asyncssh's options, each of its own type
    "config": None,
    "agent_path": None,
    "client_version": f"airtunnel_{__version__}",
    "encryption_algs": ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"],
    "kex_algs": ["mlkem768x25519-sha256", "curve25519-sha256"],
    "mac_algs": ["hmac-sha2-256-etm@openssh.com"],
    "signature_algs": ["ssh-ed25519"],
    "compression_algs": None,
    "login_timeout": CONNECT_LIMIT.total_seconds(),
    "connect_timeout": CONNECT_LIMIT.total_seconds(),
    "keepalive_interval": KEEPALIVE.total_seconds(),
    "keepalive_count_max": KEEPALIVES,
    "password_auth": False,
    "kbdint_auth": False,
    "gss_host": None,
}


def ended(error: Exception) -> AirtunnelError:
    """What the loss of a link means: an end with a reason if the gateway gave one, else that it is unreachable."""
    text = getattr(error, "reason", "") or str(error)
    if text.startswith(ENDED) and (reason := text.removeprefix(ENDED)) in set(EndReason):
        return Ended(f"the gateway ended the session: {reason}", reason=reason)
    return Unreachable(f"the link to the gateway broke: {text.lower() or type(error).__name__}")
