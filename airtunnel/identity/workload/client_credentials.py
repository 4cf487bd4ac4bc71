"""A client of one's own at the company's provider, for machines that have no identity of another kind.

POST token_endpoint   grant_type=client_credentials, client_assertion=JWT signed with the client's key    -> access_token
RFC 6749 section 4.4, RFC 7523 section 2.2 (private_key_jwt of OpenID Connect Core section 9)
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airtunnel.errors import LoginFailed, LoginRequired, Temporary, TokenRejected, Unreachable
from airtunnel.identity.answer import Answer, seconds
from airtunnel.identity.compact import read_parts
from airtunnel.identity.endpoint import is_loopback, secure_url
from airtunnel.identity.http import http_client, not_found, send
from airtunnel.identity.provider import fetch_metadata
from airtunnel.identity.workload.accept import check_token, taken
from airtunnel.identity.workload.assertion import TYPE, read_key, sign_assertion
from airtunnel.identity.workload.source import LIMIT
from airtunnel.wire.control import Published, WorkloadIssuer

if TYPE_CHECKING:
    import httpx2
    from joserfc.jwk import Key

CLIENT, KEY, ISSUER, SCOPE = "AIRTUNNEL_CLIENT_ID", "AIRTUNNEL_CLIENT_KEY_FILE", "AIRTUNNEL_ISSUER", "AIRTUNNEL_SCOPE"
ELSEWHERE = ("github", "gitlab", "kubernetes", "gcp", "aws")
"""Providers at which nobody has a client of their own."""
EARLY = timedelta(seconds=60)
"""Before its expiry, a token is not used any more."""


@dataclass(frozen=True, slots=True)
class ClientCredentials:
    """A client and its key. `kept`: the tokens so far, with their expiry, in memory only."""

    environment: Mapping[str, str] = field(repr=False)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    name: str = "client-credentials"
    where: str = "the provider's answer"
    kept: dict[WorkloadIssuer, tuple[str, datetime]] = field(default_factory=dict, repr=False, compare=False)

    def wants(self, published: Published) -> tuple[WorkloadIssuer, ...]:
        """The entry of AIRTUNNEL_ISSUER, or the first that is a provider at which one has clients. Raises LoginFailed."""
        entries = taken(published)
        if not (issuer := self.environment.get(ISSUER)):
            return tuple(one for one in entries if one.provider not in ELSEWHERE)[:1]
        if found := tuple(one for one in entries if one.issuer == issuer):
            return found
        known = dict.fromkeys(one.issuer for one in entries)
        raise LoginFailed(
            f"{ISSUER} is {issuer[:200]!a}, whose tokens {published.name} does not take", details=tuple(known)[:5]
        )

    def advice(self, audience: str) -> tuple[str, ...]:
        return (f"at the provider: this client's access tokens must be JWTs for {audience}",) if audience else ()

    async def token(self, wanted: WorkloadIssuer, published: Published) -> str:
        """An access token, kept until a minute before its expiry.

        Raises LoginRequired if a variable or the key is missing, ConfigError for a bad key, LoginFailed if the provider does
        not take the client, Unreachable, Temporary.
        """
        for name in (CLIENT, KEY):
            if not self.environment.get(name):
                raise LoginRequired(f"{name} is not set", details=(f"{CLIENT} and {KEY} say who this machine is",))
        now = self.clock()
        if (kept := self.kept.get(wanted)) is not None and kept[1] - EARLY > now:
            return kept[0]
        key = read_key(Path(self.environment[KEY]))
        ca = published.ca if wanted.issuer == published.issuer else None
        async with http_client(ca=ca, timeout=LIMIT) as client:
            endpoint, audiences = await _endpoint(client, wanted, published)
            answer = await self._ask(client, endpoint, audiences, key, wanted, published)
        token, expires_at = _read(endpoint, answer, now)
        # Before it is kept: a provider that was set up wrongly would else go on being wrong after somebody mended it.
        check_token(token, published, now, where=self.where, advice=self.advice(wanted.audience))
        self.kept[wanted] = token, expires_at
        return token

    async def _ask(
        self,
        client: "httpx2.AsyncClient",
        endpoint: str,
        audiences: tuple[str, ...],
        key: "Key",
        wanted: WorkloadIssuer,
        published: Published,
    ) -> Answer:
        client_id = self.environment[CLIENT]
        form = {"grant_type": "client_credentials", "client_id": client_id, "client_assertion_type": TYPE}
        if scope := self.environment.get(SCOPE):
            form["scope"] = scope
        if wanted.audience:
            form["audience"] = wanted.audience  # Auth0 needs it; others ignore what they do not know (RFC 6749 section 3.2)
        if wanted.issuer == published.issuer and (resource := published.request.get("resource")):
            form["resource"] = resource
        answer = Answer(0)
        for audience in audiences:
            form["client_assertion"] = sign_assertion(key, client_id, audience, self.clock())
            answer = await send(client, "POST", endpoint, form=form, timeout=LIMIT)
            if answer.error != "invalid_client":
                break
        return answer


async def _endpoint(client: "httpx2.AsyncClient", wanted: WorkloadIssuer, published: Published) -> tuple[str, tuple[str, ...]]:
    """The token endpoint, and for whom the assertion is made, in the order in which that is tried.

    The issuer, says OpenID Connect Core since its draft 36, and Auth0 takes nothing else. The endpoint, said everybody before,
    and Okta and Entra still do. Only the issuer itself may name the place to which an assertion for the issuer is sent: else
    a gateway could publish its own address as the issuer's, and use the assertion there.
    """
    if wanted.issuer == published.issuer and (given := published.endpoints.get("token_endpoint")):
        host = urlsplit(wanted.issuer).hostname or ""
        secure_url(given, "the token endpoint that the gateway publishes", loopback=is_loopback(host))
        return given, (given,)
    endpoint = (await fetch_metadata(wanted.issuer, client)).token_endpoint
    return endpoint, (wanted.issuer, endpoint)


def _read(endpoint: str, answer: Answer, now: datetime) -> tuple[str, datetime]:
    """The access token and until when it holds (RFC 6749 section 5.1)."""
    host = urlsplit(endpoint).netloc
    body = answer.json()
    if answer.status != 200 or body is None:
        raise _refused(host, endpoint, answer)
    token = body.get("access_token")
    if not isinstance(token, str):
        raise Unreachable(f"{host} answered without an access token")
    said = [life for life in (seconds(body.get("expires_in")), _left(token, now)) if life is not None]
    return token, now + min(said, default=timedelta())


def _left(token: str, now: datetime) -> timedelta | None:
    try:
        exp = read_parts(token)[1].get("exp")
    except TokenRejected:
        return None
    return seconds(exp - now.timestamp()) if isinstance(exp, int | float) else None


def _refused(host: str, endpoint: str, answer: Answer) -> Temporary | LoginFailed | Unreachable:
    if answer.error is None or answer.busy:
        return not_found(endpoint, answer)
    # A provider may repeat what it was sent, and the assertion is still good for a minute.
    said = answer.error[:80] if "eyJ" in answer.said else answer.said
    details = {
        "invalid_client": (f"{CLIENT} must be registered there, with private_key_jwt and the public half of {KEY}",),
        "unauthorized_client": ("the client must be allowed the grant client_credentials there",),
        "invalid_scope": (f"set {SCOPE} to what the provider asks for; Entra: api://APP/.default",),
    }
    return LoginFailed(f"{host} gave this client no token: {said}", details=details.get(answer.error, ()))
