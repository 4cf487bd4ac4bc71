"""The demo's OAuth 2.0 server: authlib's device and refresh grants over our ledger, tokens signed with joserfc.

Everything that touches authlib's server side stands here.
"""

from datetime import timedelta
from typing import Any

from authlib.integrations.flask_oauth2 import AuthorizationServer  # type: ignore[import-untyped]  # authlib has no types
from authlib.oauth2.rfc6749.errors import InvalidGrantError  # type: ignore[import-untyped]  # authlib has no types
from authlib.oauth2.rfc6749.grants import RefreshTokenGrant  # type: ignore[import-untyped]  # authlib has no types
from authlib.oauth2.rfc7009 import RevocationEndpoint  # type: ignore[import-untyped]  # authlib has no types
from authlib.oauth2.rfc8628 import (  # type: ignore[import-untyped]  # authlib has no types
    DeviceAuthorizationEndpoint,
    DeviceCodeGrant,
)
from flask import Flask
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey

from airtunnel.demo.ledger import Client, DeviceCode, Ledger, Login, Refresh

ALGORITHM = "ES256"
ACCESS_LIFE = timedelta(minutes=15)
SCOPES = ("openid", "email", "groups", "offline_access")


class TokenReply(dict[str, Any]):  # Any: JSON
    """The token endpoint's answer. authlib logs it with %r at debug level, so its repr holds nothing."""

    def __repr__(self) -> str:
        return f"<TokenReply {', '.join(self)}>"


class Signer:
    """Makes and reads the provider's JWTs. The key lives as long as the provider."""

    def __init__(self, issuer: str, client_id: str, audience: str, ledger: Ledger) -> None:
        self.issuer = issuer
        self.client_id = client_id
        self.audience = audience
        self.ledger = ledger
        self._key = ECKey.generate_key("P-256", parameters={"use": "sig", "alg": ALGORITHM}, auto_kid=True)

    def jwks(self) -> dict[str, Any]:  # Any: JSON
        """The public half, as served at `jwks_uri`."""
        return {"keys": [self._key.as_dict(private=False)]}

    def access_token(self, login: Login, scope: str, jti: str) -> str:
        """A JWT access token (RFC 9068) for the gateway."""
        claims = {"aud": self.audience, "client_id": login.client_id, "jti": jti, "scope": scope}
        return self._sign("at+jwt", login, claims | login.person.claims())

    def id_token(self, login: Login, scope: str) -> str:
        """An ID token (OpenID Connect Core section 2) for the client, with the claims its scopes ask for."""
        claims = {"aud": login.client_id, "auth_time": int(login.at.timestamp())}
        return self._sign("JWT", login, claims | scoped(login, scope))

    def login_of(self, token: str) -> tuple[Login, str] | None:
        """The login behind an access token and its scopes, or None if the token is not ours, over or revoked."""
        try:
            decoded = jwt.decode(token, self._key, algorithms=[ALGORITHM])
        except (JoseError, ValueError):
            return None
        claims = decoded.claims
        if decoded.header.get("typ") != "at+jwt" or claims["exp"] <= self.ledger.clock().timestamp():
            return None
        login = self.ledger.login_of(claims["jti"])
        return (login, claims["scope"]) if login else None

    def _sign(self, typ: str, login: Login, claims: dict[str, Any]) -> str:  # Any: JSON
        now = self.ledger.clock()
        times = {"iat": int(now.timestamp()), "exp": int((now + ACCESS_LIFE).timestamp())}
        header = {"alg": ALGORITHM, "typ": typ, "kid": self._key.kid}
        return jwt.encode(header, {"iss": self.issuer, "sub": login.person.login} | times | claims, self._key)


def scoped(login: Login, scope: str) -> dict[str, Any]:  # Any: JSON
    """The claims about a person that these scopes ask for (OpenID Connect Core section 5.4, and our `groups`)."""
    scopes = scope.split()
    wanted = {"name": "openid", "email": "email", "email_verified": "email", "groups": "groups"}
    return {name: value for name, value in login.person.claims().items() if wanted[name] in scopes}


