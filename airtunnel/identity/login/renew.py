"""Staying logged in, and logging out: what becomes of a login's refresh token."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from airtunnel.errors import LoginFailed, LoginRequired, ProtocolError, Temporary, Unreachable
from airtunnel.identity.answer import Answer
from airtunnel.identity.http import http_client
from airtunnel.identity.login.binding import next_tokens
from airtunnel.identity.login.client import Client, acting_as
from airtunnel.identity.login.refusal import again, refusal
from airtunnel.identity.login.request import token_along
from airtunnel.identity.provider import fetch_metadata
from airtunnel.identity.tokenset import TokenSet
from airtunnel.model import KeyBinding
from airtunnel.wire.control import Published


async def refresh(
    published: Published,
    tokens: TokenSet,
    *,
    gateway: str | None = None,
    ca: Path | str | None = None,
    now: datetime | None = None,
) -> TokenSet:
    """New tokens for old ones (RFC 6749 section 6). The old refresh token must not be used again: save the new set first.

    gateway: the name for the hint, where it is not the published one; ca: as in `log_in`
    Raises LoginRequired if the login has ended, LoginFailed if the gateway's client is refused; Temporary or Unreachable,
    naming the issuer, if that cannot be known now.
    """
    published = replace(published, name=gateway or published.name)
    acting = _renewing(published, tokens)
    async with http_client(ca=ca or published.ca) as http:
        metadata = await fetch_metadata(published.issuer, http, published.endpoints)
        form = {"grant_type": "refresh_token", "refresh_token": tokens.refresh_token or "", **token_along(published)}
        client = Client(http, metadata, acting)
        if tokens.bound is not None and tokens.bound.kind == KeyBinding.DPOP:
            from airtunnel.identity.proof import ProofKey

            client.key = ProofKey.load(tokens.bound.key)
        answer = await client.post(metadata.token_endpoint, form)
    if answer.status == 200 and answer.error is None and (body := answer.json()) is not None:
        try:
            return next_tokens(body, acting, now or datetime.now(UTC), tokens)
        except LoginFailed as error:
            raise LoginRequired(error.message, details=error.details, hint=again(published)) from error
    raise _unrenewed(answer, acting, metadata.token_endpoint, tokens)


async def revoke(published: Published, tokens: TokenSet, *, ca: Path | str | None = None) -> bool:
    """Whether the provider has confirmed that these tokens are dead (RFC 7009). False if it cannot, or does not answer."""
    token, kind = tokens.refresh_token, "refresh_token"
    if token is None:
        token, kind = tokens.access_token, "access_token"
    acting = acting_as(published, tokens.client_id)
    if not token or acting is None:
        return False
    try:
        async with http_client(ca=ca or published.ca) as http:
            metadata = await fetch_metadata(published.issuer, http, published.endpoints)
            if metadata.revocation_endpoint is None:
                return False
            form = {"token": token, "token_type_hint": kind}
            answer = await Client(http, metadata, acting).post(metadata.revocation_endpoint, form)
    except (Unreachable, Temporary, ProtocolError):
        return False
    return answer.status == 200


def _renewing(published: Published, tokens: TokenSet) -> Published:
    """With the client that logged in, if a renewal can give what the gateway takes. Raises LoginRequired if it cannot."""
    if tokens.refresh_token is None:
        raise LoginRequired(f"your login at {published.issuer} has expired, and cannot be renewed", hint=again(published))
    acting = acting_as(published, tokens.client_id)
    if acting is None:
        raise LoginRequired(
            "the gateway logs people in with another client now, so your login cannot be renewed", hint=again(published)
        )
    if tokens.bound is None and published.binding in (KeyBinding.DPOP, KeyBinding.NONCE):
        raise LoginRequired("the gateway takes logins only that are tied to a key now, and yours is not", hint=again(published))
    return acting


def _unrenewed(
    answer: Answer, published: Published, endpoint: str, tokens: TokenSet
) -> LoginRequired | Temporary | Unreachable:
    said = answer.said.replace(tokens.refresh_token or "\0", "...")
    if answer.busy:
        return Temporary(f"{published.issuer} cannot renew your login now: {said}")
    # Some providers answer a dead or used refresh token with an empty 400.
    if answer.error == "invalid_grant" or (answer.status in (400, 401) and answer.json() is None):
        return LoginRequired(f"your login at {published.issuer} has ended", hint=again(published))
    if answer.error is not None:
        return refusal(answer.error, said, published, "renew your login")
    return Unreachable(f"{published.issuer} does not renew your login: {said}", hint=f"curl -v {endpoint}")
