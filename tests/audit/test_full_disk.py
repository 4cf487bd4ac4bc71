"""A filesystem that is really full: nothing is acknowledged that is not there, and all goes on when there is space again."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import asyncio, sys
from pathlib import Path
from airtunnel.audit.files import find_files
from airtunnel.audit.verify import verify_audits
from airtunnel.errors import AuditUnavailable
from airtunnel.audit.record import Event, Record
from tests.audit.journal import open_log, records

disk, rotate, checkpoints = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
acknowledged = []

async def write(log, count):
    for _ in range(count):
        said = f"s-{len(acknowledged)}"
        await log.write(Record(Event.SESSION_OPENED, session=said, detail="x" * 500))
        acknowledged.append(said)

async def main():
    async with open_log(disk / "audit.jsonl", rotate=rotate, checkpoints=checkpoints) as log:
        for size in (100_000, 30_000):
            filler = disk / "filler"
            filler.write_bytes(b"x" * size)
            try:
                await write(log, 10_000)
            except AuditUnavailable as error:
                assert "No space left on device" in str(error), error
            else:
                raise AssertionError("the disk did not fill up")
            for _ in range(3):
                try:
                    await write(log, 1)
                except AuditUnavailable:
                    continue
                raise AssertionError("a record was acknowledged on a full disk")
            filler.unlink()
            await write(log, 20)
    assert [one["sid"] for one in records(disk) if "sid" in one] == acknowledged
    (audit,) = verify_audits([disk], checkpoints, disk / "audit.pub")
    assert audit.finding is None, audit.finding
    assert audit.signed.last.seq == audit.count - 1
    print(len(acknowledged), len(find_files([disk])))

asyncio.run(main())
"""

CHECKPOINTS_ONLY = """
import asyncio, sys
from contextlib import suppress
from pathlib import Path
from airtunnel.audit import notary
from airtunnel.audit.verify import verify_audits
from tests.audit.journal import OPENED, open_log

disk, place = Path(sys.argv[1]), Path(sys.argv[2])
notary.RECORDS = 5
filler = disk / "filler"

async def main():
    async with open_log(place / "audit.jsonl", checkpoints=disk / "c", fsync=False) as log:
        await log.write(OPENED)
        (disk / "c").touch()
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(b"x" * 4096):
                pass
    assert (disk / "c").read_bytes() == b""
    async with open_log(place / "audit.jsonl", checkpoints=disk / "c", fsync=False) as log:
        for _ in range(50):
            await log.write(OPENED)
        filler.unlink()
    (audit,) = verify_audits([place], disk / "c", place / "audit.pub")
    assert audit.finding is None, audit.finding
    assert (audit.count, audit.signed.last.seq) == (51, 50)
    print("ok")

asyncio.run(main())
"""


def run_on_small_disk(tmp_path: Path, program: str, *arguments: str) -> str:
    """What the program prints, run with a filesystem of 256 KiB at `tmp_path/disk`, in a mount namespace of its own."""
    unshare = shutil.which("unshare")
    if unshare is None:
        pytest.skip("no unshare(1) here")
    space = [unshare, "--mount", "--user", "--map-root-user"]
    if subprocess.run([*space, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], capture_output=True, check=False).returncode:
        space = [unshare, "--mount"]
        if subprocess.run([*space, "true"], capture_output=True, check=False).returncode:
            pytest.skip("no mount namespaces here: neither root nor user namespaces")
    disk = tmp_path / "disk"
    disk.mkdir()
    script = 'mount -t tmpfs -o size=256k tmpfs "$1" && shift && exec "$@"'
    command = [*space, "sh", "-c", script, "sh", str(disk), sys.executable, "-c", program, *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("rotate", [10**6, 20_000])
@pytest.mark.parametrize("beside", [True, False])
def test_a_full_disk_refuses_and_recovers_without_a_restart(tmp_path: Path, rotate: int, beside: bool) -> None:
    disk = tmp_path / "disk"
    checkpoints = (disk if beside else tmp_path) / "audit.checkpoints"
    acknowledged, files = run_on_small_disk(tmp_path, PROGRAM, str(disk), str(rotate), str(checkpoints)).split()
    assert int(acknowledged) > 150
    assert (int(files) > 3) == (rotate < 10**6)


def test_a_full_disk_for_checkpoints_loses_no_record_and_the_next_one_covers_all(tmp_path: Path) -> None:
    assert run_on_small_disk(tmp_path, CHECKPOINTS_ONLY, str(tmp_path / "disk"), str(tmp_path / "audit")) == "ok\n"