def add_server(app: Flask, ledger: Ledger, signer: Signer, *, interval: int, code_life: timedelta) -> AuthorizationServer:
    """An authlib server in this app that knows one client, with both grants and both endpoints registered."""
    client = Client(signer.client_id)
    app.config["OAUTH2_SCOPES_SUPPORTED"] = list(SCOPES)
    server = AuthorizationServer(
        app,
        query_client=lambda client_id: client if client_id == client.client_id else None,
        save_token=lambda token, request: None,  # the ledger noted it when it was made
    )

    def generate(*, user: Login, scope: str | None, **_: object) -> TokenReply:
        scopes = scope or ""
        jti, refresh_token = ledger.issue(user)
        reply = TokenReply(
            token_type="Bearer",  # noqa: S106 - the name of a scheme
            access_token=signer.access_token(user, scopes, jti),
            expires_in=int(ACCESS_LIFE.total_seconds()),
            scope=scopes,
        )
        if "openid" in scopes.split():
            reply["id_token"] = signer.id_token(user, scopes)
        if "offline_access" in user.scope.split():
            reply["refresh_token"] = refresh_token
        return reply

    server.register_token_generator("default", generate)
    server.register_grant(_device_grant(ledger))
    server.register_grant(_refresh_grant(ledger))
    server.register_endpoint(_device_endpoint(ledger, signer.issuer, interval, code_life))
    server.register_endpoint(_revocation(ledger, signer))
    return server


def _device_endpoint(ledger: Ledger, issuer: str, interval: int, life: timedelta) -> type[Any]:  # Any: authlib
    class Device(DeviceAuthorizationEndpoint):  # type: ignore[misc]  # authlib has no types
        CLIENT_AUTH_METHODS = ("none",)
        EXPIRES_IN = int(life.total_seconds())
        INTERVAL = interval

        def get_verification_uri(self) -> str:
            return f"{issuer}/device"

        def save_device_credential(self, client_id: str, scope: str | None, data: dict[str, Any]) -> None:  # Any: JSON
            device_code, user_code = data["device_code"], data["user_code"]
            expires_at = ledger.clock() + life
            ledger.add_code(DeviceCode(device_code, user_code, client_id, scope or "", expires_at, interval, ledger.clock))

    return Device


def _device_grant(ledger: Ledger) -> type[Any]:  # Any: authlib
    class Grant(DeviceCodeGrant):  # type: ignore[misc]  # authlib has no types
        TOKEN_ENDPOINT_AUTH_METHODS = ("none",)

        def query_device_credential(self, device_code: str) -> DeviceCode:
            # authlib's own answer would be invalid_request; RFC 6749 section 5.2 has invalid_grant for a code that is no more.
            if (code := ledger.device(device_code)) is None:
                raise InvalidGrantError
            return code

        def query_user_grant(self, user_code: str) -> tuple[Login | None, bool] | None:
            return ledger.redeem(user_code)

        def should_slow_down(self, credential: DeviceCode) -> bool:
            return ledger.hurried(credential)

    return Grant


def _refresh_grant(ledger: Ledger) -> type[Any]:  # Any: authlib
    class Grant(RefreshTokenGrant):  # type: ignore[misc]  # authlib has no types
        TOKEN_ENDPOINT_AUTH_METHODS = ("none",)
        INCLUDE_NEW_REFRESH_TOKEN = True

        def authenticate_refresh_token(self, refresh_token: str) -> Refresh | None:
            return ledger.refresh(refresh_token)

        def authenticate_user(self, refresh_token: Refresh) -> Login:
            return refresh_token.login

        def issue_token(self, user: Login, refresh_token: Refresh) -> dict[str, Any]:  # Any: JSON
            # Spent before the new one is made: of two requests at the same moment one gets a token.
            if not ledger.spend(refresh_token):
                raise InvalidGrantError
            reply: dict[str, Any] = super().issue_token(user, refresh_token)  # Any: JSON
            return reply

        def revoke_old_credential(self, refresh_token: Refresh) -> None:
            """Nothing is left to do: issue_token has spent it."""

    return Grant


def _revocation(ledger: Ledger, signer: Signer) -> type[Any]:  # Any: authlib
    class Revocation(RevocationEndpoint):  # type: ignore[misc]  # authlib has no types
        CLIENT_AUTH_METHODS = ("none",)

        def query_token(self, token: str, hint: str | None) -> Refresh | None:
            if found := ledger.refresh(token):
                return found
            access = signer.login_of(token)
            return Refresh(access[0], ledger.clock()) if access else None

        def revoke_token(self, token: Refresh, request: object) -> None:
            ledger.revoke(token.login)

    return Revocation
