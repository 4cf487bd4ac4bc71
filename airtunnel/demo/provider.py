"""An OpenID provider of one process: discovery, keys, device login with a page for people, refresh, revocation, userinfo.

    with Provider(PEOPLE, client_id="airtunnel", audience="airtunnel-gateway") as provider:
        provider.issuer                               # http://127.0.0.1:49152

A real provider on loopback, so plain http is in order (RFC 8252 section 8.3). Its state dies with it.
"""

import logging
import socket
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from flask import Flask, Response, jsonify, make_response, request
from werkzeug.serving import ThreadedWSGIServer, WSGIRequestHandler

from airtunnel.demo.grants import ALGORITHM, SCOPES, Signer, add_server, scoped
from airtunnel.demo.ledger import GRANT_TYPES, Clock, Ledger
from airtunnel.demo.pages import add_pages
from airtunnel.demo.people import Person
from airtunnel.errors import AddressTaken

__all__ = ["Person", "Provider"]
log = logging.getLogger(__name__)
HOST = "127.0.0.1"


class Provider:
    """The provider, from `start` to `stop`; as a context manager both happen by themselves.

    people: who may log in; port: 0 takes a free one
    interval: whole seconds between two polls (RFC 8628 section 3.2); code_life: how long a device code waits for its person
    Raises AddressTaken when it is made and the port is in use.
    """

    def __init__(
        self,
        people: Sequence[Person],
        *,
        port: int = 0,
        client_id: str,
        audience: str,
        interval: int = 1,
        code_life: timedelta = timedelta(minutes=10),
        clock: Clock = lambda: datetime.now(UTC),
    ) -> None:
        with _listen(port) as listener:
            self.issuer = f"http://{HOST}:{listener.getsockname()[1]}"
            app = _build(self.issuer, people, client_id, audience, clock, interval, code_life)
            self._server = _Server(app, listener)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="demo-provider", daemon=True)

    def start(self) -> None:
        """Answers requests from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Closes the port and every connection; afterwards none of the provider's threads is left."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.hang_up()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


class _Server(ThreadedWSGIServer):
    """Werkzeug's server with a thread for each connection, but it knows them, so that `hang_up` can end them."""

    def __init__(self, app: Flask, listener: socket.socket) -> None:
        super().__init__(HOST, 0, app, _Handler, fd=listener.fileno())
        self._open: dict[threading.Thread, socket.socket] = {}

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = threading.Thread(target=self._answer, args=(request, client_address), daemon=True)
        self._open[thread] = request
        thread.start()

    def hang_up(self) -> None:
        """Ends every connection and waits for its thread. To be called when no more are accepted."""
        for thread, connection in self._open.copy().items():
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                log.debug("the connection was already closed")
            thread.join()

    def _answer(self, request: Any, client_address: Any) -> None:
        try:
            self.process_request_thread(request, client_address)
        finally:
            self._open.pop(threading.current_thread(), None)


class _Handler(WSGIRequestHandler):
    """Werkzeug's handler, but quiet."""

    timeout = 30  # seconds that a browser may keep an idle connection

    def log_request(self, code: object = "-", size: object = "-") -> None:
        # Without the query: it may hold a user code.
        log.debug("%s %s %s", self.command, self.path.partition("?")[0], code)

    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - werkzeug's name
        log.debug(message, *args)


def _listen(port: int) -> socket.socket:
    """A listening socket of our own: werkzeug prints and exits when the port is taken."""
    try:
        return socket.create_server((HOST, port), backlog=128)
    except OSError as error:
        why = (error.strerror or "unknown").lower()
        raise AddressTaken(f"{HOST}:{port} cannot be listened on: {why}", hint="airtunnel demo") from error


def _build(
    issuer: str,
    people: Sequence[Person],
    client_id: str,
    audience: str,
    clock: Clock,
    interval: int,
    code_life: timedelta,
) -> Flask:
    """The web application: what machines ask for here, what people see in pages.py."""
    app = Flask("airtunnel.demo", static_folder=None)
    # A name that a foreign page resolved to 127.0.0.1 must not reach the forms (DNS rebinding).
    app.config.update(TRUSTED_HOSTS=[HOST], MAX_CONTENT_LENGTH=64 * 1024)
    ledger = Ledger(clock)
    signer = Signer(issuer, client_id, audience, ledger)
    server = add_server(app, ledger, signer, interval=interval, code_life=code_life)
    app.add_url_rule("/.well-known/openid-configuration", "discovery", lambda: jsonify(_metadata(issuer)))
    app.add_url_rule("/jwks", "jwks", lambda: jsonify(signer.jwks()))
    app.add_url_rule("/token", "token", lambda: server.create_token_response(), methods=["POST"])
    for path, name in (("/device_authorization", "device_authorization"), ("/revoke", "revocation")):
        app.add_url_rule(path, name, lambda name=name: server.create_endpoint_response(name), methods=["POST"])
    app.add_url_rule("/userinfo", "userinfo", lambda: _userinfo(signer), methods=["GET", "POST"])
    add_pages(app, ledger, {person.login: person for person in people}, client_id)
    return app


def _metadata(issuer: str) -> dict[str, str | list[str] | tuple[str, ...]]:
    """OpenID Connect Discovery section 3, with RFC 8628 section 4 and RFC 8414 section 2."""
    return {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/token",
        "device_authorization_endpoint": f"{issuer}/device_authorization",
        "revocation_endpoint": f"{issuer}/revoke",
        "userinfo_endpoint": f"{issuer}/userinfo",
        "jwks_uri": f"{issuer}/jwks",
        "scopes_supported": SCOPES,
        "grant_types_supported": GRANT_TYPES,
        "response_types_supported": [],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [ALGORITHM],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint_auth_methods_supported": ["none"],
        "claims_supported": ["sub", "iss", "aud", "exp", "iat", "auth_time", "name", "email", "email_verified", "groups"],
    }


def _userinfo(signer: Signer) -> Response:
    """OpenID Connect Core section 5.3; refusals as in RFC 6750 section 3."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    found = signer.login_of(token) if scheme.lower() == "bearer" else None
    if found is None:
        return Response(status=401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
    login, scope = found
    return make_response(jsonify({"sub": login.person.login} | scoped(login, scope)))
