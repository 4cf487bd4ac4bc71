"""Logging in, staying logged in and logging out, at a gateway's OpenID provider."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from airtunnel.errors import LoginFailed, LoginRequired, ProtocolError, Temporary, Unreachable
from airtunnel.identity.answer import Answer
from airtunnel.identity.device import DeviceFlow, DevicePrompt, Post, Show, Wait, device_flow
from airtunnel.identity.http import http_client, send
from airtunnel.identity.provider import ProviderMetadata, fetch_metadata
from airtunnel.identity.tokenset import TokenSet, tokens_from
from airtunnel.wire.control import Published

if TYPE_CHECKING:
    import httpx2

Sleep = Callable[[float], Awaitable[object]]


async def log_in(
    published: Published,
    *,
    show: Callable[[DevicePrompt], None],
    timeout: timedelta = timedelta(seconds=180),
    ca: Path | None = None,
    sleep: Sleep = asyncio.sleep,
) -> TokenSet:
    """The tokens of a person who has typed the shown code at their provider within `timeout`.

    show: called once, with what the person needs to see
    ca: authorities of the provider, as in `http_client`
    Raises LoginFailed, Unreachable, Temporary or ProtocolError as `device_flow` does.
    """
    if "device" not in published.flows:
        raise LoginFailed(
            f"this version cannot log in as the gateway asks: {', '.join(published.flows) or 'no way at all'}",
            hint="pip install --upgrade airtunnel",
        )
    async with http_client(ca=ca) as client:
        metadata = await fetch_metadata(published.issuer, client)
        flow = device_flow(metadata, published, now=datetime.now(UTC), limit=timeout)

        async def answer(command: Post) -> Answer:
            start = asyncio.get_running_loop().time()
            try:
                return await _post(client, metadata, published, command.endpoint, command.form)
            except Unreachable as trouble:
                took = timedelta(seconds=asyncio.get_running_loop().time() - start)
                return Answer(0, body=None, trouble=trouble, took=took)

        return await _drive(flow, answer, show, sleep)


async def refresh(
    published: Published, tokens: TokenSet, *, gateway: str | None = None, ca: Path | None = None, now: datetime | None = None
) -> TokenSet:
    """New tokens for old ones (RFC 6749 section 6). The old refresh token must not be used again: save the new set first.

    gateway: the name for the hint, where it is not the published one
    Raises LoginRequired if the login has ended; Temporary or Unreachable, naming the issuer, if that cannot be known now.
    """
    hint = f"airtunnel login {gateway or published.name}"
    if tokens.refresh_token is None:
        raise LoginRequired(f"your login at {published.issuer} has expired, and cannot be renewed", hint=hint)
    async with http_client(ca=ca) as client:
        metadata = await fetch_metadata(published.issuer, client)
        form = {"grant_type": "refresh_token", "refresh_token": tokens.refresh_token}
        answer = await _post(client, metadata, published, metadata.token_endpoint, form)
    if answer.busy:
        raise Temporary(f"{published.issuer} cannot renew your login now: {answer.said}")
    if answer.status == 200 and answer.error is None and (body := answer.json()) is not None:
        try:
            return tokens_from(body, published, now or datetime.now(UTC), previous=tokens)
        except LoginFailed as error:
            raise LoginRequired(error.message, details=error.details, hint=hint) from error
    # Some providers answer a dead or used refresh token with an empty 400.
    if answer.error == "invalid_grant" or (answer.status in (400, 401) and answer.json() is None):
        raise LoginRequired(f"your login at {published.issuer} has ended", hint=hint)
    if answer.error is not None:
        raise LoginFailed(f"{published.issuer} does not renew your login: {answer.said}", hint=hint)
    raise Unreachable(f"{published.issuer} does not renew your login: {answer.said}", hint=f"curl -v {metadata.token_endpoint}")


async def revoke(published: Published, tokens: TokenSet, *, ca: Path | None = None) -> bool:
    """Whether the provider has confirmed that these tokens are dead (RFC 7009). False if it cannot, or does not answer."""
    token, kind = tokens.refresh_token, "refresh_token"
    if token is None:
        token, kind = tokens.access_token, "access_token"
    if not token:
        return False
    try:
        async with http_client(ca=ca) as client:
            metadata = await fetch_metadata(published.issuer, client)
            if metadata.revocation_endpoint is None:
                return False
            form = {"token": token, "token_type_hint": kind}
            answer = await _post(client, metadata, published, metadata.revocation_endpoint, form)
    except (Unreachable, Temporary, ProtocolError):
        return False
    return answer.status == 200


async def _drive(
    flow: DeviceFlow, answer: Callable[[Post], Awaitable[Answer]], show: Callable[[DevicePrompt], None], sleep: Sleep
) -> TokenSet:
    try:
        command = next(flow)
        while True:
            reply: Answer | None = None
            match command:
                case Post():
                    reply = await answer(command)
                case Wait(duration):
                    await sleep(duration.total_seconds())
                case Show(prompt):
                    show(prompt)
            command = flow.send(reply)
    except StopIteration as stop:
        tokens: TokenSet = stop.value
        return tokens
    finally:
        flow.close()


async def _post(
    client: "httpx2.AsyncClient", metadata: ProviderMetadata, published: Published, endpoint: str, form: Mapping[str, str]
) -> Answer:
    """Post a form as the gateway's client (RFC 6749 section 2.3.1; RFC 8628 section 3.1 wants client_id in any case)."""
    import httpx2

    named = {**form, "client_id": published.client_id}
    secret = published.client_secret
    if secret is None:
        return await send(client, "POST", endpoint, form=named)
    if "client_secret_post" in metadata.auth_methods:
        return await send(client, "POST", endpoint, form=named | {"client_secret": secret})
    auth = httpx2.BasicAuth(quote_plus(published.client_id), quote_plus(secret))
    return await send(client, "POST", endpoint, form=named, auth=auth)
