"""The audit as the gateway uses it: acknowledged means on disk, and a full disk is survived."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from airtunnel.audit import log as log_module
from airtunnel.audit.chain import Fault
from airtunnel.audit.file import verify_file
from airtunnel.audit.record import Event, Record
from airtunnel.audit.verify import verify_audits
from airtunnel.errors import AuditUnavailable
from airtunnel.model import Principal, PrincipalKind
from tests.audit.journal import OPENED, open_log, records


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


async def test_without_fsync_no_record_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_log(tmp_path / "a", fsync=False) as log:
        with monkeypatch.context() as patch:
            for name in ("fdatasync", "fsync"):
                patch.setattr(os, name, lambda _fd: pytest.fail("synced"))
            await log.write(OPENED)


async def test_full_files_are_rotated_and_the_first_record_of_the_next_says_so(tmp_path: Path) -> None:
    async with open_log(tmp_path / "audit.jsonl", rotate=1) as log:
        for _ in range(3):
            await log.write(OPENED)
    events = [record["event"] for record in records(tmp_path)]
    assert events == ["session.opened", *["audit.rotated", "session.opened"] * 2]
    assert records(tmp_path / "audit.jsonl")[0]["detail"].startswith("goes on from audit-000000000001.jsonl: record 2, ")


async def test_what_is_not_required_and_cannot_be_written_is_an_error_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_log(tmp_path / "a", required=False) as log:
        with room_for(tmp_path / "a", 0):
            await log.write(OPENED)
    assert "a record of session.opened is lost" in caplog.text


async def test_the_chain_goes_on_after_a_restart(tmp_path: Path) -> None:
    for _ in range(3):
        async with open_log(tmp_path / "a") as log:
            await log.write(OPENED)
    assert verify_file(tmp_path / "a").count == 3


async def test_a_torn_last_line_is_cut_off_and_that_is_recorded(tmp_path: Path) -> None:
    async with open_log(tmp_path / "a") as log:
        await log.write(OPENED)
    with (tmp_path / "a").open("ab") as file:
        file.write(b'{"v":1,"seq":1,"pr')
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
import asyncio, os, sys
from pathlib import Path
from airtunnel.audit.record import Event, Record
from tests.audit.journal import open_log

async def write(log, number):
    for turn in range(10_000):
        said = f"{os.getpid()}-{number}-{turn}"
        await log.write(Record(Event.SESSION_OPENED, session=said))
        os.write(1, f"{said}\\n".encode())

async def main():
    async with open_log(Path(sys.argv[1]), rotate=4000) as log:
        await asyncio.gather(*(write(log, number) for number in range(8)))

asyncio.run(main())
"""


def test_what_was_acknowledged_survives_kill_9_across_files(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    for turn in range(12):
        program = [sys.executable, "-c", WRITER, str(tmp_path / "audit.jsonl")]
        with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            acknowledged += [process.stdout.readline().strip() for _ in range(40 + 29 * turn % 100)]
            process.kill()
            acknowledged += process.stdout.read().splitlines()
    torn = next(verify_audits([tmp_path])).finding
    assert torn is None or torn.fault is Fault.TORN
    found = [record["sid"] for record in records(tmp_path) if "sid" in record]
    assert len(acknowledged) >= 12 * 40
    assert "" not in acknowledged
    assert not set(acknowledged) - set(found)
    assert len(found) == len(set(found))
    assert len(list(tmp_path.glob("audit-*.jsonl"))) > 12
