"""Providers of the real world, replayed: their own host names over TLS, their metadata, and tokens of their shape.

A CONNECT proxy (RFC 9110 section 9.3.6) on loopback takes the place of the internet. What it does not know it refuses, so
that no test can reach the real provider.
"""

import datetime as dt
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from joserfc import jwk, jws, jwt

from tests.identity.server import Asked, Reply, make_certificate, serving

Json = dict[str, Any]  # Any: JSON


@dataclass
class Replay:
    """One provider. `metadata` is its document without what `jwks_uri` and `issuer` say; `asked` lists what was fetched."""

    issuer: str
    jwks_uri: str
    metadata: Json = field(default_factory=dict)
    algorithm: str = "RS256"
    header: Json = field(default_factory=lambda: {"typ": "JWT"})
    claims: Json = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        parameters: jwk.KeyParameters = {"kid": "replayed", "use": "sig", "alg": self.algorithm}
        self.key: jwk.Key = (
            jwk.generate_key("RSA", 2048, parameters)
            if self.algorithm == "RS256"
            else jwk.generate_key("EC", "P-384", parameters)
        )

    @property
    def hosts(self) -> set[str]:
        return {str(urlsplit(one).hostname) for one in (self.issuer, self.jwks_uri)}

    def pages(self) -> dict[str, Json]:
        """What it answers, by URL."""
        document = {"issuer": self.issuer, "jwks_uri": self.jwks_uri} | self.metadata
        return {
            self.issuer.removesuffix("/") + "/.well-known/openid-configuration": document,
            self.jwks_uri: {"keys": [self.key.as_dict(private=False)]},
        }

    def token(self, now: dt.datetime, /, **changed: object) -> str:
        """A token with the provider's claims, some of them changed, or left out where they are None."""
        second = int(now.timestamp())
        claims = {"iss": self.issuer, "iat": second, "nbf": second, "exp": second + 3600} | self.claims | changed
        header = {"alg": self.algorithm, "kid": "replayed"} | self.header
        registry = jws.JWSRegistry(algorithms=[self.algorithm], strict_check_header=False)
        kept = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(header, kept, self.key, registry=registry, default_type=None)


@contextmanager
def replaying(replay: Replay, directory: Path) -> Iterator[Mapping[str, str]]:
    """The environment in which this provider is the internet."""
    tls, ca = make_certificate(directory, hosts=sorted(replay.hosts))
    pages = replay.pages()

    def handle(asked: Asked) -> Reply:
        url = f"https://{asked.headers['host']}{asked.path}"
        replay.asked.append(url)
        body = pages.get(url)
        return Reply(404) if body is None else Reply(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    with serving(handle, tls) as port, _proxy(replay.hosts, port) as proxy:
        yield {"HTTPS_PROXY": f"http://127.0.0.1:{proxy}", "SSL_CERT_FILE": str(ca), "NO_PROXY": ""}


@contextmanager
def _proxy(hosts: set[str], port: int) -> Iterator[int]:
    """A proxy's port; whatever is asked for of `hosts` is at `port` of this machine."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        threads: list[threading.Thread] = []

        def accept() -> None:
            with suppress(OSError):  # closed: the test is over
                while True:
                    threads.append(_thread(_serve, server.accept()[0], hosts, port))

        accepting = _thread(accept)
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    for thread in (accepting, *threads):
        thread.join(10)


def _thread(work: Any, *args: object) -> threading.Thread:  # Any: a callable of these
    thread = threading.Thread(target=work, args=args, daemon=True)
    thread.start()
    return thread


def _serve(client: socket.socket, hosts: set[str], port: int) -> None:
    """RFC 9110 section 9.3.6."""
    with client, suppress(OSError):
        asked = b""
        while not asked.endswith(b"\r\n\r\n"):
            if not (more := client.recv(1)):
                return
            asked += more
        method, target, _ = asked.split(b"\r\n", 1)[0].decode().split(" ")
        host, _, wanted = target.rpartition(":")
        if method != "CONNECT" or host not in hosts or wanted != "443":
            client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection(("127.0.0.1", port)) as server:
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            back = _thread(_copy, server, client)
            _copy(client, server)
            back.join(10)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
