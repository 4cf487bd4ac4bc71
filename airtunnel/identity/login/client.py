"""How the gateway's client speaks to its provider: it names itself, shows its secret, and proves its key where it has one."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

from airtunnel.identity.answer import Answer
from airtunnel.identity.http import send
from airtunnel.identity.login.choice import Flow
from airtunnel.identity.provider import ProviderMetadata
from airtunnel.wire.control import Published

if TYPE_CHECKING:
    import httpx2

    from airtunnel.identity.proof import ProofKey


@dataclass(slots=True)
class Client:
    """One client at one provider. `key` goes with requests for tokens (RFC 9449); `published` names the acting client."""

    http: "httpx2.AsyncClient"
    metadata: ProviderMetadata
    published: Published
    key: "ProofKey | None" = field(default=None, repr=False)
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    _nonce: str | None = field(default=None, init=False)

    async def post(self, endpoint: str, form: Mapping[str, str]) -> Answer:
        """The answer to a form, whatever its status. Raises Unreachable as `send` does."""
        if self.key is None or endpoint != self.metadata.token_endpoint:
            return await self._named(endpoint, form, {})
        answer = await self._proven(self.key, endpoint, form)
        if answer.error == "use_dpop_nonce" and answer.headers.get("dpop-nonce"):
            # Section 8: the provider wants its own nonce in the proof, and has just said which. Once: else this had no end.
            answer = await self._proven(self.key, endpoint, form)
        return answer

    async def _proven(self, key: "ProofKey", endpoint: str, form: Mapping[str, str]) -> Answer:
        proof = key.prove("POST", endpoint, self.clock(), nonce=self._nonce)
        answer = await self._named(endpoint, form, {"DPoP": proof})
        # Section 8.2: any answer may bring the nonce for the next request.
        self._nonce = answer.headers.get("dpop-nonce") or self._nonce
        return answer

    async def _named(self, endpoint: str, form: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """RFC 6749 section 2.3.1; RFC 8628 section 3.1 wants client_id in any case."""
        import httpx2

        named = {**form, "client_id": self.published.client_id}
        secret = self.published.client_secret
        if secret is None:
            return await send(self.http, "POST", endpoint, form=named, headers=headers)
        if "client_secret_post" in self.metadata.auth_methods:
            return await send(self.http, "POST", endpoint, form=named | {"client_secret": secret}, headers=headers)
        auth = httpx2.BasicAuth(quote_plus(self.published.client_id), quote_plus(secret))
        return await send(self.http, "POST", endpoint, form=named, headers=headers, auth=auth)


def acting_in(published: Published, flow: Flow) -> Published:
    """The same, with the client that logs in by this flow in the place of the client."""
    browser = published.browser
    if flow == "device" or browser.client_id is None:
        return published
    return replace(published, client_id=browser.client_id, client_secret=browser.client_secret)


def acting_as(published: Published, client_id: str) -> Published | None:
    """The same, with the client that once logged in in its place; None if the gateway no longer has it."""
    if client_id in ("", published.client_id):
        return published
    browser = acting_in(published, "browser")
    return browser if browser.client_id == client_id else None
