"""The SSH server: who comes in, with which grant, and which channels open.

Only `direct-tcpip` to the name of a target exists here: no shell, no command, no file transfer, no forwarding back, no agent.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta

import asyncssh

from airtunnel.errors import AirtunnelError, ProtocolError, Refused
from airtunnel.gateway.authority import Authority, read_grant
from airtunnel.gateway.connection import STARTUP_LIMIT, Connection
from airtunnel.gateway.ids import is_id, new_id
from airtunnel.gateway.locks import find_lock
from airtunnel.gateway.service import Service
from airtunnel.gateway.session import Session, Sessions
from airtunnel.gateway.tasks import Tasks
from airtunnel.gateway.throttle import Throttle, network
from airtunnel.model import EndReason, Protocol
from airtunnel.tunnel.drive import drive
from airtunnel.tunnel.stream import PACKET, WINDOW, ChannelEnd
from airtunnel.wire import postgres

logger = logging.getLogger(__name__)

KEX = ["mlkem768x25519-sha256"]
KEX_COMPATIBLE = [*KEX, "curve25519-sha256", "curve25519-sha256@libssh.org"]
"""With what OpenSSH before 9.9 has. ssh-audit finds no fault with the first list, and two warnings with this one."""
CIPHERS = ["aes128-gcm@openssh.com", "aes256-gcm@openssh.com"]
"""128 first: the same security margin in practice, and measurably faster. No chacha20-poly1305, no CBC (CVE-2023-48795)."""
MACS = ["hmac-sha2-256-etm@openssh.com"]
"""Unused with GCM, but the list may not be empty."""
KEEPALIVES = 3
"""Unanswered keepalives until a link counts as dead."""
STOCK = "SSH-2.0-OpenSSH"
STRANGERS_RATE = 8.0
"""Connections that do not log in, per second and source. A key exchange costs us, and not them (CVE-2002-20001, DHEat)."""
STRANGERS_BURST = 60
"""At once: a whole team behind one address, coming back after a restart. Who logs in does not count."""


class Door:
    """What all SSH connections of this gateway share."""

    def __init__(self, service: Service, sessions: Sessions, tasks: Tasks) -> None:
        self.service = service
        self.sessions = sessions
        self.tasks = tasks
        self._names: tuple[str, ...] = ()
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._arrivals = Throttle(STRANGERS_RATE, STRANGERS_BURST)
        self._waiting: dict[asyncssh.SSHServerConnection, str | None] = {}
        """Connections that have not authenticated yet, the oldest first, and where they come from."""

    def welcome(self, connection: asyncssh.SSHServerConnection, source: str | None) -> None:
        """Let one more in that has not logged in. If that is one too many, the source with most of them loses its oldest.

        So whoever opens connections and says nothing pushes out their own, and not everybody else. Who opens too many one after
        the other is turned away before a single key is exchanged.
        """
        missed = self._arrivals.take(network(source), asyncio.get_running_loop().time())
        if missed is None:
            connection.abort()
            return
        if missed:
            logger.warning("ssh: %d connections from %s were turned away: too many that do not log in", missed, source)
        self._waiting[connection] = source
        if len(self._waiting) > self.service.config.ssh.max_unauthenticated:
            busiest, _ = Counter(self._waiting.values()).most_common(1)[0]
            oldest = next(one for one, where in self._waiting.items() if where == busiest)
            logger.warning("ssh: too many that have not logged in; the oldest of %s is cut off", busiest)
            del self._waiting[oldest]
            oldest.abort()

    def settle(self, connection: asyncssh.SSHServerConnection) -> None:
        """It has logged in, or is gone."""
        self._waiting.pop(connection, None)

    def know(self, source: str | None) -> None:
        """Somebody from there has logged in: their connection does not count as a stranger's."""
        self._arrivals.give_back(network(source))

    def begin(self, work: Coroutine[object, object, None], source: str | None) -> None:
        """A channel is open: run its connection."""
        self.tasks.spawn(work, f"a connection from {source}")

    async def listen(self, host: str, port: int, names: tuple[str, ...]) -> asyncssh.SSHAcceptor:
        """Start to accept. `names` are the host names for which the host key is certified."""
        service, ssh = self.service, self.service.config.ssh
        certificate = await service.authority.certify_host(names, service.clock())
        self._names = names
        self._acceptor = await asyncssh.listen(
            host,
            port,
            server_factory=lambda: Guest(self),
            server_host_keys=[(service.authority.host_key, certificate)],
            config=None,
            kex_algs=KEX_COMPATIBLE if ssh.compat_openssh else KEX,
            encryption_algs=CIPHERS,
            mac_algs=MACS,
            signature_algs=["ssh-ed25519", "ecdsa-sha2-nistp256", "sk-ssh-ed25519@openssh.com"],
            compression_algs=None,
            server_version="airtunnel",
            login_timeout=ssh.login_timeout.total_seconds(),
            keepalive_interval=ssh.keepalive.total_seconds(),
            keepalive_count_max=KEEPALIVES,
            password_auth=False,
            kbdint_auth=False,
            host_based_auth=False,
            gss_host=None,
            allow_scp=False,
            sftp_factory=None,
            agent_forwarding=False,
            x11_forwarding=False,
            allow_pty=False,
        )
        return self._acceptor

    async def renew(self, authority: Authority) -> Callable[[], None]:
        """Certify the host key anew; what comes back shows it to every connection from then on. Raises Temporary."""
        certificate = await authority.certify_host(self._names, self.service.clock())

        def show() -> None:
            if self._acceptor is not None:
                self._acceptor.update(server_host_keys=[(authority.host_key, certificate)])

        return show


