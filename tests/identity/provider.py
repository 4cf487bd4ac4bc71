"""An OpenID provider that is real enough to log in at, and that misbehaves on command."""

import json
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl

from joserfc import jwk, jws, jwt

from airtunnel.wire.control import Published

from .server import Asked, Reply, serving

CLIENT = "airtunnel-cli"
AUDIENCE = "airtunnel-api"
Claims = dict[str, Any]  # Any: JSON


class Provider:
    """`script[path]` holds answers that are given before the honest ones. `asked` counts requests by path."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.keys: list[jwk.Key] = [new_key("first")]
        self.script: dict[str, deque[Reply]] = {"/token": deque(), "/device": deque(), "/jwks": deque(), "/revoke": deque()}
        self.metadata: Claims = {}
        self.asked: Counter[str] = Counter()
        self.forms: list[dict[str, str]] = []
        self.headers: list[Mapping[str, str]] = []
        self.device = {"user_code": "WDJB-MJHT", "expires_in": 600, "interval": 5}
        self.approved = True
        self.live: set[str] = set()
        self.used: set[str] = set()
        self.reused = 0
        self.revoked: list[str] = []
        self.life = 3600
        self._lock = threading.Lock()
        self._count = 0

    def handle(self, asked: Asked) -> Reply:
        with self._lock:
            self.asked[asked.path] += 1
            if asked.method == "POST":
                self.forms.append(dict(parse_qsl(asked.body.decode(), keep_blank_values=True)))
                self.headers.append(asked.headers)
            if self.script.get(asked.path):
                return self.script[asked.path].popleft()
            match asked.path:
                case "/.well-known/openid-configuration":
                    return reply(self._discovery())
                case "/jwks":
                    return reply({"keys": [one.as_dict(private=False) for one in self.keys]})
                case "/device":
                    return reply(
                        self.device | {"device_code": "secret-device-code", "verification_uri": f"{self.issuer}/activate"}
                    )
                case "/token":
                    return self._token(self.forms[-1])
                case "/revoke":
                    self.revoked.append(self.forms[-1]["token"])
                    return Reply(200)
            return Reply(404)

    def sign(self, claims: Claims, header: Claims | None = None, key: jwk.Key | None = None) -> str:
        key = key or self.keys[0]
        header = {"alg": "RS256" if key.key_type == "RSA" else "ES256", "kid": key.kid, "typ": "at+jwt"} | (header or {})
        header = {name: value for name, value in header.items() if value is not None}
        registry = jws.JWSRegistry(algorithms=[header["alg"]], strict_check_header=False)
        return jwt.encode(header, claims, key, registry=registry, default_type=None)

    def login(self) -> dict[str, object]:
        """A token endpoint's successful answer."""
        self._count += 1
        now = int(time.time())
        about = {"iss": self.issuer, "sub": "00u1", "iat": now, "exp": now + self.life, "jti": f"token-{self._count}"}
        who = {"email": "ana@example.com", "groups": ["data-eng"]}
        refresh = f"refresh-{self._count}"
        self.live.add(refresh)
        return {
            "access_token": self.sign(about | who | {"aud": AUDIENCE, "client_id": CLIENT}),
            "id_token": self.sign(about | who | {"aud": CLIENT}, {"typ": "JWT"}),
            "refresh_token": refresh,
            "token_type": "Bearer",
            "expires_in": self.life,
        }

    def _token(self, form: dict[str, str]) -> Reply:
        if form["grant_type"] == "refresh_token":
            old = form["refresh_token"]
            if old in self.used:
                # RFC 9700 section 4.14.2: a token that comes twice was stolen from somebody, so the whole login dies.
                self.reused += 1
                self.live.clear()
            if old not in self.live:
                return reply({"error": "invalid_grant"}, 400)
            self.live.remove(old)
            self.used.add(old)
            return reply(self.login())
        if not self.approved:
            return reply({"error": "authorization_pending"}, 400)
        return reply(self.login())

    def _discovery(self) -> Claims:
        return {
            "issuer": self.issuer,
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "device_authorization_endpoint": f"{self.issuer}/device",
            "revocation_endpoint": f"{self.issuer}/revoke",
        } | self.metadata


def reply(body: object, status: int = 200) -> Reply:
    return Reply(status, json.dumps(body).encode(), {"Content-Type": "application/json"})


def new_key(kid: str) -> jwk.Key:
    return jwk.generate_key("EC", "P-256", {"kid": kid, "use": "sig"})


def published_by(issuer: str, token: str = "access_token", client_secret: str | None = None) -> Published:
    return Published(
        name="gateway.example.com",
        issuer=issuer,
        client_id=CLIENT,
        scopes=("openid", "email", "offline_access"),
        flows=("device",),
        token=token,
        ssh_host="gateway.example.com",
        ssh_port=2222,
        host_cas=(),
        version="1",
        client_secret=client_secret,
    )


@contextmanager
def providing() -> Iterator[Provider]:
    provider = Provider("")
    with serving(provider.handle) as port:
        provider.issuer = f"http://127.0.0.1:{port}"
        yield provider
