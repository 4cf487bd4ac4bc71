"""Debian's glewlwyd, as a process: an OpenID provider in C, which means its `interval` and says `slow_down`."""

import datetime as dt
import shutil
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from airtunnel.wire.control import Published

SCOPES = ("openid", "data")
TABLES = Path("/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3")
CLIENT = "airtunnel"
SECRET_CLIENT, SECRET = "airtunnel-with-secret", "as public as Google's"
PASSWORD = "ana's password"
LIMIT = 30
"""Seconds until it answers."""

CONFIG = """\
port={port}
bind_address="127.0.0.1"
external_url="http://localhost:{port}"
login_url="login.html"
api_prefix="api"
log_mode="console"
log_level="WARNING"
cookie_secure=0
session_key="GLEWLWYD2_SESSION_ID"
admin_scope="g_admin"
profile_scope="g_profile"
user_module_path="/usr/lib/glewlwyd/user"
user_middleware_module_path="{directory}/middleware"
client_module_path="/usr/lib/glewlwyd/client"
user_auth_scheme_module_path="/usr/lib/glewlwyd/scheme"
plugin_module_path="/usr/lib/glewlwyd/plugin"
hash_algorithm="SHA512"
database = {{ type = "sqlite3"; path = "{directory}/glewlwyd.db"; }};
"""


def find_glewlwyd() -> str:
    """The program. Skips the test where it or its tables are missing."""
    found = shutil.which("glewlwyd")
    if found is None or not TABLES.exists():
        pytest.skip("there is no glewlwyd of Debian's")
    return found


@dataclass(slots=True)
class Glewlwyd:
    """A provider with one person, ana, and one client."""

    program: str
    directory: Path
    port: int = 0
    _process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)

    @property
    def _log(self) -> Path:
        return self.directory / "glewlwyd.log"

    @property
    def root(self) -> str:
        return f"http://localhost:{self.port}/api"

    @property
    def issuer(self) -> str:
        return f"{self.root}/oidc"

    def published(self, client_id: str = CLIENT, **more: Any) -> Published:  # Any: the fields of Published
        """What a gateway in front of it would publish."""
        plain = Published("gateway.example.com", self.issuer, client_id, SCOPES, ("device",), "access_token", "", 22, (), "1")
        return replace(plain, **more)

    def start(self) -> None:
        """Returns when it is set up."""
        (self.directory / "middleware").mkdir()
        with sqlite3.connect(self.directory / "glewlwyd.db") as database:
            database.executescript(TABLES.read_text())
        database.close()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        config = self.directory / "glewlwyd.conf"
        config.write_text(CONFIG.format(port=self.port, directory=self.directory))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen([self.program, "-c", str(config)], stdout=log, stderr=log)
        self._wait()
        self._set_up()

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(30)
            self._process = None

    def approve(self, page: str) -> None:
        """What ana's browser does at a verification address: log in, grant, and go on."""
        with self._as("ana", PASSWORD) as browser:
            for client in (CLIENT, SECRET_CLIENT):
                granted = browser.put(f"{self.root}/auth/grant/{client}", json={"scope": " ".join(SCOPES)})
                assert granted.status_code == 200, granted.text
            query = urlsplit(page).query
            done = browser.get(f"{self.issuer}/device", params=f"{query}&g_continue")
            assert "deviceComplete" in done.headers.get("location", ""), (done.status_code, done.headers)

    def _wait(self) -> None:
        deadline = time.monotonic() + LIMIT
        while time.monotonic() < deadline:
            assert self._process is not None
            assert self._process.poll() is None, self._log.read_text()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise AssertionError(self._log.read_text())

    @contextmanager
    def _as(self, login: str, password: str) -> Iterator[httpx2.Client]:
        """A browser in which somebody is logged in."""
        with httpx2.Client(trust_env=False) as browser:
            answer = browser.post(f"{self.root}/auth/", json={"username": login, "password": password})
            assert answer.status_code == 200, answer.text
            # Its domain is `localhost`, to which cookie jars give no cookie back.
            browser.headers["Cookie"] = answer.headers["set-cookie"].partition(";")[0]
            yield browser

    def _set_up(self) -> None:
        key, certificate = _make_key()
        plugin = {
            "module": "oidc",
            "name": "oidc",
            "display_name": "OpenID",
            "parameters": {
                "iss": self.issuer,
                "jwt-type": "rsa",
                "jwt-key-size": "256",
                "key": key,
                "cert": certificate,
                "access-token-duration": 3600,
                "refresh-token-duration": 86400,
                "code-duration": 600,
                "refresh-token-rolling": True,
                "refresh-token-one-use": "always",
                "auth-type-code-enabled": True,
                "auth-type-device-enabled": True,
                "auth-type-refresh-enabled": True,
                "device-authorization-expiration": 600,
                "device-authorization-interval": 5,
                "introspection-revocation-allowed": True,
                "introspection-revocation-allow-target-client": True,
                "oauth-dpop-allowed": True,
                "oauth-dpop-iat-duration": 60,
                "additional-parameters": [{"user-parameter": "email", "token-parameter": "email", "token-changed": True}],
            },
        }
        client = {
            "client_id": CLIENT,
            "name": "airtunnel",
            "confidential": False,
            "enabled": True,
            "authorization_type": ["code", "device_authorization", "refresh_token"],
            "redirect_uri": ["http://127.0.0.1/callback"],
            "token_endpoint_auth_method": ["none"],
            "scope": [],
        }
        with_secret = client | {
            "client_id": SECRET_CLIENT,
            "confidential": True,
            "client_secret": SECRET,
            "token_endpoint_auth_method": ["client_secret_basic", "client_secret_post"],
        }
        ana = {
            "username": "ana",
            "name": "Ana",
            "email": "ana@example.com",
            "password": PASSWORD,
            "scope": ["g_profile", *SCOPES],
            "enabled": True,
        }
        with self._as("admin", "password") as admin:
            for path, body in (
                ("mod/plugin/", plugin),
                ("scope/", {"name": "data", "display_name": "Data", "password_required": False, "scheme": {}}),
                ("user/", ana),
                ("client/", client),
                ("client/", with_secret),
            ):
                answer = admin.post(f"{self.root}/{path}", json=body)
                assert answer.status_code == 200, (path, answer.text)


def _make_key() -> tuple[str, str]:
    """A private key and its certificate, as PEM."""
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "glewlwyd")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return private.decode(), certificate.public_bytes(serialization.Encoding.PEM).decode()
