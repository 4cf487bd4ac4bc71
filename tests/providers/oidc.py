"""npm's oidc-provider, as a process: an OpenID provider that others wrote, over TLS, set up as a company would."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from joserfc.jwk import ECKey

from airtunnel.gateway.setup import create_certificate
from airtunnel.wire.control import Published

AUDIENCE = "airtunnel-gateway"
SCOPES = ("openid", "email", "groups", "offline_access")
SCRIPT = Path(__file__).with_name("oidc_provider.mjs")
WHERE = "set AIRTUNNEL_TEST_OIDC_PROVIDER to a node_modules directory that holds oidc-provider 9"
PEOPLE = {"ana": ["data-eng"], "fin": ["finance", "data-eng"], "worker": ["workers"]}

_PERSON = {
    "application_type": "native",  # any port of a loopback address
    "token_endpoint_auth_method": "none",
    "grant_types": ["urn:ietf:params:oauth:grant-type:device_code", "authorization_code", "refresh_token"],
    "response_types": ["code"],
    "redirect_uris": ["http://127.0.0.1/callback"],
}
CLIENTS: tuple[dict[str, Any], ...] = (  # Any: JSON
    _PERSON | {"client_id": "airtunnel"},
    _PERSON | {"client_id": "hasty", "code_life": 5},
    _PERSON | {"client_id": "bound", "dpop_bound_access_tokens": True, "dpop_nonce": True},
)
_WORKER = {
    "client_id": "worker",
    "token_endpoint_auth_method": "private_key_jwt",
    "grant_types": ["client_credentials"],
    "response_types": [],
    "redirect_uris": [],
}


def find_modules() -> Path:
    """The directory that npm installed into. Skips the test where there is none, or no Node."""
    found = os.environ.get("AIRTUNNEL_TEST_OIDC_PROVIDER")
    if not found or not Path(found, "oidc-provider").is_dir():
        pytest.skip(f"no oidc-provider here: {WHERE}")
    if shutil.which("node") is None:
        pytest.skip("there is no node")
    return Path(found)


@dataclass(slots=True)
class OidcProvider:
    """One provider. It forgets nothing between `stop` and `start`, and keeps its port."""

    modules: Path
    directory: Path
    clients: tuple[dict[str, Any], ...] = CLIENTS  # Any: JSON
    port: int = 0
    _process: "subprocess.Popen[str] | None" = field(default=None, init=False)

    def __post_init__(self) -> None:
        create_certificate(self.directory, ("127.0.0.1", "localhost"))
        clients = (*self.clients, _WORKER | {"jwks": {"keys": [self._make_worker_key()]}})
        settings = {"clients": clients, "people": PEOPLE, "audience": AUDIENCE}
        (self.directory / "settings.json").write_text(json.dumps(settings))

    @property
    def issuer(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca(self) -> Path:
        """What vouches for it."""
        return self.directory / "ca.pem"

    @property
    def worker_key(self) -> Path:
        """The private key of the client `worker`, as PEM."""
        return self.directory / "worker.key"

    def published(self, client_id: str = "airtunnel", **more: Any) -> Published:  # Any: the fields of Published
        """What a gateway in front of it would publish."""
        plain: dict[str, Any] = {  # Any: the fields of Published
            "name": "gateway.example.com",
            "issuer": self.issuer,
            "client_id": client_id,
            "scopes": SCOPES,
            "flows": ("device", "browser"),
            "token": "access_token",
            "ssh_host": "gateway.example.com",
            "ssh_port": 2222,
            "host_cas": (),
            "version": "1",
            "ca": self.ca.read_text(),
        }
        return Published(**plain | more)

    def start(self) -> None:
        """Returns when it answers."""
        errors = self.directory / "errors.txt"
        with errors.open("a") as log:
            self._process = subprocess.Popen(
                ["node", str(SCRIPT), str(self.modules), str(self.directory), str(self.port)],
                stdin=subprocess.PIPE,  # it ends when we do, however that happens
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line.strip().isdecimal(), errors.read_text()
        self.port = int(line)

    def stop(self) -> None:
        """Nothing listens at its port afterwards."""
        if self._process is not None:
            with self._process as process:
                process.terminate()
                process.wait(30)
            self._process = None

    def _make_worker_key(self) -> dict[str, Any]:  # Any: JSON
        """Writes a private key; its public half, as a JWK."""
        key = ECKey.generate_key("P-256", private=True)
        self.worker_key.touch(mode=0o600)
        self.worker_key.write_bytes(key.as_pem(private=True))
        return {**key.as_dict(private=False), "use": "sig"}

    def events(self, *names: str) -> list[dict[str, Any]]:  # Any: JSON
        """What it did so far, all or only events of these names: `grant.success`, `grant.error`, `grant.revoked`, ..."""
        file = self.directory / "events.jsonl"
        lines = file.read_text().splitlines() if file.exists() else []
        return [one for one in map(json.loads, lines) if not names or one["event"] in names]
