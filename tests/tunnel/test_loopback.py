"""Whose process connected, and which one holds a port, as the kernel tells."""

import os
import re
import socket
import subprocess
import sys

import pytest

from airtunnel.tunnel.loopback import own_uid, peer_uid, port_holder

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells, in /proc")

CONNECT = """
import encodings.idna, os, socket, sys  # the first now: somebody else may not be allowed to read it
if len(sys.argv) > 2:
    os.setgroups([]); os.setgid(int(sys.argv[2])); os.setuid(int(sys.argv[2]))
with socket.create_connection(("127.0.0.1", int(sys.argv[1]))) as one:
    print(*one.getsockname(), flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_our_own_connection_is_ours(family: socket.AddressFamily, host: str) -> None:
    try:
        server = socket.create_server((host, 0), family=family)
    except OSError as error:
        pytest.skip(f"this machine has no {host}: {error}")
    with server, socket.create_connection(server.getsockname()[:2]) as client:
        accepted, _ = server.accept()
        with accepted:
            assert peer_uid(accepted.getpeername()[:2], accepted.getsockname()[:2]) == own_uid() == os.getuid()
            assert peer_uid(client.getpeername()[:2], client.getsockname()[:2]) == own_uid()


def test_a_client_that_speaks_ipv6_to_an_ipv4_port_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_INET6) as client:
        client.connect(("::ffff:127.0.0.1", server.getsockname()[1]))
        accepted, _ = server.accept()
        with accepted:
            assert peer_uid(accepted.getpeername(), accepted.getsockname()) == own_uid()


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become somebody else")
def test_another_users_connection_is_theirs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        command = [sys.executable, "-c", CONNECT, str(server.getsockname()[1]), "65534"]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as other:
            accepted, _ = server.accept()
            with accepted:
                assert peer_uid(accepted.getpeername(), accepted.getsockname()) == 65534
            other.communicate()


def test_a_connection_that_does_not_exist_is_nobodys() -> None:
    assert peer_uid(("127.0.0.1", 1), ("127.0.0.1", 2)) is None


def test_a_listening_socket_is_no_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert peer_uid(server.getsockname(), ("0.0.0.0", 0)) is None


def test_the_holder_of_a_port_is_named_with_its_pid() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        holder = port_holder(server.getsockname()[1])
    assert holder is not None
    assert re.fullmatch(rf".+ \(pid {os.getpid()}\)", holder)


def test_a_free_port_has_no_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert port_holder(port) is None
