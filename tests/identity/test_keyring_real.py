"""The keyring of a real desktop: gnome-keyring on a D-Bus of the test's own, open, locked, silent, or not there at all."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import airtunnel

ROOT = Path(airtunnel.__file__).parents[1]
LIMIT = 60
"""Seconds that any of this may take."""

UNLOCKED = """
printf secret | gnome-keyring-daemon --unlock --components=secrets --foreground >/dev/null 2>&1 &
owned="dbus-send --print-reply --dest=org.freedesktop.DBus / org.freedesktop.DBus.NameHasOwner string:org.freedesktop.secrets"
until $owned | grep -q true; do sleep 0.02; done
"""
"""Makes the keyring called `login`, with this password, and opens it. A call before that would start another one, locked."""
STORE = """
import json, sys, time
from datetime import UTC, datetime, timedelta
from airtunnel.errors import AirtunnelError
from airtunnel.identity.store import KeyringStore, StoreKey
from airtunnel.identity.tokens import drop_tokens, load_tokens, save_tokens
from airtunnel.identity.tokenset import TokenSet
from airtunnel.wire.control import Published

store = KeyringStore(limit=timedelta(seconds=float(sys.argv[1])))
key = StoreKey("gateway.example.com", "https://login.example.com", "00u1")
other = StoreKey("other.example.com:8443", "https://login.example.com", "00u1")
began = time.monotonic()

def say(**more):
    print(json.dumps(more), flush=True)

def caught(work):
    try:
        work()
    except AirtunnelError as error:
        say(kind=type(error).__name__, seconds=time.monotonic() - began, **error.as_json())
"""


@pytest.fixture
def desktop(tmp_path: Path) -> dict[str, str]:
    """The environment of somebody without a screen, whose home is empty."""
    if shutil.which("dbus-run-session") is None:
        pytest.skip("there is no dbus-run-session")
    if shutil.which("gnome-keyring-daemon") is None:
        pytest.skip("there is no gnome-keyring-daemon")
    for name in ("home", "run"):
        (tmp_path / name).mkdir(mode=0o700)
    home = str(tmp_path / "home")
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LC_ALL", "PYTHONWARNINGS")}
    return kept | {"HOME": home, "XDG_RUNTIME_DIR": str(tmp_path / "run"), "PYTHONPATH": str(ROOT)}


def run(environment: dict[str, str], *scripts: str, before: str = "", limit: float = 10, bus: bool = True) -> list[Any]:
    """What the scripts said, each in a process of its own, one after the other in one session. `before` is for the shell.

    Any: JSON
    """
    home = Path(environment["HOME"])
    for number, script in enumerate(scripts):
        (home / f"{number}.py").write_text(STORE + script)
    lines = [before] if before else []
    lines += [f"{sys.executable} {home}/{number}.py {limit}" for number in range(len(scripts))]
    shell = ["sh", "-ec", "\n".join(lines)]
    process = subprocess.Popen(
        ["dbus-run-session", "--", *shell] if bus else shell,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=home,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=LIMIT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    assert process.returncode == 0, err
    return [json.loads(line) for line in out.splitlines()]


def test_a_long_token_is_kept_read_by_another_process_and_dropped(desktop: dict[str, str]) -> None:
    said = run(
        desktop,
        "store.put(key, 'x' * 8192); store.put(other, 'ünïcode 北京')",
        "say(first=len(store.get(key)), second=store.get(other))\nstore.drop(key); store.drop(key)",
        "say(first=store.get(key), second=store.get(other))",
        before=UNLOCKED,
    )
    assert said == [{"first": 8192, "second": "ünïcode 北京"}, {"first": None, "second": "ünïcode 北京"}]


LOGIN = """
published = Published("gw", "https://login.example.com", "airtunnel", (), ("device",), "access_token", "gw", 22, (), "1")
until = datetime(2100, 1, 1, tzinfo=UTC)

def log_in(gateway, subject):
    tokens = TokenSet("a" * 4000, None, f"{subject}-at-{gateway}", until, subject, f"{subject}@example.com", published.issuer)
    save_tokens(store, published, gateway, tokens)

def who(gateway):
    tokens = load_tokens(store, gateway, published.issuer)
    return tokens and [tokens.subject, tokens.refresh_token, len(tokens.access_token)]
"""


def test_logins_at_two_gateways_stand_side_by_side(desktop: dict[str, str]) -> None:
    said = run(
        desktop,
        LOGIN + "log_in('one.example.com', 'ana'); log_in('two.example.com', 'bob'); log_in('one.example.com', 'cy')",
        LOGIN + "say(one=who('one.example.com'), two=who('two.example.com'))\n"
        "drop_tokens(store, 'one.example.com', published.issuer)",
        LOGIN + "say(one=who('one.example.com'), two=who('two.example.com'))",
        before=UNLOCKED,
    )
    assert said == [
        {"one": ["cy", "cy-at-one.example.com", 4000], "two": ["bob", "bob-at-two.example.com", 4000]},
        {"one": None, "two": ["bob", "bob-at-two.example.com", 4000]},
    ]


ASK = "caught(lambda: store.get(key)); caught(lambda: store.put(key, 'secret'))"


def assert_in_words(said: list[Any], words: str, kind: str = "Unreachable") -> None:  # Any: JSON
    for one in said:
        assert one["kind"] == kind
        assert one["message"].startswith(words)
        assert one["hint"] == "airtunnel login gateway.example.com --store file"


def test_a_keyring_that_is_locked_says_so(desktop: dict[str, str]) -> None:
    run(desktop, "store.put(key, 'secret')", before=UNLOCKED)
    said = run(desktop, ASK)
    assert len(said) == 2
    assert_in_words(said, "the keyring is locked, and was not unlocked")


def test_a_keyring_that_nobody_has_made_yet_says_that_it_needs_a_screen(desktop: dict[str, str]) -> None:
    said = run(desktop, "caught(lambda: store.put(key, 'secret'))")
    assert len(said) == 1
    assert_in_words(said, "the keyring cannot be opened, perhaps because there is no screen")


SILENT = """
import sys
from jeepney import MessageType, message_bus
from jeepney.io.blocking import open_dbus_connection

connection = open_dbus_connection("SESSION")
connection.send_and_get_reply(message_bus.RequestName("org.freedesktop.secrets"))
print("here", flush=True)
while True:
    connection.receive()  # read, and not answered: as a prompt that nobody looks at
"""


def test_a_keyring_that_never_answers_is_given_up_and_the_command_ends(desktop: dict[str, str]) -> None:
    silent = Path(desktop["HOME"], "silent.py")
    silent.write_text(SILENT)
    pipe = Path(desktop["HOME"], "pipe")
    began = time.monotonic()
    said = run(
        desktop,
        "caught(lambda: store.get(key))\nsay(ended=time.monotonic() - began)",
        before=f"mkfifo {pipe}; {sys.executable} {silent} >{pipe} & read here <{pipe}",
        limit=0.5,
    )
    assert_in_words(said[:1], "the keyring does not answer within 0.5 s: perhaps it waits to be unlocked")
    assert 0.5 <= said[0]["seconds"] < 5
    assert time.monotonic() - began < 20


def test_without_a_d_bus_there_is_no_keyring(desktop: dict[str, str]) -> None:
    said = run(desktop, ASK, bus=False)
    assert len(said) == 2
    assert_in_words(said, "this machine has no keyring to keep your login in", "ConfigError")
