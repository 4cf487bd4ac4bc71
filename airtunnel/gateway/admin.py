"""The HTTPS API's handlers for sessions and locks: everybody for their own, admins for all. wire/sessions.py has the bodies."""

from collections.abc import Awaitable, Callable, Iterable
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from airtunnel.audit.record import Event, Record
from airtunnel.errors import Forbidden
from airtunnel.gateway import desk
from airtunnel.gateway.answers import json_answer, read_body, source_of
from airtunnel.gateway.ids import new_id
from airtunnel.gateway.locks import Lock, LockKind, find_lock
from airtunnel.gateway.service import Service
from airtunnel.gateway.session import Sessions
from airtunnel.identity.verify.verifier import Verified
from airtunnel.model import EndReason, Principal
from airtunnel.wire.sessions import Killed, LockList, LockRequest, LockSet, SessionEntry, SessionList

Handler = Callable[[Request], Awaitable[Response]]

MAX_LISTED = 500
"""Sessions in one answer: what a client reads is limited, too. The newest are left out."""


class Admin:
    """The handlers. verify: who asks, of a request; raises as the verifier does."""

    def __init__(self, service: Service, sessions: Sessions, verify: Callable[[Request], Awaitable[Verified]]) -> None:
        self._service = service
        self._sessions = sessions
        self._verify = verify

    def routes(self, answer: Callable[[Handler], Handler]) -> list[Route]:
        """The routes. answer: what makes answers of errors."""
        return [
            Route("/v1/sessions", answer(self._list), methods=["GET"]),
            Route("/v1/sessions", answer(self._kill_mine), methods=["DELETE"]),
            Route("/v1/sessions/{session:path}", answer(self._kill), methods=["DELETE"]),
            Route("/v1/locks", answer(self._locks), methods=["GET"]),
            Route("/v1/locks", answer(self._lock), methods=["POST"]),
            Route("/v1/locks", answer(self._unlock), methods=["DELETE"]),
        ]

    async def _list(self, request: Request) -> Response:
        who = (await self._verify(request)).principal
        everybody = request.query_params.get("all") == "1"
        if everybody:
            await self._need_admin(who, request, "see all sessions")
        found = await desk.list_sessions(self._service.store, self._service.clock(), None if everybody else who)
        left_out = max(0, len(found) - MAX_LISTED)
        return json_answer(SessionList(who.name, tuple(found[:MAX_LISTED]), left_out).encode())

    async def _kill_mine(self, request: Request) -> Response:
        who = (await self._verify(request)).principal
        ended = await desk.kill_all(self._service.store, self._service.clock(), who)
        return await self._killed(who, request, ended)

    async def _kill(self, request: Request) -> Response:
        who = (await self._verify(request)).principal
        of = None if await self._is_admin(who) else who
        entry = await desk.kill(self._service.store, request.path_params["session"], self._service.clock(), of)
        return await self._killed(who, request, [entry])

    async def _killed(self, who: Principal, request: Request, ended: list[SessionEntry]) -> Response:
        ids = {one.session for one in ended}
        for one in ended:
            await self._record(Event.SESSION_KILLED, who, request, f"of {one.who}", session=one.session)
        await self._sessions.end_where(lambda one: one.grant.session in ids, EndReason.REVOKED)
        return json_answer(Killed(tuple(one.session for one in ended)).encode())

    async def _locks(self, request: Request) -> Response:
        await self._need_admin((await self._verify(request)).principal, request, "see locks")
        return json_answer(_listed(await self._service.store.locks.held(self._service.clock())))

    async def _lock(self, request: Request) -> Response:
        who = (await self._verify(request)).principal
        await self._need_admin(who, request, "lock")
        asked = LockRequest.decode(await read_body(request))
        hold = (
            None if asked.seconds is None else timedelta(seconds=max(0, min(asked.seconds, 10**9)))
        )  # out of all bounds is an error, too
        now = self._service.clock()
        lock, ends = await desk.set_lock(
            self._service.store, asked.kind, asked.name, asked.reason, by=who.name, now=now, hold=hold
        )
        await self._record(Event.LOCK_SET, who, request, desk.describe(lock), target=_target(lock))
        return json_answer(LockSet(desk.lock_entry(lock), ends).encode(), status=201)

    async def _unlock(self, request: Request) -> Response:
        who = (await self._verify(request)).principal
        await self._need_admin(who, request, "unlock")
        store, query = self._service.store, request.query_params
        lock = await desk.held(store, query.get("kind", ""), query.get("name", ""), self._service.clock())
        await self._record(Event.LOCK_LIFTED, who, request, desk.describe(lock), target=_target(lock))
        await store.locks.lift(lock.kind, lock.name)
        return Response(status_code=204)

    async def _is_admin(self, who: Principal) -> bool:
        """Whether this is an admin, and one that is not locked: else whoever took over an account could lift its lock."""
        if not self._service.config.admins.include(who):
            return False
        return find_lock(await self._service.store.locks.held(self._service.clock()), who, ()) is None

    async def _need_admin(self, who: Principal, request: Request, what: str) -> None:
        if await self._is_admin(who):
            return
        await self._record(Event.REFUSED, who, request, f"{what}: not one of the gateway's admins")
        raise Forbidden(
            f"{who.name} may not {what}: that is for the gateway's admins",
            hint="`admins:` in the gateway's configuration says who they are",
        )

    async def _record(
        self,
        event: Event,
        who: Principal,
        request: Request,
        detail: str,
        *,
        session: str | None = None,
        target: str | None = None,
    ) -> None:
        await self._service.audit.write(
            Record(
                event,
                request=new_id(self._service.clock()),
                session=session,
                principal=who,
                target=target,
                source=source_of(request),
                detail=detail,
            )
        )


def _target(lock: Lock) -> str | None:
    return lock.name if lock.kind is LockKind.TARGET else None


def _listed(locks: Iterable[Lock]) -> bytes:
    return LockList(tuple(desk.lock_entry(one) for one in locks)).encode()
