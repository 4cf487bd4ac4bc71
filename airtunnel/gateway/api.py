"""The HTTPS API: identity and control. wire/control.py has the bodies.

A token is seen here and by the provider only; it never crosses SSH. Errors are problem+json (RFC 9457) with our code, message
and hint; what is wrong with a token is for the audit, not for its bearer.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from airtunnel import __version__
from airtunnel.audit.record import Event, Record
from airtunnel.errors import (
    AirtunnelError,
    Forbidden,
    LoginRequired,
    NotFound,
    ProtocolError,
    Refused,
    Temporary,
    TokenRejected,
    Unreachable,
)
from airtunnel.gateway.admin import Admin
from airtunnel.gateway.answers import json_answer, read_body, source_of
from airtunnel.gateway.bearer import Names, challenge, fingerprint, read_shown
from airtunnel.gateway.grants import issue_grant, list_targets
from airtunnel.gateway.ids import new_id
from airtunnel.gateway.requests import requests_route
from airtunnel.gateway.service import Service
from airtunnel.gateway.session import Sessions
from airtunnel.gateway.throttle import Throttle, network
from airtunnel.identity.verify.verifier import Verified, Verifier, cut_ascii
from airtunnel.model import EndReason
from airtunnel.wire.control import WELL_KNOWN, GrantRequest, Published

logger = logging.getLogger(__name__)

REJECTIONS_RATE = 1.0
"""Rejected tokens written down, per second and source: 86,400 lines a day from one that tries all the time, about 40 MB."""
REJECTIONS_BURST = 20
MAX_GRANTS = 1000
"""For one token in its life, at all gateways together: more than a worker's busiest hour, and an end to a stolen one."""

STATUS: tuple[tuple[type[AirtunnelError], int], ...] = (
    (Refused, 403),
    (Forbidden, 403),
    (NotFound, 404),
    (LoginRequired, 401),
    (ProtocolError, 400),
    (Temporary, 503),
    (Unreachable, 503),
)


class Api:
    """The handlers, over the gateway's parts."""

    def __init__(self, service: Service, sessions: Sessions, verifier: Verifier, published: Published) -> None:
        self._service = service
        self._sessions = sessions
        self._verifier = verifier
        self.publish(published)
        self._names = Names(service.config)
        self._rejections = Throttle(REJECTIONS_RATE, REJECTIONS_BURST)
        self._all_rejections = Throttle(10 * REJECTIONS_RATE, 10 * REJECTIONS_BURST)

    def app(self) -> Starlette:
        """The ASGI application."""
        return Starlette(
            routes=[
                Route(WELL_KNOWN, self._answer(self._well_known)),
                Route("/v1/targets", self._answer(self._targets)),
                Route("/v1/grants", self._answer(self._grants), methods=["POST"]),
                Route("/v1/logout", self._answer(self._logout), methods=["POST"]),
                *Admin(self._service, self._sessions, self._verify).routes(self._answer),
                requests_route(self._service, self._answer, self._verify),
                Route("/healthz", self._answer(self._health)),
                Route("/readyz", self._answer(self._ready)),
            ]
        )

    def publish(self, published: Published) -> None:
        """What clients are told from now on."""
        self._published = published.encode()

    async def _well_known(self, request: Request) -> Response:
        return json_answer(self._published, cache="max-age=60")

    async def _targets(self, request: Request) -> Response:
        verified = await self._verify(request)
        return json_answer((await list_targets(self._service, verified.principal, source_of(request))).encode())

    async def _grants(self, request: Request) -> Response:
        verified = await self._verify(request)
        asked = GrantRequest.decode(await read_body(request))
        if verified.proof is not None:
            verified.check_key(fingerprint(asked.public_key))
        await self._count(verified)
        reply = await issue_grant(
            self._service,
            verified.principal,
            asked,
            until=verified.expires_at,
            source=source_of(request),
            jti=verified.token_id,
        )
        return json_answer(reply.encode(), status=201)

    async def _logout(self, request: Request) -> Response:
        """Every session of this principal ends, here and, through the store, at every other gateway."""
        verified = await self._verify(request)
        who, now = verified.principal, self._service.clock()
        # A copy of the token that somebody has must not open what its owner has closed.
        await self._service.store.spend(who.issuer, verified.token_id, verified.expires_at)
        # A grant of this very moment must not slip through.
        await self._service.store.revoke_principal(who.issuer, who.subject, now + timedelta(milliseconds=1))
        await self._service.audit.write(Record(Event.LOGOUT, request=new_id(now), principal=who, source=source_of(request)))
        mine = (who.issuer, who.subject)
        await self._sessions.end_where(
            lambda one: (one.grant.principal.issuer, one.grant.principal.subject) == mine, EndReason.REVOKED
        )
        return Response(status_code=204)

    async def _health(self, request: Request) -> Response:
        return json_answer(b'{"ok":true}')

    async def _ready(self, request: Request) -> Response:
        if self._service.draining:
            raise Temporary("the gateway is shutting down")
        return json_answer(json.dumps({"ok": True, "sessions": len(self._sessions), "version": __version__}).encode())

    async def _verify(self, request: Request) -> Verified:
        token, shown = read_shown(request, self._names)
        return await self._verifier.verify(token, shown)

    async def _count(self, verified: Verified) -> None:
        used = await self._service.store.use_count(verified.principal.issuer, verified.token_id, verified.expires_at)
        if used > MAX_GRANTS:
            raise TokenRejected(f"the token was used for {MAX_GRANTS} grants already (id {cut_ascii(verified.token_id)})")

    async def _reject(self, source: str | None, why: str) -> str:
        """Write a rejected token down; the request's id. Not each of thousands: a stranger must not fill the audit's disk."""
        number = new_id(self._service.clock())
        now = asyncio.get_running_loop().time()
        missed = self._rejections.take(network(source), now)
        if missed is not None and self._all_rejections.take("", now) is not None:
            detail = f"{why} (and {missed} more from there, not written down)" if missed else why
            await self._service.audit.write(Record(Event.TOKEN_REJECTED, request=number, source=source, detail=detail))
            logger.info("request %s: token rejected: %s", number, detail)
        return number

    def _answer(self, handler: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def answered(request: Request) -> Response:
            try:
                return await self._or_login(handler, request)
            except LoginRequired as error:
                return _problem(error, {"WWW-Authenticate": challenge(request)})
            except AirtunnelError as error:
                return _problem(error)
            except Exception:
                logger.exception("%s %s failed", request.method, request.scope["path"])
                return _problem(AirtunnelError("internal error of the gateway", hint="ask its operator to look at its log"))

        return answered

    async def _or_login(self, handler: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
        try:
            return await handler(request)
        except TokenRejected as error:
            number = await self._reject(source_of(request), error.message)
            raise LoginRequired(
                "the gateway does not accept this login", details=(f"request: {number}",), hint="airtunnel login"
            ) from None


def _problem(error: AirtunnelError, more: Mapping[str, str] = {}) -> Response:
    status = next((status for kind, status in STATUS if isinstance(error, kind)), 500)
    body = {"type": "about:blank", "title": error.message, "status": status} | error.as_json()
    return Response(json.dumps(body), status, {"Cache-Control": "no-store", **more}, "application/problem+json")
