"""A device client of the demo's provider, over real HTTP; and a clock that moves by hand."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
from joserfc import jwt
from joserfc.jwk import KeySet

from airtunnel.demo.provider import Provider

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
SCOPES = "openid email groups offline_access"


class HandClock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


class Device:
    """Asks for a code and polls, as RFC 8628 has it. Finds every address in the discovery document."""

    def __init__(self, provider: Provider, client_id: str = "airtunnel") -> None:
        self.client_id = client_id
        self.http = httpx2.Client(trust_env=False)
        self.metadata = self.http.get(f"{provider.issuer}/.well-known/openid-configuration").json()
        self.started: dict[str, Any] = {}  # Any: JSON

    def close(self) -> None:
        self.http.close()

    def start(self, scope: str = SCOPES) -> str:
        self.started = self.post("device_authorization_endpoint", scope=scope).json()
        return str(self.started["verification_uri_complete"])

    def poll(self) -> dict[str, Any]:  # Any: JSON
        return self.token(grant_type=GRANT, device_code=self.started["device_code"])

    def refresh(self, refresh_token: str, **more: str) -> dict[str, Any]:  # Any: JSON
        return self.token(grant_type="refresh_token", refresh_token=refresh_token, **more)

    def token(self, **form: str) -> dict[str, Any]:  # Any: JSON
        reply: dict[str, Any] = self.post("token_endpoint", **form).json()  # Any: JSON
        return reply

    def post(self, endpoint: str, **form: str) -> httpx2.Response:
        return self.http.post(self.metadata[endpoint], data={"client_id": self.client_id} | form)

    def userinfo(self, access_token: str) -> httpx2.Response:
        return self.http.get(self.metadata["userinfo_endpoint"], headers={"Authorization": f"Bearer {access_token}"})

    def read(self, token: str) -> jwt.Token:
        """The token, if its signature is the provider's."""
        return jwt.decode(token, KeySet.import_key_set(self.http.get(self.metadata["jwks_uri"]).json()), algorithms=["ES256"])
