"""One connection, from the open channel to the last byte.

channel    gateway                                    target
  ------->  startup (wire.postgres)
            session.borrow                             a temporary login
            dial, TLS, log in           ------------>
  <-------  its reply, with a cancel key of our own
  <======>  bytes both ways             <===========>  nothing is parsed any more
  <-------  57P01 with the reason, at a message's border, when the session ends
"""

import asyncio
import contextlib
import logging
from datetime import timedelta

from airtunnel.audit.record import Event, Record
from airtunnel.errors import AirtunnelError, Ended
from airtunnel.gateway import upstream
from airtunnel.gateway.ids import new_id
from airtunnel.gateway.service import Service
from airtunnel.gateway.session import Session
from airtunnel.model import Decision, EndReason, Outcome, Request, Target
from airtunnel.model import Protocol as Spoken
from airtunnel.tunnel.drive import drive
from airtunnel.tunnel.relay import Relay
from airtunnel.tunnel.stream import End, SocketEnd
from airtunnel.wire import postgres

logger = logging.getLogger(__name__)

STARTUP_LIMIT = timedelta(seconds=15)
"""For the client's startup packet; psql sends it at once."""
LAST_WORDS = timedelta(seconds=3)
"""How long a running query may take to be cancelled, so that the reason can be said at a message's border."""


class Border:
    """The target's last bytes, to know when it stands between two messages. Costs a slice per chunk and nothing per byte."""

    def __init__(self, tail: bytes) -> None:
        self.reached = asyncio.Event()
        self.relay: Relay
        self._tail = tail[-6:]
        self._asked = 0
        self._stopping = False

    def see(self, data: bytes) -> None:
        """A chunk went down to the client."""
        self._tail = data[-6:] if len(data) >= 6 else (self._tail + data)[-6:]
        if postgres.at_boundary(self._tail):
            self._asked = self.relay.up.count if data else self._asked
            if self._stopping:
                # At once, in this call: the next chunk may come before any task wakes up.
                self.reached.set()
                self.relay.stop()

    @property
    def quiet(self) -> bool:
        """Whether the target stands between two messages and has been asked nothing since."""
        return postgres.at_boundary(self._tail) and self._asked == self.relay.up.count

    def stop(self) -> None:
        """Stop the relay as soon as the target stands between two messages: now, if it does, also when it works in silence."""
        self._stopping = True
        self.see(b"")


