"""GET /v1/requests/ID: a refusal told once more to whoever was refused, with what the policy says by now.

Only one's own: of another's request nobody learns more than of one that never was. The answer comes from this gateway's audit.
"""

import asyncio
import shlex
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeAlias

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from airtunnel.audit.asked import principal_of, told_in
from airtunnel.audit.files import full_files
from airtunnel.audit.lookup import find_record
from airtunnel.errors import NotFound
from airtunnel.gateway.answers import json_answer, source_of
from airtunnel.gateway.ids import id_time, is_id
from airtunnel.gateway.service import Service
from airtunnel.identity.verify.verifier import Verified
from airtunnel.model import Principal, Request
from airtunnel.policy.decide import decide
from airtunnel.policy.refusal import refused
from airtunnel.wire.refusal import PATH, Told

Handler: TypeAlias = Callable[[HttpRequest], Awaitable[Response]]


def requests_route(
    service: Service, answer: Callable[[Handler], Handler], verify: Callable[[HttpRequest], Awaitable[Verified]]
) -> Route:
    """The route. answer: makes responses of errors; verify: who asks, raising LoginRequired or TokenRejected."""

    async def show(http: HttpRequest) -> Response:
        who = (await verify(http)).principal
        told = await find_refusal(service, who, http.path_params["id"])
        if told is None:
            raise NotFound(
                "no refusal of yours is known here under this id",
                hint="its operator can look it up: airtunnel why REQUEST --audit FILE",
            )
        return json_answer(compare_now(service, told, who, source_of(http)).encode())

    return Route(f"{PATH}{{id}}", answer(show))


async def find_refusal(service: Service, who: Principal, number: str) -> Told | None:
    """The refusal of this principal under this id; None if there is none, or it was another's."""
    if not is_id(number):
        return None
    path = service.config.audit.file
    record = await asyncio.to_thread(find_record, [*full_files(path), path], number, id_time(number))
    owner = None if record is None else principal_of(record)
    if record is None or owner is None or (owner.issuer, owner.subject) != (who.issuer, who.subject):
        return None
    return told_in(record)


def compare_now(service: Service, told: Told, who: Principal, source: str | None) -> Told:
    """The refusal with what the policy of now would say to the same request, by whom its principal is now."""
    target = told.refusal.target
    request = Request(who, target, told.tags, source)
    decision = decide(service.policy, request, service.clock())
    if decision.allowed:
        told.refusal.hint = f"airtunnel connect {shlex.quote(target)}"
        return replace(told, allowed_by=f"{decision.rule} ({decision.place})")
    told.refusal.hint = decision.hint
    return replace(told, now=refused(decision, request))
