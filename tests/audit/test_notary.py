"""When checkpoints are written, and what happens when they cannot be."""

import asyncio
import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airtunnel.audit import checkpoint, notary
from airtunnel.audit.verify import verify_audits
from airtunnel.errors import AuditUnavailable
from tests.audit.journal import OPENED, open_log, records, write_audit


def signed(path: Path) -> list[dict[str, Any]]:  # Any: JSON
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not reached():
            await asyncio.sleep(0.005)


async def test_the_end_is_signed_once_and_nothing_written_is_nothing_signed(tmp_path: Path) -> None:
    for _ in range(2):
        async with open_log(tmp_path / "audit.jsonl") as log:
            await log.write(OPENED)
    async with open_log(tmp_path / "audit.jsonl"):
        pass
    found = signed(tmp_path / "audit.checkpoints")
    assert [(one["seq"], one["file"], one["gateway"]) for one in found] == [
        (0, "audit.jsonl", "gw-1"),
        (1, "audit.jsonl", "gw-1"),
    ]


async def test_a_checkpoint_is_due_after_so_many_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notary, "RECORDS", 10)
    path = tmp_path / "audit.checkpoints"
    async with open_log(tmp_path / "audit.jsonl", fsync=False) as log:
        for _ in range(9):
            await log.write(OPENED)
        assert signed(path) == []
        await log.write(OPENED)
        await until(lambda: len(signed(path)) == 1)
    assert [one["seq"] for one in signed(path)] == [9]


async def test_a_checkpoint_is_due_a_while_after_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notary, "INTERVAL", 0.01)
    path = tmp_path / "audit.checkpoints"
    async with open_log(tmp_path / "audit.jsonl") as log:
        await log.write(OPENED)
        await until(lambda: len(signed(path)) == 1)
        await log.write(OPENED)
        await until(lambda: len(signed(path)) == 2)


async def test_what_is_signed_is_on_the_disk_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    sync, put = os.fdatasync, checkpoint.append_line

    def synced(fd: int) -> None:
        order.append("records")
        sync(fd)

    def sealed(path: Path, line: bytes) -> None:
        order.append("checkpoint")
        put(path, line)

    async with open_log(tmp_path / "audit.jsonl", fsync=False) as log:
        await log.write(OPENED)
        monkeypatch.setattr(os, "fdatasync", synced)
        monkeypatch.setattr(notary, "append_line", sealed)
    assert order == ["records", "checkpoint"]


async def test_while_checkpoints_cannot_be_written_no_record_is_lost_and_the_log_says_so_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(notary, "INTERVAL", 0.005)
    place = tmp_path / "mount"
    async with open_log(tmp_path / "audit.jsonl", checkpoints=place / "c") as log:
        for _ in range(3):
            await log.write(OPENED)
            await until(lambda: "not signed" in caplog.text)
        assert len(records(tmp_path / "audit.jsonl")) == 3
        assert [entry.levelno for entry in caplog.records] == [logging.ERROR]
        place.mkdir()
        await until(lambda: len(signed(place / "c")) == 1)
        assert signed(place / "c")[0]["seq"] == 2
    assert "they can be written again" in caplog.text


async def test_a_place_that_hangs_holds_no_record_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    read_end, write_end = os.pipe()
    monkeypatch.setattr(notary, "PATIENCE", 0.02)
    monkeypatch.setattr(notary, "RECORDS", 1)
    monkeypatch.setattr(notary, "append_line", lambda _path, _line: os.read(read_end, 1))
    async with open_log(tmp_path / "audit.jsonl") as log:
        for _ in range(3):
            await log.write(OPENED)
        await until(lambda: "3 records are not signed: no answer" in caplog.text or "no answer" in caplog.text)
        await log.write(OPENED)
    os.write(write_end, b"x" * 10)
    os.close(write_end)
    assert len(records(tmp_path / "audit.jsonl")) == 4


@pytest.mark.parametrize("left", [0, 1, 4])
async def test_a_gateway_does_not_go_on_where_records_are_missing_at_the_end(tmp_path: Path, left: int) -> None:
    (file,) = await write_audit(tmp_path, 5, rotate=10**6)
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:left]))
    with pytest.raises(AuditUnavailable, match=f"ends with record {left - 1}, and a checkpoint .* knows of record 4") as caught:
        await write_audit(tmp_path, 1)
    assert caught.value.hint is not None
    assert "audit.checkpoints elsewhere" in caught.value.hint
    file.write_bytes(b"".join(lines))
    await write_audit(tmp_path, 1)


async def test_a_gateway_does_not_go_on_where_the_last_record_is_another(tmp_path: Path) -> None:
    (file,) = await write_audit(tmp_path, 1, rotate=10**6)
    file.write_bytes(file.read_bytes().replace(b"s-0", b"s-1"))
    with pytest.raises(AuditUnavailable, match="written anew"):
        await write_audit(tmp_path, 1)


async def test_a_new_key_goes_on_after_the_old_ones_checkpoints(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    await write_audit(tmp_path, 1)
    both = (tmp_path / "audit.pub").read_bytes()
    (tmp_path / "audit.key").unlink()
    await write_audit(tmp_path, 1)
    assert "the last one is not signed by this key" in caplog.text
    (tmp_path / "audit.pub").write_bytes(both + (tmp_path / "audit.pub").read_bytes())
    (audit,) = verify_audits([tmp_path])
    assert audit.finding is None
    assert audit.signed is not None
    assert len(audit.signed.keys) == 2
