"""Files that count as soon as they change."""

import asyncio
import logging
from pathlib import Path

import pytest

from airtunnel.errors import ConfigError
from airtunnel.gateway.watch import Watch, stamp


async def test_a_fault_is_told_once_and_tried_again_until_it_is_mended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "file"
    file.write_text("first")
    tries, done = 0, asyncio.Event()

    async def load() -> None:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise ConfigError("file:1: wrong")
        done.set()

    with caplog.at_level(logging.ERROR):
        watch = Watch("it is not taken", lambda: stamp(file), load)
        task = asyncio.ensure_future(watch.run())
        while not done.is_set():
            watch.reload()
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert [one.getMessage() for one in caplog.records] == ["it is not taken: file:1: wrong"]


async def test_what_has_not_changed_is_not_loaded(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("first")
    looks, loaded = asyncio.Event(), asyncio.Event()

    def look() -> tuple[tuple[str, int, int], ...]:
        loop.call_soon_threadsafe(looks.set)
        return stamp(file)

    async def load() -> None:
        loaded.set()

    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(Watch("", look, load, seen=stamp(file)).run())
    async with asyncio.timeout(10):
        for _ in range(2):
            looks.clear()
            await looks.wait()
        assert not loaded.is_set()
        file.write_text("second, and longer")
        await loaded.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_what_is_not_there_is_left_out(tmp_path: Path) -> None:
    assert stamp(tmp_path / "nothing") == ()
