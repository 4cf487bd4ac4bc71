"""Checking the record of what happened."""

import json
import shutil

from tests.cli.terminal import Terminal
from tests.lab import Lab


async def test_an_audit_that_nobody_touched_is_sound_and_a_touched_one_is_not(terminal: Terminal, lab: Lab) -> None:
    async with lab.gateway() as site:
        terminal.log_in(site, await lab.tokens("ana"))
        await terminal.run("connect", "payroll")
    directory = site.directory / "audit"
    file = directory / "audit.jsonl"
    ended = await terminal.run("audit", "verify", str(directory))
    assert ended.code == 0
    (line,) = ended.out.splitlines()
    assert line.startswith(f"{file}: records 0 to 2, unbroken, ")
    assert f"{directory / 'audit.checkpoints'}: signed up to record 2 at " in ended.err
    assert "3 records in " in ended.err

    whole = file.read_text()
    file.write_text(whole.replace("ana@example.com", "fin@example.com"))
    ended = await terminal.run("audit", "verify", str(file), "--json")
    assert ended.code == 1
    body = json.loads(ended.out)
    assert (body["ok"], body["records"]) == (False, 1)
    assert body["broken"] | {"message": ""} == {"file": str(file), "line": 2, "seq": 1, "fault": "edited", "message": ""}
    assert ended.err.startswith(f"error: {file}:2:1: ")
    assert "  found: edited\n" in ended.err


async def test_a_cut_tail_is_found_with_the_copy_of_the_checkpoints(terminal: Terminal, lab: Lab) -> None:
    async with lab.gateway() as site:
        pass
    directory = site.directory / "audit"
    for name in ("audit.checkpoints", "audit.pub"):
        shutil.move(directory / name, terminal.home / name)
    copies = ("--checkpoints", str(terminal.home / "audit.checkpoints"), "--public-key", str(terminal.home / "audit.pub"))
    ended = await terminal.run("audit", "verify", str(directory), *copies, "--json")
    body = json.loads(ended.out)
    assert (ended.code, body["ok"], body["records"], body["signed"], len(body["keys"])) == (0, True, 2, 1, 1)
    assert body["per_second"] > 0
    assert body["files"][0] | {"from": "", "to": ""} == {
        "file": str(directory / "audit.jsonl"),
        "first": 0,
        "records": 2,
        "from": "",
        "to": "",
        "ok": True,
    }

    file = directory / "audit.jsonl"
    file.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
    ended = await terminal.run("audit", "verify", str(directory))
    assert ended.code == 0
    assert "if records were cut off at the end, this does not show" in ended.err
    ended = await terminal.run("audit", "verify", str(directory), *copies)
    assert ended.code == 1
    assert ended.err.startswith(f"error: {file}:2:1: record 1 is missing at the end")
    assert "found: cut tail" in ended.err


async def test_a_file_that_is_not_there_is_a_wrong_command_line(terminal: Terminal) -> None:
    assert (await terminal.run("audit", "verify", "nosuch.jsonl")).code == 2
    assert (await terminal.run("audit", "verify", str(terminal.home))).code == 2
    assert (await terminal.run("audit", "verify")).code == 2
