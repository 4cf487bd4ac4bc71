"""The client of the gateway's HTTPS API: grants, the list of targets, the end of everything."""

import json
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from airtunnel.errors import AirtunnelError, LoginRequired, ProtocolError, Refused, Temporary, Unreachable
from airtunnel.identity.http import http_client
from airtunnel.model import Tags
from airtunnel.wire.control import MAX_BODY, Catalog, GrantReply, GrantRequest

if TYPE_CHECKING:
    import asyncssh
    import httpx2

LIMIT = timedelta(seconds=15)
"""For one call. A gateway whose provider is slow answers within ten."""


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

    async def grant(self, token: str, targets: tuple[str, ...], tags: Tags) -> Granted:
        """A grant for all of `targets`, for a key made here that never leaves this process.

        Raises Refused, LoginRequired, Unreachable, Temporary or ProtocolError.
        """
        import asyncssh

        key = asyncssh.generate_private_key("ssh-ed25519")
        body = GrantRequest(targets, key.export_public_key().decode().strip(), tags).encode()
        return Granted(GrantReply.decode(await self._call("POST", "/v1/grants", token, body)), key)

    async def targets(self, token: str) -> Catalog:
        """Who I am there, and every target with what the policy says of it."""
        return Catalog.decode(await self._call("GET", "/v1/targets", token))

    async def log_out(self, token: str) -> None:
        """End every session of mine at the gateway."""
        await self._call("POST", "/v1/logout", token)

    async def _call(self, method: str, path: str, token: str, body: bytes = b"") -> bytes:
        import httpx2

        async with http_client(ca=self.ca, timeout=LIMIT) as client:
            try:
                response = await client.request(
                    method,
                    f"https://{self.gateway}{path}",
                    content=body,
                    headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                )
            except httpx2.HTTPError as error:
                raise unreachable(self.gateway, error) from error
        if response.is_success:
            return bytes(response.content)
        raise self._error(response)

    def _error(self, response: "httpx2.Response") -> AirtunnelError:
        try:
            body = json.loads(response.content[: MAX_BODY * 4])
            message, code = str(body["message"]), str(body["code"])
        except (ValueError, KeyError, TypeError):
            return Unreachable(
                f"{self.gateway} answered {response.status_code}, and not as an airtunnel gateway does",
                hint="check the gateway's address, and what stands in between",
            )
        hint = None if body.get("hint") is None else str(body["hint"])
        details = tuple(str(one) for one in body.get("details", ()))
        match response.status_code:
            case 403 if code == Refused.code:
                return Refused.from_json(body)
            case 401:
                return LoginRequired(message, hint=f"airtunnel login {self.gateway}", details=details)
            case 503:
                return Temporary(f"{self.gateway}: {message}", hint=hint, details=details)
            case 400:
                return ProtocolError(f"{self.gateway}: {message}", hint=hint, details=details)
            case _:
                return AirtunnelError(f"{self.gateway}: {message}", hint=hint, details=details)


def unreachable(gateway: str, error: Exception) -> Unreachable:
    """What a failed HTTPS call to `gateway` means to a person."""
    cause = str(error).strip() or type(error).__name__
    return Unreachable(
        f"gateway {gateway} does not answer: {cause.lower()}", hint="is the gateway up, and this the right network?"
    )
