"""The audit as the gateway uses it: acknowledged means on disk, and a full disk is survived."""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airtunnel.audit import log as log_module
from airtunnel.audit.file import verify_file
from airtunnel.audit.log import AuditLog
from airtunnel.audit.record import Event, Record
from airtunnel.errors import AuditUnavailable
from airtunnel.model import Principal, PrincipalKind

NOW = datetime(2026, 3, 1, tzinfo=UTC)
OPENED = Record(Event.SESSION_OPENED, session="s-1")


def open_log(path: Path, *, fsync: bool = True) -> AbstractAsyncContextManager[AuditLog]:
    return AuditLog.open(path, fsync=fsync, gateway="gw-1", clock=lambda: NOW)


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@contextmanager
def room_for(path: Path, size: int) -> Iterator[None]:
    """No file of this process may grow beyond the size of `path` + `size`: writes fail with EFBIG, after what still fits."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, previous)


async def test_a_written_record_is_in_the_file_when_the_call_returns(tmp_path: Path) -> None:
    async with open_log(tmp_path / "a") as log:
        await log.write(OPENED)
        (record,) = records(tmp_path / "a")
    assert (record["seq"], record["event"], record["gateway"], record["sid"]) == (0, "session.opened", "gw-1", "s-1")


async def test_many_writers_share_few_commits_and_make_one_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commits: list[int] = []
    monkeypatch.setattr(os, "fdatasync", commits.append)
    async with open_log(tmp_path / "a") as log, asyncio.TaskGroup() as group:
        for _ in range(500):
            group.create_task(log.write(OPENED))
    verified = verify_file(tmp_path / "a")
    assert (verified.count, verified.broken) == (500, None)
    assert 1 <= len(commits) <= 3


async def test_without_fsync_nothing_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fdatasync", lambda _fd: pytest.fail("synced"))
    async with open_log(tmp_path / "a", fsync=False) as log:
        await log.write(OPENED)


async def test_the_chain_goes_on_after_a_restart(tmp_path: Path) -> None:
    for _ in range(3):
        async with open_log(tmp_path / "a") as log:
            await log.write(OPENED)
    assert verify_file(tmp_path / "a").count == 3


async def test_a_torn_last_line_is_cut_off_and_that_is_recorded(tmp_path: Path) -> None:
    async with open_log(tmp_path / "a") as log:
        await log.write(OPENED)
        await log.write(OPENED)
    os.truncate(tmp_path / "a", (tmp_path / "a").stat().st_size - 5)
    async with open_log(tmp_path / "a") as log:
        await log.write(OPENED)
    assert [record["event"] for record in records(tmp_path / "a")] == ["session.opened", "audit.repaired", "session.opened"]
    assert verify_file(tmp_path / "a").broken is None


@pytest.mark.parametrize("room", [0, 1, 150])
async def test_a_full_disk_fails_the_writers_and_leaves_no_trace_and_is_survived(tmp_path: Path, room: int) -> None:
    path = tmp_path / "a"
    async with open_log(path) as log:
        await log.write(OPENED)
        before = path.read_bytes()
        with room_for(path, room):
            results = await asyncio.gather(*(log.write(OPENED) for _ in range(5)), return_exceptions=True)
            assert path.read_bytes() == before
        await log.write(OPENED)
    assert [type(result) for result in results] == [AuditUnavailable] * 5
    assert len({id(result) for result in results}) == 5
    # It travels to clients, who are not to learn where the gateway keeps what; its log says where.
    assert str(path) not in str(results[0])
    assert (verify_file(path).count, verify_file(path).broken) == (2, None)


async def test_what_could_not_be_synced_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_fd: int) -> None:
        raise OSError(5, "Input/output error")

    async with open_log(tmp_path / "a") as log:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", fail)
            with pytest.raises(AuditUnavailable, match="Input/output error"):
                await log.write(OPENED)
        await log.write(OPENED)
    assert verify_file(tmp_path / "a").count == 1


async def test_a_disk_that_hangs_does_not_hang_the_writer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_end, write_end = os.pipe()
    monkeypatch.setattr(log_module, "PATIENCE", 0.05)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fdatasync", lambda _fd: os.read(read_end, 1))
        async with open_log(tmp_path / "a") as log:
            with pytest.raises(AuditUnavailable, match="did not answer"):
                await log.write(OPENED)
            os.write(write_end, b"xx")
            await log.write(OPENED)
    os.close(read_end)
    os.close(write_end)
    assert verify_file(tmp_path / "a").count == 2


async def test_a_record_that_cannot_be_written_harms_only_its_writer(tmp_path: Path) -> None:
    odd = Principal(PrincipalKind.PERSON, "i", "s", "n", claims={"x": float("nan")})
    async with open_log(tmp_path / "a") as log:
        results = await asyncio.gather(
            log.write(Record(Event.REFUSED, principal=odd)), log.write(OPENED), return_exceptions=True
        )
    assert [type(result) for result in results] == [AuditUnavailable, type(None)]
    assert verify_file(tmp_path / "a").count == 1


async def test_a_cancelled_writer_does_not_stop_the_others(tmp_path: Path) -> None:
    async with open_log(tmp_path / "a") as log, asyncio.TaskGroup() as group:
        tasks = [group.create_task(log.write(OPENED)) for _ in range(10)]
        await asyncio.sleep(0)  # all are waiting now, the first in the commit
        tasks[0].cancel()
        tasks[5].cancel()
    assert verify_file(tmp_path / "a").broken is None
    assert [task.cancelled() for task in tasks] == [one in (0, 5) for one in range(10)]


async def test_what_waits_at_the_end_is_still_written(tmp_path: Path) -> None:
    async with open_log(tmp_path / "a") as log:
        waiting = [asyncio.ensure_future(log.write(OPENED)) for _ in range(3)]
        await asyncio.sleep(0)
    assert verify_file(tmp_path / "a").count == 3
    await asyncio.gather(*waiting)


async def test_a_closed_log_takes_no_more_records(tmp_path: Path) -> None:
    async with open_log(tmp_path / "a") as log:
        pass
    with pytest.raises(AuditUnavailable, match="closed"):
        await log.write(OPENED)


async def test_an_error_of_the_user_of_the_log_passes_through_unchanged(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with open_log(tmp_path / "a"):
            raise ZeroDivisionError


WRITER = """
import asyncio, sys
from datetime import UTC, datetime
from pathlib import Path
from airtunnel.audit.log import AuditLog
from airtunnel.audit.record import Event, Record

async def write(log, number):
    while True:
        await log.write(Record(Event.SESSION_OPENED, session=f"s-{number}"))
        print("x", flush=True)

async def main():
    async with AuditLog.open(Path(sys.argv[1]), fsync=True, gateway="gw", clock=lambda: datetime.now(UTC)) as log:
        await asyncio.gather(*(write(log, number) for number in range(8)))

asyncio.run(main())
"""


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    acknowledged = 0
    for _ in range(3):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "a")], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(200):
                assert process.stdout.readline() == b"x\n"
                acknowledged += 1
            process.kill()
            acknowledged += process.stdout.read().count(b"\n")
    verified = verify_file(tmp_path / "a")
    assert verified.broken is None or verified.broken.line == verified.count + 1
    assert verified.count >= acknowledged