class Connection:
    """One client of one target in a session."""

    def __init__(
        self, service: Service, session: Session, target: Target, decision: Decision, number: str, source: str | None
    ) -> None:
        self.number = number
        self._source = source
        self._service = service
        self._session = session
        self._target = target
        self._decision = decision
        self._started = service.clock()
        self._client: End | None = None
        self._relay: Relay | None = None
        self._border: Border | None = None
        self._upstream_key: postgres.CancelRequest | None = None
        self._user: str | None = None
        self._database = target.database
        self._recorded = False
        self._finished = asyncio.Event()
        self._ordered: EndReason | None = None
        """Why the session wants us to end, once it does."""
        self._cancelling: set[asyncio.Task[None]] = set()

    async def run(self, client: End) -> None:
        """The whole connection. What goes wrong is told to the client and to the audit, and not raised."""
        reason, detail = EndReason.FAILED, None
        self._client = client
        self._session.move_in(self)
        try:
            await self._session.open()
            await self._record(Event.CONNECTION_OPENED)
            self._recorded = True
            reason, detail = await self._talk(client)
        except Ended as error:
            reason = EndReason(error.reason)
            self._say(client, error)
        except AirtunnelError as error:
            detail = error.message
            logger.info("connection %s: %s", self.number, error.message)
            self._say(client, error)
        except ConnectionError:
            reason = self._ordered or EndReason.CLIENT_CLOSED
        except Exception:
            detail = "internal error"
            logger.exception("connection %s failed", self.number)
            self._say(client, AirtunnelError("internal error", hint=f"ask the gateway's operator for connection {self.number}"))
        finally:
            client.close()
            # Before the end is on disk: a client that closes and connects again must find its place free.
            self._session.stand_up(self)
            await asyncio.shield(self._close(reason, detail))

    async def end(self, reason: EndReason) -> None:
        """The session's order to end. Returns when the client has been told, in its own protocol, and all is over."""
        self._ordered = reason
        if self._relay is not None:
            await self._stop(self._relay)
        with contextlib.suppress(TimeoutError):
            # One that is still logging in, or a client that says nothing, is cut off with its link. Cutting is abrupt: a slow
            # reader gets its time to take the last words.
            async with asyncio.timeout(LAST_WORDS.total_seconds()):
                await self._finished.wait()
                if self._client is not None:
                    await self._client.wait_lost()

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes so far: from the client, and to it."""
        return (self._relay.up.count, self._relay.down.count) if self._relay else (0, 0)

    @property
    def allowance(self) -> int | None:
        """How many bytes its rule allows the session, both ways together."""
        return self._decision.limits.bytes

    def idle_too_long(self) -> bool:
        """Whether its rule's limit for doing nothing has passed. A query that runs is not nothing."""
        limit, relay = self._decision.limits.idle, self._relay
        if limit is None or relay is None or self._ordered is not None:
            return False
        busy = self._border is not None and not self._border.quiet
        return not busy and relay.idle() > limit.total_seconds()

    async def _stop(self, relay: Relay) -> None:
        if self._border is None:
            relay.stop()
            return
        self._border.stop()
        if not self._border.reached.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS.total_seconds()):
                    await self._cancel()
                    await self._border.reached.wait()
            relay.stop()

    async def _talk(self, client: End) -> tuple[EndReason, str | None]:
        """Everything from the client's first byte on: why it ended, and what else is to be said of it."""
        if self._target.protocol is Spoken.TCP:
            await self._sit_down()
            target = await upstream.dial(self._target)
            self._check_wanted(target)
            return await self._pump(Relay(client, target)), None
        startup = await drive(postgres.read_startup(), client, limit=STARTUP_LIMIT, peer="the client")
        if isinstance(startup, postgres.CancelRequest):
            known = self._session.cancel(startup)
            return EndReason.CLIENT_CLOSED, "cancel request" if known else "cancel request with a key of no connection here"
        # Only now: a cancel request needs no place, and would find none when it is needed.
        await self._sit_down()
        return await self._talk_postgres(client, startup), None

    async def _sit_down(self) -> None:
        limit, decision, grant = self._decision.limits.connections, self._decision, self._session.grant
        if self._session.sit(self, limit):
            return
        reasons = (f"allows {limit} connections at a time, and all are in use",)
        full = Decision(Outcome.DENIED, decision.rule, decision.place, reasons, for_now=True, commit=decision.commit)
        request = Request(grant.principal, self._target.name, grant.tags, self._session.source)
        raise await self._service.refuse(request, full, session=grant.session, connection=self.number)

    def _check_wanted(self, target: SocketEnd) -> None:
        if self._ordered is not None:  # the session ended while we dialled
            target.close()
            raise self._ended(self._ordered)

    async def _talk_postgres(self, client: End, startup: postgres.Startup) -> EndReason:
        self._database = self._target.database or startup.database
        lease = await self._session.borrow(self._target)
        self._user = lease.user
        asked = postgres.rewrite_startup(
            startup, user=lease.user, database=self._target.database, application_name=self._application()
        )
        target, logged_in = await upstream.log_in(self._target, asked, lease)
        self._check_wanted(target)
        self._upstream_key = logged_in.key
        key = self._session.take_key(self._cancel_soon)
        try:
            client.write(postgres.replace_key(logged_in, key))
            self._border = Border(logged_in.reply)
            # In PostgreSQL nobody ends one direction only: a client whose bytes end is gone.
            self._border.relay = relay = Relay(client, target, half_close=False, watch=self._border.see)
            try:
                return await self._pump(relay)
            finally:
                # Whatever the end: what still runs for a client that is gone must not run on, and commit.
                if relay.tail != postgres.TERMINATE and not target.lost:
                    self._cancel_soon()
        finally:
            self._session.drop_key(key)

    async def _pump(self, relay: Relay) -> EndReason:
        self._relay = relay
        try:
            await relay.run()
        finally:
            relay.target.close()
        if self._ordered is None:
            said_goodbye = self._border is not None and relay.tail == postgres.TERMINATE
            return EndReason.CLIENT_CLOSED if relay.client_first or said_goodbye else EndReason.TARGET_CLOSED
        if self._border is None or self._border.reached.is_set():
            raise self._ended(self._ordered)
        return self._ordered  # in the middle of a message nothing can be said

    def _say(self, client: End, error: AirtunnelError) -> None:
        if self._target.protocol is Spoken.POSTGRES:
            client.write(postgres.error_response(error))

    def _ended(self, reason: EndReason) -> Ended:
        return Ended(
            f"the session to {self._target.name} has ended: {reason}",
            reason=reason,
            details=(*self._session.because, f"rule: {self._decision.rule} ({self._decision.place})"),
            hint=f"airtunnel connect {self._target.name}",
        )

    def _application(self) -> str:
        """What the database shows for this connection: the task, or the person."""
        tags = self._session.grant.tags
        task = "/".join(part for part in (tags.dag_id, tags.task_id, tags.run_id) if part)
        return f"airtunnel:{task or self._session.grant.principal.name}"

    def _cancel_soon(self) -> None:
        task = asyncio.get_running_loop().create_task(self._cancel())
        self._cancelling.add(task)
        task.add_done_callback(self._cancelling.discard)

    async def _cancel(self) -> None:
        if self._upstream_key is not None:
            try:
                await upstream.cancel(self._target, self._upstream_key)
            except (AirtunnelError, OSError) as error:
                logger.warning("connection %s: the query could not be cancelled: %s", self.number, error)

    async def _close(self, reason: EndReason, detail: str | None) -> None:
        try:
            if self._recorded:
                await self._record(Event.CONNECTION_CLOSED, reason=reason, detail=detail)
        except AirtunnelError:
            logger.exception("the end of connection %s could not be written down", self.number)
        finally:
            self._session.move_out(self)
            self._finished.set()

    async def _record(self, event: Event, *, reason: EndReason | None = None, detail: str | None = None) -> None:
        service, grant, over = self._service, self._session.grant, event is Event.CONNECTION_CLOSED
        now = service.clock()
        await service.audit.write(
            Record(
                event,
                request=new_id(now),
                session=grant.session,
                connection=self.number,
                principal=grant.principal,
                target=self._target.name,
                protocol=self._target.protocol,
                tags=grant.tags,
                decision=self._decision,
                source=self._source,
                upstream=str(self._target.address),
                database=self._database,
                lease=self._user,
                bytes_up=self._relay.up.count if self._relay else 0 if over else None,
                bytes_down=self._relay.down.count if self._relay else 0 if over else None,
                duration=now - self._started if over else None,
                reason=reason,
                detail=detail,
            )
        )
