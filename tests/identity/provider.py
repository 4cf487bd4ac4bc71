"""An OpenID provider that is real enough to log in at, and that misbehaves on command."""

import base64
import hashlib
import json
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, urlencode

from joserfc import jwk, jws, jwt
from joserfc.errors import JoseError

from airtunnel.wire.control import Published
from tests.identity.server import Asked, Reply, serving

CLIENT = "airtunnel-cli"
AUDIENCE = "airtunnel-api"
Claims = dict[str, Any]  # Any: JSON
PATHS = ("/token", "/device", "/jwks", "/revoke", "/authorize")


class Invalid(Exception):
    """A request that ends with an OAuth error."""


class Provider:
    """`script[path]` holds answers that are given before the honest ones. `asked` counts requests by path.

    clients: who may log in; back: what the redirect to the client says instead (None: leaves out); claims: so do ID tokens
    dpop: ties tokens to the key of a proof; dpop_nonce: and wants this in it
    """

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.keys: list[jwk.Key] = [new_key("first")]
        self.script: dict[str, deque[Reply]] = {path: deque() for path in PATHS}
        self.clients = [CLIENT]
        self.requests: list[dict[str, str]] = []
        self.codes: dict[str, dict[str, str]] = {}
        self.back: Claims = {}
        self.claims: Claims = {}
        self.dpop = False
        self.dpop_nonce: str | None = None
        self.proofs: list[Claims] = []
        self.tied: dict[str, tuple[str, str | None]] = {}
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
            path, _, query = asked.path.partition("?")
            self.asked[path] += 1
            if asked.method == "POST":
                self.forms.append(dict(parse_qsl(asked.body.decode(), keep_blank_values=True)))
                self.headers.append(asked.headers)
            if self.script.get(path):
                return self.script[path].popleft()
            match path:
                case "/authorize":
                    return self._authorize(dict(parse_qsl(query, keep_blank_values=True)))
                case "/.well-known/openid-configuration":
                    return reply(self._discovery())
                case "/jwks":
                    return reply({"keys": [one.as_dict(private=False) for one in self.keys]})
                case "/device":
                    return reply(
                        self.device | {"device_code": "secret-device-code", "verification_uri": f"{self.issuer}/activate"}
                    )
                case "/token":
                    return self._token(self.forms[-1], asked.headers)
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

    def login(self, client: str = CLIENT, nonce: str | None = None, key: str | None = None) -> dict[str, object]:
        """A token endpoint's successful answer. key: the thumbprint of the key that it is tied to."""
        self._count += 1
        now = int(time.time())
        about = {"iss": self.issuer, "sub": "00u1", "iat": now, "exp": now + self.life, "jti": f"token-{self._count}"}
        who = {"email": "ana@example.com", "groups": ["data-eng"]}
        refresh = f"refresh-{self._count}"
        self.live.add(refresh)
        self.tied[refresh] = (client, key)
        access = about | who | {"aud": AUDIENCE, "client_id": client} | ({"cnf": {"jkt": key}} if key else {})
        identity = about | who | {"aud": client} | ({"nonce": nonce} if nonce else {}) | self.claims
        return {
            "access_token": self.sign(access),
            "id_token": self.sign({name: value for name, value in identity.items() if value is not None}, {"typ": "JWT"}),
            "refresh_token": refresh,
            "token_type": "DPoP" if key else "Bearer",
            "expires_in": self.life,
        }

    def _authorize(self, asked: dict[str, str]) -> Reply:
        """RFC 6749 section 4.1.1. Whoever comes is logged in at once; the client and its address are checked first."""
        self.requests.append(asked)
        where = asked.get("redirect_uri", "")
        if asked.get("client_id") not in self.clients or not where.startswith(
            ("http://127.0.0.1:", "http://localhost:", "http://[::1]:")
        ):
            return Reply(400, b"unknown client or address")
        back: Claims = {"state": asked.get("state"), "iss": self.issuer}
        if asked.get("response_type") != "code" or asked.get("code_challenge_method") != "S256":
            back |= {"error": "invalid_request"}
        elif not self.approved:
            back |= {"error": "access_denied"}
        else:
            self._count += 1
            back |= {"code": f"code-{self._count}"}
            self.codes[f"code-{self._count}"] = asked
        said = {name: value for name, value in (back | self.back).items() if value is not None}
        return Reply(302, b"", {"Location": f"{where}?{urlencode(said)}"})

    def _token(self, form: dict[str, str], headers: Mapping[str, str]) -> Reply:
        try:
            key = self._proven(headers.get("dpop"))
            match form["grant_type"]:
                case "refresh_token":
                    return self._renew(form, key)
                case "authorization_code":
                    return self._exchange(form, key)
        except Invalid as error:
            nonce = {"DPoP-Nonce": self.dpop_nonce} if self.dpop_nonce else {}
            return reply({"error": str(error)}, 400, nonce)
        if not self.approved:
            return reply({"error": "authorization_pending"}, 400)
        return reply(self.login(form["client_id"], key=key))

    def _renew(self, form: dict[str, str], key: str | None) -> Reply:
        old = form["refresh_token"]
        if old in self.used:
            # RFC 9700 section 4.14.2: a token that comes twice was stolen from somebody, so the whole login dies.
            self.reused += 1
            self.live.clear()
        client, tied = self.tied.get(old, (form["client_id"], key))
        if old not in self.live or client != form["client_id"] or tied not in (None, key):
            return reply({"error": "invalid_grant"}, 400)
        self.live.remove(old)
        self.used.add(old)
        return reply(self.login(client, key=tied))

    def _exchange(self, form: dict[str, str], key: str | None) -> Reply:
        """RFC 6749 section 4.1.3, RFC 7636 section 4.6, RFC 9449 section 10."""
        asked = self.codes.pop(form["code"], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).rstrip(b"=").decode()
        if asked is None or (asked["client_id"], asked["redirect_uri"]) != (form["client_id"], form["redirect_uri"]):
            raise Invalid("invalid_grant")
        if asked["code_challenge"] != challenge or (self.dpop and asked.get("dpop_jkt") not in (None, key)):
            raise Invalid("invalid_grant")
        return reply(self.login(asked["client_id"], asked.get("nonce"), key))

    def _proven(self, proof: str | None) -> str | None:
        """The thumbprint of the key that a proof proves (RFC 9449 section 4.3)."""
        if proof is None or not self.dpop:
            return None
        try:
            header = json.loads(base64.urlsafe_b64decode(proof.split(".")[0] + "=="))
            key = jwk.ECKey.import_key(header["jwk"])
            claims = jwt.decode(proof, key, algorithms=["ES256"]).claims
        except (JoseError, ValueError, KeyError) as error:
            raise Invalid("invalid_dpop_proof") from error
        said = (header["typ"], claims["htm"], claims["htu"], key.is_private)
        fresh = abs(time.time() - claims["iat"]) < 60 and claims["jti"] not in [one["jti"] for one in self.proofs]
        if said != ("dpop+jwt", "POST", f"{self.issuer}/token", False) or not fresh:
            raise Invalid("invalid_dpop_proof")
        self.proofs.append(claims)
        if claims.get("nonce") != self.dpop_nonce:
            raise Invalid("use_dpop_nonce")
        return key.thumbprint()

    def _discovery(self) -> Claims:
        return {
            "issuer": self.issuer,
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/jwks",
            "device_authorization_endpoint": f"{self.issuer}/device",
            "authorization_endpoint": f"{self.issuer}/authorize",
            "revocation_endpoint": f"{self.issuer}/revoke",
        } | self.metadata


def reply(body: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, json.dumps(body).encode(), {"Content-Type": "application/json"} | dict(headers or {}))


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
