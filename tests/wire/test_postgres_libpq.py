"""A real libpq (psycopg's) against our server's side, over a loopback port."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import psycopg
import pytest

from airtunnel.errors import AirtunnelError, Refused
from airtunnel.wire.postgres import (
    TERMINATE,
    CancelRequest,
    LoggedIn,
    Startup,
    check_password,
    error_response,
    make_verifier,
    read_startup,
    replace_key,
)
from airtunnel.wire.postgres.messages import frame

from .connection import run

VERIFIER = make_verifier("right", b"0123456789abcdef")
OURS = CancelRequest(0x7FFFFFFF, b"ours")
UPSTREAM = LoggedIn(
    frame(b"R", b"\0\0\0\0")
    + frame(b"S", b"server_version\x0016.14\0")
    + frame(b"S", b"client_encoding\0UTF8\0")
    + frame(b"K", b"\0\0\0\x07" + b"k" * 32)
    + frame(b"Z", b"I"),
    None,
)


class Gateway:
    """Takes clients: the startup, the password, the reply of a target that is not there."""

    def __init__(self, listener: socket.socket, refusal: AirtunnelError | None) -> None:
        self.listener = listener
        self.refusal = refusal
        self.seen: list[Startup | CancelRequest | AirtunnelError | bytes] = []

    def serve(self) -> None:
        with ThreadPoolExecutor(4) as clients, suppress(OSError):  # the listener is shut down at the end of the test
            while True:
                end, _ = self.listener.accept()
                end.settimeout(10)
                clients.submit(self.talk, end)

    def talk(self, end: socket.socket) -> None:
        with end, suppress(ConnectionError):
            self.answer(end)

    def answer(self, end: socket.socket) -> None:
        try:
            startup = run(read_startup(), end)
            self.seen.append(startup)
            if isinstance(startup, CancelRequest):
                return
            if self.refusal is not None:
                raise self.refusal
            run(check_password(VERIFIER, "a-nonce-for-this-exchange"), end)
            end.sendall(replace_key(UPSTREAM, OURS))
            self.seen.append(end.recv(99))
        except AirtunnelError as error:
            self.seen.append(error)
            end.sendall(error_response(error))


@contextmanager
def gateway(refusal: AirtunnelError | None = None) -> Iterator[tuple[Gateway, str]]:
    """A gateway that serves in a thread, and how libpq connects to it."""
    with socket.create_server(("127.0.0.1", 0)) as listener, ThreadPoolExecutor(1) as pool:
        serving = Gateway(listener, refusal)
        done = pool.submit(serving.serve)
        port = listener.getsockname()[1]
        try:
            yield serving, f"host=127.0.0.1 port={port} user=ana dbname=sales connect_timeout=10"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            done.result(10)


@pytest.mark.parametrize("more", ["sslmode=disable", "sslmode=allow", "sslmode=prefer", "channel_binding=prefer"])
def test_libpq_comes_in_with_the_right_password_and_says_goodbye(more: str) -> None:
    with gateway() as (serving, address):
        psycopg.connect(f"{address} password=right {more}").close()
    startup, goodbye = serving.seen
    assert isinstance(startup, Startup)
    assert (startup.user, startup.database) == ("ana", "sales")
    assert goodbye == TERMINATE


def test_libpq_comes_in_when_it_speaks_the_newest_protocol() -> None:
    with gateway() as (_, address):
        connection = psycopg.connect(f"{address} password=right max_protocol_version=latest")
        assert connection.pgconn.backend_pid == OURS.pid
        connection.close()


def test_libpq_insists_on_scram_and_gets_it() -> None:
    with gateway() as (_, address):
        psycopg.connect(f"{address} password=right require_auth=scram-sha-256").close()


def test_libpq_shows_that_the_session_password_is_wrong() -> None:
    with gateway() as (_, address), pytest.raises(psycopg.OperationalError, match="airtunnel: wrong session password"):
        psycopg.connect(f"{address} password=wrong sslmode=prefer")


@pytest.mark.parametrize("sslmode", ["disable", "prefer"])
def test_libpq_shows_a_refusal_whole(sslmode: str) -> None:
    refusal = Refused(
        who="ana@example.com",
        target="postgres-prod",
        rule="prod-ro",
        place="policy/prod.yaml:14",
        reasons=["needs group de-oncall"],
        request="01J9X",
        hint="airtunnel why 01J9X",
    )
    with gateway(refusal) as (_, address), pytest.raises(psycopg.OperationalError) as caught:
        psycopg.connect(f"{address} sslmode={sslmode}")
    text = str(caught.value)
    assert "postgres-prod refused by rule prod-ro (policy/prod.yaml:14): needs group de-oncall; request 01J9X" in text
    assert "DETAIL:  you are ana@example.com" in text
    assert "HINT:  airtunnel why 01J9X" in text


def test_libpq_shows_that_replication_is_refused() -> None:
    with gateway() as (_, address), pytest.raises(psycopg.OperationalError, match="airtunnel: replication does not go"):
        psycopg.connect(f"{address} replication=database")


def test_libpq_cancels_with_the_key_that_we_gave_it() -> None:
    with gateway() as (serving, address):
        connection = psycopg.connect(f"{address} password=right")
        connection.cancel_safe(timeout=10)
        connection.close()
    assert OURS in serving.seen


def test_libpq_that_demands_channel_binding_stays_outside() -> None:
    with gateway() as (_, address), pytest.raises(psycopg.OperationalError, match="channel binding"):
        psycopg.connect(f"{address} password=right channel_binding=require sslmode=disable")


def test_direct_tls_ends_at_once_on_both_sides() -> None:
    with gateway() as (serving, address), pytest.raises(psycopg.OperationalError, match=r"(?i)ssl|tls"):
        psycopg.connect(f"{address} sslmode=require sslnegotiation=direct")
    assert "TLS" in str(serving.seen[0])
