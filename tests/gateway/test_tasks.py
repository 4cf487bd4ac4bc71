"""Work with an owner: a fault ends what had it, and nothing else."""

import asyncio
from datetime import timedelta

import pytest

from airtunnel.gateway import tasks as module
from airtunnel.gateway.tasks import Tasks

LIMIT = timedelta(seconds=5)


async def test_a_fault_is_logged_by_its_name_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    tasks, done = Tasks(), asyncio.Event()

    async def broken() -> None:
        raise KeyError("a fault")

    async def sound() -> None:
        await asyncio.sleep(0)
        done.set()

    tasks.spawn(broken(), "the broken one")
    tasks.spawn(sound(), "the sound one")
    await asyncio.wait_for(done.wait(), 5)
    await tasks.aclose(LIMIT)
    assert "the broken one failed" in caplog.text


async def test_what_is_kept_begins_again_after_a_fault(caplog: pytest.LogCaptureFixture) -> None:
    tasks, again = Tasks(), asyncio.Event()
    turns: list[int] = []

    async def work() -> None:
        turns.append(1)
        if len(turns) == 1:
            raise RuntimeError("once")
        again.set()
        await asyncio.Event().wait()

    tasks.keep(work, "the keeper")
    await asyncio.wait_for(again.wait(), module.REST.total_seconds() + 5)
    await tasks.aclose(LIMIT)
    assert "the keeper failed" in caplog.text
    assert len(turns) == 2


async def test_at_the_end_spawned_work_is_awaited_for_its_time_and_then_ended() -> None:
    tasks, ended = Tasks(), []

    async def quick() -> None:
        await asyncio.sleep(0.01)
        ended.append("quick")

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("endless")

    tasks.spawn(quick(), "quick")
    tasks.spawn(endless(), "endless")
    await tasks.aclose(timedelta(seconds=0.2))
    assert ended == ["quick", "endless"]
