"""A running gateway: every part opened in order, both ports served, everything closed again.

async with Gateway.open(config) as gateway:     policy, state, audit, keys; then the ports
    await gateway.run()                         until `stop`: drain, give back, write down
"""

import asyncio
import contextlib
import logging
import resource
import signal
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta

import asyncssh

from airtunnel import __version__
from airtunnel.audit.log import AuditLog
from airtunnel.audit.record import Event, Record
from airtunnel.config.gateway import GatewayConfig
from airtunnel.errors import AddressTaken
from airtunnel.gateway.api import Api
from airtunnel.gateway.authority import Authority, load_authority
from airtunnel.gateway.https import Server, bind, make_server
from airtunnel.gateway.ids import new_id
from airtunnel.gateway.leases import Leases
from airtunnel.gateway.providers import publish, trusted
from airtunnel.gateway.reload import read_policy, watch_policy
from airtunnel.gateway.server import Door
from airtunnel.gateway.service import Service, wall_clock
from airtunnel.gateway.session import Sessions, close_lost
from airtunnel.gateway.store import Store
from airtunnel.gateway.tasks import Tasks
from airtunnel.gateway.trust import watch_authority
from airtunnel.identity.http import http_client
from airtunnel.identity.verify.verifier import Verifier
from airtunnel.wire.control import Published

logger = logging.getLogger(__name__)

CLOSE_LIMIT = timedelta(seconds=20)
"""For sessions to end, and for what they borrowed to go back. Their time before that is `sessions: {drain: ...}`."""


class Gateway:
    """The parts of a gateway and its two ports."""

    def __init__(self, service: Service, leases: Leases, verifier: Verifier) -> None:
        self.service = service
        self.sessions = Sessions(service, leases)
        self._leases = leases
        self._watch = watch_policy(service, self.sessions)
        self._trust = watch_authority(service, self._prepare)
        self._verifier = verifier
        self._tasks = Tasks()
        self._stopping = asyncio.Event()
        self._hurried = asyncio.Event()
        self._door = Door(service, self.sessions, self._tasks)
        self._handlers: Api | None = None
        self._api: Server | None = None
        self._ssh: asyncssh.SSHAcceptor | None = None
        self.published: Published | None = None
        self.https_port = 0

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, config: GatewayConfig) -> AsyncIterator["Gateway"]:
        """A gateway that accepts on both ports. Raises ConfigError, AddressTaken, and what its parts raise."""
        policy = read_policy(config.policy, config.environment)
        authority = load_authority(config.authority)
        async with contextlib.AsyncExitStack() as stack:
            store = await stack.enter_async_context(Store.open(config.state))
            audit = await stack.enter_async_context(AuditLog.open(config.audit, gateway=config.name, clock=wall_clock))
            service = Service(config, policy, authority, audit, store)
            leases = Leases(service)
            stack.push_async_callback(leases.aclose)
            client = await stack.enter_async_context(http_client())
            verifier = Verifier(trusted(config.providers), client=client, clock=wall_clock)
            gateway = cls(service, leases, verifier)
            try:
                await gateway._start()
                yield gateway
            finally:
                await gateway._close()

    async def run(self) -> None:
        """Serve until `stop`; then running sessions get their time (`sessions: {drain: ...}`), or until the second `stop`."""
        await self._stopping.wait()
        waits = [asyncio.ensure_future(self.sessions.vacant()), asyncio.ensure_future(self._hurried.wait())]
        await asyncio.wait(
            waits, timeout=self.service.config.sessions.drain.total_seconds(), return_when=asyncio.FIRST_COMPLETED
        )
        for wait in waits:
            wait.cancel()

    def stop(self) -> None:
        """No new sessions from now on; the second time: no waiting for those that run."""
        if self._stopping.is_set():
            self._hurried.set()
        self.service.draining = True
        self._stopping.set()

    def stop_on_signals(self) -> None:
        """SIGTERM and SIGINT end the gateway in order; SIGHUP loads policy and keys again."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    async def _start(self) -> None:
        config = self.service.config
        await self._record(
            Event.GATEWAY_STARTED,
            f"airtunnel {__version__}, policy {self.service.policy.commit or 'of no commit'}, "
            f"user CA {self.service.authority.user_ca}, host CA {self.service.authority.host_ca}",
        )
        await close_lost(self.service)
        try:
            self._ssh = await self._door.listen(config.listen.ssh.host, config.listen.ssh.port, (config.public.ssh.host,))
            listening = bind(config.listen.https.host, config.listen.https.port)
        except OSError as error:
            raise AddressTaken(
                f"cannot listen: {error.strerror or error}", hint="`listen:` in the gateway's configuration"
            ) from error
        self.https_port = listening.getsockname()[1]
        self.published = publish(config, ssh_port=self._ssh.get_port(), host_cas=self.service.authority.host_cas)
        self._handlers = Api(self.service, self.sessions, self._verifier, self.published)
        self._api = make_server(self._handlers.app(), config.tls.certificate, config.tls.key)
        serving = self._tasks.spawn(self._api.serve(sockets=[listening]), "the HTTPS server")
        serving.add_done_callback(lambda _: self.stop())  # a gateway that nobody can log in to is better restarted
        self._tasks.keep(self.sessions.run, "looking after sessions")
        self._tasks.keep(self._leases.run, "looking after leases")
        self._tasks.keep(self._watch.run, "following the policy")
        self._tasks.keep(self._trust.run, "following the keys")
        logger.info("gateway %s: https on port %d, ssh on port %d", config.name, self.https_port, self._ssh.get_port())

    async def _close(self) -> None:
        self.service.draining = True
        if self._ssh is not None:
            self._ssh.close()
        try:
            async with asyncio.timeout(CLOSE_LIMIT.total_seconds()):
                await self.sessions.drain()
        except TimeoutError:
            logger.error("%d sessions did not end in time; what they borrowed goes back at the next start", len(self.sessions))
        if self._api is not None:
            self._api.should_exit = True
        await self._tasks.aclose(CLOSE_LIMIT)
        await self._record(Event.GATEWAY_STOPPED, None)

    def _reload(self) -> None:
        self._watch.reload()
        self._trust.reload()

    async def _prepare(self, authority: Authority) -> Callable[[], None]:
        """Ready to sign with these keys and accept what they signed; what comes back makes it so. Raises Temporary."""
        before = self.service.authority
        shown = (before.host_key, before.host_ca.signer.public) == (authority.host_key, authority.host_ca.signer.public)
        show = None if shown else await self._door.renew(authority)

        def use() -> None:
            if show is not None:
                show()
            self.service.authority = authority
            if self.published is not None and self._handlers is not None:
                self.published = replace(self.published, host_cas=authority.host_cas)
                self._handlers.publish(self.published)

        return use

    async def _record(self, event: Event, detail: str | None) -> None:
        await self.service.audit.write(Record(event, request=new_id(self.service.clock()), detail=detail))


def lift_limits() -> None:
    """Allow as many descriptors as the system does: each tunnel takes two or three, and the default is 1,024."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):  # macOS says "unlimited" and takes no such number
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
