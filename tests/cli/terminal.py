"""A terminal of a person who types `airtunnel ...`: real processes, with a configuration directory of their own."""

import asyncio
import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import airtunnel
from airtunnel.config.client import ClientConfig, Context
from airtunnel.identity.store import open_store
from airtunnel.identity.tokens import save_tokens
from airtunnel.identity.tokenset import TokenSet
from tests.lab import Site

ROOT = Path(airtunnel.__file__).parents[1]
AIRTUNNEL = (sys.executable, "-m", "airtunnel")
LIMIT = 60
"""Seconds that any command may take."""


@dataclass(frozen=True, slots=True)
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str
    seconds: float = 0

    @property
    def events(self) -> list[dict[str, Any]]:  # Any: JSON
        """The lines of stdout, each a JSON object."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(slots=True)
class Running:
    """A command that runs, and what it has written so far."""

    process: asyncio.subprocess.Process
    out: list[str] = field(default_factory=list)
    err: list[str] = field(default_factory=list)

    async def heard(self, text: str, stream: str = "err") -> str:
        """The next line of the stream that holds `text`."""
        source = self.process.stderr if stream == "err" else self.process.stdout
        assert source is not None
        async with asyncio.timeout(LIMIT):
            while line := (await source.readline()).decode():
                (self.err if stream == "err" else self.out).append(line)
                if text in line:
                    return line
        raise AssertionError(f"`{text}` was not said, but: {''.join(self.err)}{''.join(self.out)}")

    async def event(self, name: str) -> dict[str, Any]:  # Any: JSON
        """The next event of that name."""
        body: dict[str, Any] = json.loads(await self.heard(f'"event": "{name}"', "out"))  # Any: JSON
        return body

    async def end(self, number: signal.Signals | None = None) -> Finished:
        """Send a signal, if any, and wait."""
        if number is not None:
            self.process.send_signal(number)
        async with asyncio.timeout(LIMIT):
            out, err = await self.process.communicate()
        assert self.process.returncode is not None
        return Finished(self.process.returncode, "".join(self.out) + out.decode(), "".join(self.err) + err.decode())


@dataclass(slots=True)
class Terminal:
    """Where a person types."""

    home: Path
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def config(self) -> Path:
        """The configuration directory."""
        return self.home / "config"

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.home / "state"

    @property
    def environment(self) -> dict[str, str]:
        """What the command finds: nothing of the tester's own."""
        own = {name: value for name, value in os.environ.items() if not name.startswith(("AIRTUNNEL", "PG", "_AIRTUNNEL"))}
        for name in ("CI", "NO_COLOR", "FORCE_COLOR", "COLUMNS"):
            own.pop(name, None)
        ours = {
            "PYTHONPATH": str(ROOT),
            "AIRTUNNEL_CONFIG_DIR": str(self.config),
            "AIRTUNNEL_STATE_DIR": str(self.state),
            "PYTHON_KEYRING_BACKEND": "keyring.backends.fail.Keyring",
        }
        return own | ours | self.variables

    def log_in(self, site: Site, tokens: TokenSet) -> None:
        """As `airtunnel login --store file` leaves it."""
        save_tokens(open_store("file", self.state / "tokens"), site.published, site.address, tokens)
        config = ClientConfig.load(self.config)
        config.put(Context(site.address, site.address, str(site.ca), "file", issuer=site.published.issuer))
        config.save()

    async def run(self, *words: str, program: Sequence[str] = AIRTUNNEL, given: bytes = b"") -> Finished:
        """Run `airtunnel WORDS` to its end."""
        began = time.monotonic()
        async with self.start(*words, program=program, stdin=asyncio.subprocess.PIPE) as running:
            async with asyncio.timeout(LIMIT):
                out, err = await running.process.communicate(given)
        assert running.process.returncode is not None
        return Finished(running.process.returncode, out.decode(), err.decode(), time.monotonic() - began)

    @contextlib.asynccontextmanager
    async def start(
        self, *words: str, program: Sequence[str] = AIRTUNNEL, stdin: int = asyncio.subprocess.DEVNULL
    ) -> AsyncIterator[Running]:
        """Start `airtunnel WORDS`; it does not outlive the block."""
        process = await asyncio.create_subprocess_exec(
            *program,
            *words,
            env=self.environment,
            cwd=self.home,
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield Running(process)
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


@dataclass(slots=True)
class Screen:
    """A real terminal on which a command runs. `text`: what it has shown so far."""

    process: subprocess.Popen[bytes]
    leader: int
    text: str = ""

    async def shows(self, *words: str) -> str:
        """Everything that was shown, once it holds all of `words`."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(LIMIT):
            while not all(one in self.text for one in words):
                if not await self._more(loop):
                    raise AssertionError(f"{words} was not shown, but: {self.text}")
        return self.text

    async def end(self) -> int:
        """The exit code, once everything is shown."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(LIMIT):
            while await self._more(loop):
                pass
            return await asyncio.to_thread(self.process.wait)

    def type(self, text: str) -> None:
        """What a person types."""
        os.write(self.leader, text.encode())

    async def _more(self, loop: asyncio.AbstractEventLoop) -> bool:
        ready = loop.create_future()
        loop.add_reader(self.leader, lambda: None if ready.done() else ready.set_result(None))
        try:
            await ready
        finally:
            loop.remove_reader(self.leader)
        try:
            part = os.read(self.leader, 65_536)
        except OSError:  # how Linux tells that nobody holds the other end any more
            return False
        self.text += part.decode(errors="replace").replace("\r\n", "\n")
        return bool(part)


@contextlib.contextmanager
def screen(terminal: Terminal, *words: str) -> Iterator[Screen]:
    """`airtunnel WORDS` on a real terminal; it does not outlive the block."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [*AIRTUNNEL, *words],
        env=terminal.environment,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        cwd=terminal.home,
        start_new_session=True,
    )
    os.close(follower)
    try:
        yield Screen(process, leader)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(LIMIT)
        os.close(leader)


def on_terminal(terminal: Terminal, *words: str) -> str:
    """Everything that `airtunnel WORDS` writes to a real terminal."""
    leader, follower = pty.openpty()
    with subprocess.Popen(
        [*AIRTUNNEL, *words], env=terminal.environment, stdin=follower, stdout=follower, stderr=follower, cwd=terminal.home
    ) as process:
        os.close(follower)
        written = b""
        with contextlib.suppress(OSError):  # how Linux tells that nobody holds the other end any more
            while part := os.read(leader, 4096):
                written += part
        process.wait(LIMIT)
    os.close(leader)
    return written.decode()
