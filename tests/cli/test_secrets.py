"""No secret in what is written: a whole connection at debug level, and a search through all of it."""

import asyncio
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from airtunnel.demo.person import approve
from tests.cli.terminal import LIMIT, Finished, Running, Terminal
from tests.cli.test_gateway import fixed_ports
from tests.lab import POLICY, Lab

# Everything that can log does, as far as is allowed: asyncssh's level 3 would dump packets.
LOUD = (
    sys.executable,
    "-c",
    """
import logging, sys
logging.basicConfig(level=logging.DEBUG, format="%(name)s %(levelname)s %(message)s")
import asyncssh
asyncssh.set_debug_level(2)
from airtunnel.cli import logs
logs.LIBRARIES = logging.DEBUG
from airtunnel.identity.login import device
before = device._read_code
def read_code(body, *rest):
    open("device_code", "a").write(body["device_code"] + "\\n")
    return before(body, *rest)
device._read_code = read_code
from airtunnel import model
lend = model.Lease.__init__
def init(self, *given, **named):
    lend(self, *given, **named)
    open("leases", "a").write(self.password + chr(10))
model.Lease.__init__ = init
from airtunnel.cli.main import main
main()
""",
)
KEPT = ("device_code", "leases")
"""What LOUD writes down for us to look for."""
LENT = "a-lent-passw0rd-that-nobody-may-see"
FILE_TARGET = """\
  lent:
    protocol: postgres
    address: {address}
    database: shop
    credential: {{source: file, path: {secret}}}
"""
QUERY = "import psycopg; print(psycopg.connect('').execute('SELECT session_user').fetchone()[0])"


def make_role(lab: Lab, directory: Path) -> None:
    """A login of the database's whose password we know, lent by a `file` credential."""
    secret = directory / "secrets" / "lent.toml"
    secret.touch(mode=0o600)
    secret.write_text(f'user = "lent"\npassword = "{LENT}"\n')
    with lab.database.connect(lab.database.superuser, lab.database.superuser_password, "shop") as direct:
        direct.execute("DROP ROLE IF EXISTS lent")
        direct.execute(f"CREATE ROLE lent LOGIN PASSWORD '{LENT}'".encode())


def secrets_of(terminal: Terminal) -> Iterator[str]:
    """The tokens of the login, out of the file that may hold them."""
    for file in (terminal.state / "tokens").glob("*.json"):
        text = file.read_text().replace("\\", "")
        yield from re.findall(r"ey[\w-]+\.[\w-]+\.[\w-]+", text)
        yield from re.findall(r'"refresh_token": ?"([^"]+)"', text)


def written(*places: Path) -> dict[str, str]:
    """Every file there, but for those whose purpose is to hold a secret, which have mode 0600."""
    found = {}
    for place in places:
        for file in place.rglob("*"):
            if not file.is_file() or file.name in KEPT:
                continue
            if file.parent.name in ("tokens", "secrets", "authority") or file.name in ("gateway.key", "audit.key"):
                if file.suffix not in (".pub", ".lock"):
                    assert file.stat().st_mode & 0o077 == 0, file
                continue
            found[str(file)] = file.read_bytes().decode("latin-1")
    return found


async def overhear(running: Running) -> None:
    """Take down what a command says on stderr, until it ends."""
    assert running.process.stderr is not None
    while line := await running.process.stderr.readline():
        running.err.append(line.decode())


async def test_no_secret_is_in_what_is_written(terminal: Terminal, lab: Lab) -> None:
    directory = lab.write(
        POLICY.replace(
            "  payroll:\n", FILE_TARGET.replace("{secret}", str(lab.root / "site" / "secrets" / "lent.toml")) + "  payroll:\n"
        ).replace("[warehouse]", "[warehouse, lent]")
    )
    make_role(lab, directory)
    https, _ = fixed_ports(directory)
    said: dict[str, Finished] = {}
    config = str(directory / "gateway.yaml")
    async with terminal.start("gateway", "serve", "--verbose", "--config", config, program=LOUD) as gateway:
        await gateway.heard("; ready")
        # At debug level it writes more than a pipe holds, and would wait for a reader.
        reading = asyncio.ensure_future(overhear(gateway))
        address = f"127.0.0.1:{https}"
        words = ("login", address, "--ca", str(directory / "tls" / "ca.pem"), "--store", "file", "--json")
        async with terminal.start(*words, program=LOUD) as running:
            event = await running.event("login_required")
            await asyncio.to_thread(approve, event["url_complete"], "ana", "ana")
            said["login"] = await running.end()
        tokens = set(secrets_of(terminal))
        for name, line in {
            "targets": ("targets",),
            "whoami": ("whoami",),
            "exec": ("exec", "warehouse", "--", sys.executable, "-c", QUERY),
            "exec lent": ("exec", "lent", "--", sys.executable, "-c", QUERY),
            "refused": ("connect", "payroll"),
        }.items():
            said[name] = await terminal.run(*line, program=LOUD)
        async with terminal.start("connect", "lent", "--json", program=LOUD) as running:
            ready = await running.event("ready")
            local = ready["targets"][0]["password"]
            query = await terminal.run(program=(sys.executable, "-c", QUERY.replace("''", repr(ready["targets"][0]["url"]))))
            said["connect"] = await running.end(signal.SIGTERM)
        before = written(terminal.home, directory)
        said["logout"] = await terminal.run("logout", program=LOUD)
        gateway.process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(reading, LIMIT)
        said["gateway"] = await gateway.end()
    assert {name: one.code for name, one in said.items()} == dict.fromkeys(said, 0) | {"refused": 77, "connect": 143}
    assert (said["exec lent"].out, query.out) == ("lent\n", "lent\n")
    assert "DEBUG" in said["gateway"].err
    assert "asyncssh DEBUG" in said["connect"].err

    codes, leases = ((terminal.home / name).read_text().split() for name in KEPT)
    forbidden = {*tokens, *codes, *leases, local, lab.database.broker_password, lab.database.superuser_password, "PRIVATE KEY"}
    assert len(tokens) >= 2
    assert len(codes) == 1
    assert len(leases) >= 3
    assert LENT in leases
    everything = written(terminal.home, directory) | {f"before the logout, {name}": text for name, text in before.items()}
    for name, one in said.items():
        everything |= {f"stdout of {name}": one.out, f"stderr of {name}": one.err}
    # The local password is what `connect` is asked for; it must be nowhere else.
    everything["stdout of connect"] = everything["stdout of connect"].replace(local, "")
    everything["stderr of connect"] = re.sub(rf"PGPASSWORD={re.escape(local)} psql", "", everything["stderr of connect"])
    assert [(name, secret) for name, text in everything.items() for secret in forbidden if secret in text] == []
    # What is searched is all there, in the clear: a name that is no secret is found in each.
    found = [name for name, text in everything.items() if "ana@example.com" in text]
    for place in ("state.db", "audit.jsonl", "config.toml", "stderr of gateway", "stdout of whoami", "stdout of connect"):
        assert any(name.endswith(place) for name in found), place