class Guest(asyncssh.SSHServer):
    """One SSH connection, which is one link of one session."""

    def __init__(self, door: Door) -> None:
        self._door = door
        self._service = door.service
        self._connection: asyncssh.SSHServerConnection | None = None
        self._session: Session | None = None
        self._username = ""
        self._source: str | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        peer = conn.get_extra_info("peername")
        self._source = peer[0] if isinstance(peer, tuple) else None
        # Also while the gateway drains: only who has logged in can be told so.
        self._door.welcome(conn, self._source)

    def begin_auth(self, username: str) -> bool:
        # The CAs of this moment, for this user name and no other: with `principals=` a certificate without principals matches
        # nothing, while asyncssh alone takes it for everybody's.
        # None are trusted while every key of the CA is gone from its files.
        if self._connection is not None and is_id(username) and self._service.authority.user_cas:
            lines = [f'cert-authority,principals="{username}" {one}' for one in self._service.authority.user_cas]
            self._connection.set_authorized_keys(asyncssh.import_authorized_keys("\n".join(lines)))
            self._username = username
        return True

    def auth_completed(self) -> None:
        conn = self._connection
        if conn is None:
            return
        self._door.settle(conn)
        try:
            grant = read_grant(conn.get_certificate_option("force-command"), self._username)
        except ProtocolError as error:
            logger.warning("ssh connection from %s refused: %s", self._source, error)
            conn.disconnect(asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE, f"airtunnel: {error}")
            return
        self._door.know(self._source)
        session = self._session = self._door.sessions.enter(grant, self, self._source)
        session.client_version = session.client_version or str(conn.get_extra_info("client_version", "")) or None
        if session.ended is not None or self._service.draining:
            # It came while the others were told to go, and would otherwise outlive them.
            self.cut(session.ended or EndReason.DRAINING)
            return
        self._door.tasks.spawn(self._check(session), f"looking up session {grant.session}")

    def connection_requested(
        self, dest_host: str, dest_port: int, orig_host: str, orig_port: int
    ) -> tuple[asyncssh.SSHTCPChannel[bytes], Awaitable[ChannelEnd]]:
        if self._connection is None or self._session is None or self._session.ended is not None:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "airtunnel: there is no session")
        # The port is not looked at: a target's name says it all, and `ssh -L` must write something.
        name = dest_host if dest_host.isprintable() and len(dest_host) <= 63 else "(no name)"
        return self._connection.create_tcp_channel(window=WINDOW, max_pktsize=PACKET), self._open(self._session, name)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._door.settle(self._connection)
        if self._session is not None:
            self._door.tasks.spawn(
                self._door.sessions.leave(self._session, self), f"the end of session {self._session.grant.session}"
            )
            self._session = None

    def cut(self, reason: EndReason) -> None:
        """Disconnect, saying why."""
        if self._connection is not None:
            # Not BY_APPLICATION: asyncssh takes that for a good-bye, and keeps the words from its client.
            self._connection.disconnect(asyncssh.DISC_SERVICE_NOT_AVAILABLE, f"airtunnel: session ended: {reason}")

    async def _open(self, session: Session, name: str) -> ChannelEnd:
        """The channel's end here, with what it will do once it is open. Raises ChannelOpenError where only that can be said."""
        number = new_id(self._service.clock())
        try:
            target, decision = await self._service.check_grant(session.grant, name, self._source, number)
            await session.come_up(name)
        except AirtunnelError as error:
            return self._refuse(name, error)
        return self._once_open(Connection(self._service, session, target, decision, number, self._source).run)

    def _refuse(self, name: str, error: AirtunnelError) -> ChannelEnd:
        """The refusal in the target's own protocol; for a stock `ssh`, and where no protocol is known, as the channel's."""
        target = self._service.policy.targets.get(name)
        assert self._connection is not None
        stock = str(self._connection.get_extra_info("client_version", "")).startswith(STOCK)
        if stock or target is None or target.protocol is not Protocol.POSTGRES:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, one_line(error)) from error
        return self._once_open(lambda end: refuse_postgres(end, error, STARTUP_LIMIT))

    def _once_open(self, run: Callable[[ChannelEnd], Coroutine[object, object, None]]) -> ChannelEnd:
        async def whole(end: ChannelEnd) -> None:
            try:
                await run(end)
            except BaseException:
                end.abort()
                raise

        return ChannelEnd(lambda end: self._door.begin(whole(end), self._source))

    async def _check(self, session: Session) -> None:
        """No channel opens for a grant that was revoked or locked anyway; its link is not to stay, either."""
        grant, store = session.grant, self._service.store
        try:
            if await store.is_revoked(grant):
                self.cut(EndReason.REVOKED)
            elif find_lock(await store.locks.held(self._service.clock()), grant.principal, grant.targets) is not None:
                self.cut(EndReason.LOCKED)
            else:
                await session.come_up(grant.targets[0])
        except AirtunnelError as error:
            logger.warning("session %s: %s", grant.session, error)


def one_line(error: AirtunnelError) -> str:
    """An error for a channel's refusal: what `ssh` prints after "open failed:"."""
    parts = [error.message, *error.details]
    if isinstance(error, Refused) and error.request:
        parts.append(f"request {error.request}")
    if error.hint:
        parts.append(f"hint: {error.hint}")
    return "airtunnel: " + "; ".join(parts)


async def refuse_postgres(end: ChannelEnd, error: AirtunnelError, limit: timedelta) -> None:
    """Hear the client out until an error can be said, then say it."""
    try:
        await drive(postgres.read_startup(), end, limit=limit, peer="the client")
        end.write(postgres.error_response(error))
    except (AirtunnelError, ConnectionError) as failure:
        logger.info("a refused client did not listen: %s", failure)
    finally:
        end.close()
