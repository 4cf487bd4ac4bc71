"""What ssh-audit says of the SSH port: nothing at all by default, and nothing that fails where older OpenSSH is let in."""

import asyncio
import sys

import pytest

from tests.lab import Lab

# Its exit codes: 0 nothing, 1 could not connect, 2 warnings, 3 failures.
GOOD, WARNINGS = 0, 2


@pytest.mark.parametrize(("extra", "worst"), [("", GOOD), ("ssh: {compat_openssh: true}", WARNINGS)])
async def test_ssh_audit_finds_nothing_to_fail(lab: Lab, extra: str, worst: int) -> None:
    async with lab.gateway(extra=extra) as site:
        program = (sys.executable, "-m", "ssh_audit", "--no-colors", "-p", str(site.published.ssh_port), "127.0.0.1")
        process = await asyncio.create_subprocess_exec(
            *program, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await process.communicate()
        text = said.decode()
    assert process.returncode in (GOOD, worst), text
    assert "[fail]" not in text
    assert "mlkem768x25519-sha256" in text, "it has seen the real list of algorithms"
