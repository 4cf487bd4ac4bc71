"""The client of the gateway's HTTPS API: grants, the list of targets, sessions and locks, the end of everything."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from airtunnel.errors import (
    AirtunnelError,
    Forbidden,
    LoginRequired,
    NotFound,
    ProtocolError,
    Refused,
    Temporary,
    Unreachable,
)
from airtunnel.identity.answer import Answer
from airtunnel.identity.http import http_client, send
from airtunnel.identity.present import Presented
from airtunnel.identity.proof import headers
from airtunnel.model import Tags
from airtunnel.wire.control import Catalog, GrantReply, GrantRequest
from airtunnel.wire.refusal import PATH, Told
from airtunnel.wire.sessions import Killed, LockList, LockRequest, LockSet, SessionList

if TYPE_CHECKING:
    import asyncssh

LIMIT = timedelta(seconds=15)
"""For one call. A gateway whose provider is slow answers within ten."""
CLOCK_SKEW = timedelta(seconds=3)
"""Between this machine and the gateway, from which on a refused proof may owe its refusal to the clock."""


@dataclass(frozen=True, slots=True)
class Granted:
    """A grant, and the key in memory that it was signed for."""

    reply: GrantReply
    key: "asyncssh.SSHKey" = field(repr=False)


@dataclass(slots=True)
class Control:
    """The API of `gateway` ("host" or "host:port"), its certificate checked against `ca` or the system's trust store."""

    gateway: str
    ca: Path | None = None
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    async def grant(self, shown: Presented, targets: tuple[str, ...], tags: Tags) -> Granted:
        """A grant for all of `targets`, for a key made here that never leaves this process.

        Raises Refused, LoginRequired, Unreachable, Temporary or ProtocolError.
        """
        import asyncssh

        key = asyncssh.generate_private_key("ssh-ed25519")
        body = GrantRequest(targets, key.export_public_key().decode().strip(), tags).encode()
        reply = await self._call("POST", "/v1/grants", shown, body, ssh_key=key.get_fingerprint())
        return Granted(GrantReply.decode(reply), key)

    async def targets(self, shown: Presented) -> Catalog:
        """Who I am there, and every target with what the policy says of it."""
        return Catalog.decode(await self._call("GET", "/v1/targets", shown))

    async def refusal(self, shown: Presented, request: str) -> Told:
        """A refusal of mine, by its request's id, told once more. Raises NotFound if the gateway knows none."""
        return Told.decode(await self._call("GET", f"{PATH}{request}", shown))

    async def log_out(self, shown: Presented) -> None:
        """End every session of mine at the gateway."""
        await self._call("POST", "/v1/logout", shown)

    async def sessions(self, shown: Presented, *, everybody: bool = False) -> SessionList:
        """My sessions, or everybody's. Raises Forbidden if those are not for me."""
        return SessionList.decode(await self._call("GET", f"/v1/sessions{'?all=1' if everybody else ''}", shown))

    async def kill(self, shown: Presented, session: str) -> Killed:
        """End one session. Raises NotFound if there is no such one of mine (or, for an admin, at all)."""
        return Killed.decode(await self._call("DELETE", f"/v1/sessions/{quote(session, safe='')}", shown))

    async def kill_all(self, shown: Presented) -> Killed:
        """End all sessions of mine, and stay logged in."""
        return Killed.decode(await self._call("DELETE", "/v1/sessions", shown))

    async def locks(self, shown: Presented) -> LockList:
        """The locks that hold. Raises Forbidden for who is no admin, as the next two do."""
        return LockList.decode(await self._call("GET", "/v1/locks", shown))

    async def lock(self, shown: Presented, asked: LockRequest) -> LockSet:
        """Lock."""
        return LockSet.decode(await self._call("POST", "/v1/locks", shown, asked.encode()))

    async def unlock(self, shown: Presented, kind: str, name: str) -> None:
        """Lift a lock. Raises NotFound if there is none."""
        await self._call("DELETE", f"/v1/locks?{urlencode({'kind': kind, 'name': name})}", shown)

    async def _call(
        self, method: str, path: str, shown: Presented, body: bytes | None = None, *, ssh_key: str | None = None
    ) -> bytes:
        url, now = f"https://{self.gateway}{path}", self.clock()
        async with http_client(ca=self.ca, timeout=LIMIT) as client:
            given = headers(shown, method, url, now, ssh_key=ssh_key)
            answer = await send(client, method, url, body=body, headers=given, timeout=LIMIT)
            if answer.status == 401 and "DPoP" in given and (there := _clock_of(answer, now)) is not None:
                given = headers(shown, method, url, there, ssh_key=ssh_key)
                answer = await send(client, method, url, body=body, headers=given, timeout=LIMIT)
        if 200 <= answer.status < 300:
            return answer.body or b""
        raise self._error(answer)

    def _error(self, answer: Answer) -> AirtunnelError:
        body = answer.json() or {}
        code, message = body.get("code"), body.get("message")
        if not isinstance(code, str) or not isinstance(message, str):
            return Unreachable(
                f"{self.gateway} answered HTTP {answer.status}, and not as an airtunnel gateway does",
                hint="check the gateway's address, and what stands in between",
            )
        hint = None if body.get("hint") is None else str(body["hint"])
        details = tuple(str(one) for one in body.get("details", ()))
        match answer.status:
            case 403 if code == Refused.code:
                return Refused.from_json(body)
            case 403:
                return Forbidden(f"{self.gateway}: {message}", hint=hint, details=details)
            case 404:
                return NotFound(f"{self.gateway}: {message}", hint=hint, details=details)
            case 401:
                return LoginRequired(message, hint=f"airtunnel login {self.gateway}", details=details)
            case 503:
                return Temporary(f"{self.gateway}: {message}", hint=hint, details=details)
            case 400:
                return ProtocolError(f"{self.gateway}: {message}", hint=hint, details=details)
            case _:
                return AirtunnelError(f"{self.gateway}: {message}", hint=hint, details=details)


def _clock_of(answer: Answer, now: datetime) -> datetime | None:
    """What time it is at the gateway, where that is another than here: proofs hold for seconds, and laptops' clocks drift."""
    try:
        there = parsedate_to_datetime(answer.headers.get("date", ""))
    except ValueError:
        return None
    return there if there.tzinfo is not None and abs(there - now) > CLOCK_SKEW else None
