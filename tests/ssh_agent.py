"""A real ssh-agent with a socket of the test's own."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest


@contextlib.asynccontextmanager
async def ssh_agent(socket: Path, *keys: asyncssh.SSHKey) -> AsyncIterator[asyncio.subprocess.Process]:
    """An ssh-agent that holds the keys. Skips the test where there is none."""
    if shutil.which("ssh-agent") is None:
        pytest.skip("there is no ssh-agent")
    _clear(socket)
    process = await asyncio.create_subprocess_exec("ssh-agent", "-D", "-a", str(socket), stdout=asyncio.subprocess.DEVNULL)
    try:
        async with asyncio.timeout(10):
            while not await _answers(socket):
                await asyncio.sleep(0.01)
        if keys:
            async with asyncssh.connect_agent(str(socket)) as agent:
                await agent.add_keys(list(keys))
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def held(socket: Path) -> list[str]:
    """The comments of the keys that the agent has now."""
    async with asyncssh.connect_agent(str(socket)) as agent:
        return [key.get_comment() or "" for key in await agent.get_keys()]


def _clear(socket: Path) -> None:
    socket.unlink(missing_ok=True)  # what a killed one left


async def _answers(socket: Path) -> bool:
    try:
        async with asyncssh.connect_agent(str(socket)):
            return True
    except OSError:
        return False
