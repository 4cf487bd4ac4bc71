"""Checking the record of what happened."""

import json

from tests.cli.terminal import Terminal
from tests.lab import Lab


async def test_a_file_that_nobody_touched_is_sound(terminal: Terminal, lab: Lab) -> None:
    async with lab.gateway() as site:
        terminal.log_in(site, await lab.tokens("ana"))
        await terminal.run("connect", "payroll")
    file = site.directory / "audit" / "audit.jsonl"
    ended = await terminal.run("audit", "verify", str(file))
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith(f"{file}: 3 records, unbroken, ")

    file.write_text(file.read_text().replace("ana@example.com", "fin@example.com"))
    ended = await terminal.run("audit", "verify", str(file), "--json")
    assert ended.code == 1
    assert json.loads(ended.out)["broken"]["line"] == 2
    assert ended.err.startswith(f"error: {file}:2: ")


async def test_a_file_that_is_not_there_is_a_wrong_command_line(terminal: Terminal) -> None:
    assert (await terminal.run("audit", "verify", "nosuch.jsonl")).code == 2
