"""A gateway as its operator starts it."""

import json
import signal
import socket
import stat
from pathlib import Path

from tests.cli.terminal import Terminal
from tests.cli.test_login import log_in
from tests.lab import POLICY, Lab


def fixed_ports(directory: Path) -> tuple[int, int]:
    """Put two free ports into the gateway.yaml of `directory`: HTTPS and SSH."""
    with socket.create_server(("127.0.0.1", 0)) as first, socket.create_server(("127.0.0.1", 0)) as second:
        https, ssh = first.getsockname()[1], second.getsockname()[1]
    config = directory / "gateway.yaml"
    text = config.read_text().replace('https: "127.0.0.1:0"', f'https: "127.0.0.1:{https}"')
    config.write_text(text.replace('ssh: "127.0.0.1:0"', f'ssh: "127.0.0.1:{ssh}"'))
    return https, ssh


async def test_it_serves_until_it_is_told_to_end(terminal: Terminal, lab: Lab) -> None:
    directory = lab.write()
    https, _ = fixed_ports(directory)
    for number in (signal.SIGTERM, signal.SIGINT):
        async with terminal.start("gateway", "serve", "--config", str(directory / "gateway.yaml")) as gateway:
            await gateway.heard("gateway test: 2 targets, 2 rules; ready")
            ended = await log_in(terminal, f"127.0.0.1:{https}", "--ca", str(directory / "tls" / "ca.pem"), "--store", "file")
            assert ended.code == 0, ended.err
            assert (await terminal.run("exec", "warehouse", "--", "true")).code == 0
            ended = await gateway.end(number)
        assert (ended.code, ended.out) == (0, "")
        assert ended.err.endswith("draining\nstopped\n")
    assert lab.roles() == []


async def test_a_gateway_that_dies_ends_what_is_connected_with_69(terminal: Terminal, lab: Lab) -> None:
    directory = lab.write()
    https, _ = fixed_ports(directory)
    async with terminal.start("gateway", "serve", "--config", str(directory / "gateway.yaml")) as gateway:
        await gateway.heard("ready")
        await log_in(terminal, f"127.0.0.1:{https}", "--ca", str(directory / "tls" / "ca.pem"), "--store", "file")
        async with terminal.start("connect", "warehouse", "--no-test", "--json") as connected:
            await connected.event("ready")
            await gateway.end(signal.SIGKILL)
            ended = await connected.end()
    assert ended.code == 69
    assert [one["event"] for one in ended.events] == ["ready", "ended", "error"]
    assert ended.events[1]["reason"] == "link_lost"
    assert ended.err.endswith("hint: airtunnel connect warehouse --no-test --json\n")


async def test_a_port_that_is_taken_is_73(terminal: Terminal, lab: Lab) -> None:
    directory = lab.write()
    https, _ = fixed_ports(directory)
    with socket.create_server(("127.0.0.1", https)):
        ended = await terminal.run("gateway", "serve", "--config", str(directory / "gateway.yaml"))
    assert ended.code == 73
    assert "error: " in ended.err
    assert "Traceback" not in ended.err


async def test_each_fault_of_a_configuration_is_named(terminal: Terminal, lab: Lab) -> None:
    directory = lab.write(POLICY.replace("source: postgres-role", "source: nosuch"))
    config = str(directory / "gateway.yaml")
    (directory / "tls" / "gateway.key").chmod(0o644)
    for words in (("check", "--json"), ("serve",)):
        ended = await terminal.run("gateway", *words, "--config", config)
        assert ended.code == 78
        assert ended.err.count("error: ") == 3
        assert "policy.yaml:6:" in ended.err
        assert f"hint: chmod 600 {directory / 'tls' / 'gateway.key'}" in ended.err
        assert [one["code"] for one in ended.events] == (["config"] * 3 if "--json" in words else [])


async def test_a_configuration_that_is_not_there_is_78(terminal: Terminal) -> None:
    assert (await terminal.run("gateway", "check")).code == 78


async def test_what_init_writes_passes_check(terminal: Terminal, lab: Lab, tmp_path: Path) -> None:
    place = tmp_path / "fresh"
    written = await terminal.run("gateway", "init", str(place), "--host", "gw.example.com", "--issuer", lab.provider.issuer)
    assert written.code == 0, written.err
    assert stat.S_IMODE((place / "tls" / "gateway.key").stat().st_mode) == 0o600
    checked = await terminal.run("gateway", "check", "--config", str(place / "gateway.yaml"), "--json")
    assert checked.code == 0, checked.err
    assert json.loads(checked.out)["ok"] is True
    probed = await terminal.run("gateway", "check", "--provider", "--config", str(place / "gateway.yaml"))
    assert probed.code == 0, probed.err
    assert f"{lab.provider.issuer} (oidc)\n  good " in probed.err
    again = await terminal.run("gateway", "init", str(place))
    assert again.code == 78


async def test_a_provider_that_would_let_nobody_in_is_told_before_anybody_tries(
    terminal: Terminal, lab: Lab, tmp_path: Path
) -> None:
    place = tmp_path / "fresh"
    await terminal.run("gateway", "init", str(place), "--host", "gw.example.com", "--issuer", "http://127.0.0.1:1")
    ended = await terminal.run("gateway", "check", "--provider", "--config", str(place / "gateway.yaml"), "--json")
    assert ended.code == 78
    assert "fault" in ended.err
    assert "error: 1 of 1 providers would let nobody in" in ended.err
    assert ended.events[0]["ok"] is False
    assert ended.events[0]["providers"][0]["findings"][0]["mark"] == "fault"


async def test_a_gateway_that_is_down_is_69(terminal: Terminal, lab: Lab) -> None:
    async with lab.gateway() as site:
        terminal.log_in(site, await lab.tokens("ana"))
    for words in (("targets",), ("whoami",), ("connect", "warehouse")):
        ended = await terminal.run(*words)
        assert (ended.code, ended.out) == (69, "")


async def test_the_keys_are_shown_and_replaced_step_by_step(terminal: Terminal, lab: Lab) -> None:
    config = str(lab.write() / "gateway.yaml")

    async def shown() -> list[tuple[str, str]]:
        ended = await terminal.run("gateway", "ca", "--config", config, "--json")
        assert ended.code == 0, ended.err
        return [(one["ca"], one["role"]) for one in json.loads(ended.out)["keys"]]

    assert await shown() == [("user", "signs"), ("host", "signs")]
    steps = (
        ("staged", ["signs", "next"], "is trusted, and does not sign yet"),
        ("promoted", ["signs", "old"], f"Next: airtunnel gateway ca rotate user --config {config}, not before "),
        ("dropped", ["signs"], "is not trusted any more"),
    )
    for step, roles, said in steps:
        ended = await terminal.run("gateway", "ca", "rotate", "user", "--config", config, "--json")
        assert (ended.code, ended.events[0]["step"]) == (0, step), ended.err
        assert ended.events[0]["fingerprint"].startswith("SHA256:")
        assert (ended.events[0]["safe_at"] is not None) == (step == "promoted")
        assert said in ended.err
        assert await shown() == [("user", role) for role in roles] + [("host", "signs")]
    table = await terminal.run("gateway", "ca", "--config", config)
    assert [line.split()[:2] for line in table.out.splitlines()] == [["CA", "ROLE"], ["user", "signs"], ["host", "signs"]]


async def test_a_key_that_someone_else_holds_is_brought(terminal: Terminal, lab: Lab) -> None:
    keys = "authority: {user_ca: {agent: ca.sock, public_key: authority/people.pub}}"
    directory = lab.write(extra=keys)
    rotate = ("gateway", "ca", "rotate", "user", "--config", str(directory / "gateway.yaml"))
    first = await terminal.run(*rotate, "--public-key", str(directory / "authority" / "user_ca.pub"))
    assert first.code == 0, first.err
    assert "is the key that signs" in first.err
    unnamed = await terminal.run(*rotate)
    assert (unnamed.code, unnamed.out) == (2, "")
    assert "hint: --public-key NEXT.pub" in unnamed.err
    both = await terminal.run(*rotate, "--public-key", str(directory / "authority" / "user_ca.pub"), "--kms", "arn:x")
    assert both.code == 2
    checked = await terminal.run("gateway", "check", "--config", str(directory / "gateway.yaml"))
    assert checked.code == 0, checked.err


async def test_a_rotation_without_a_ca_is_a_usage_error(terminal: Terminal, lab: Lab) -> None:
    config = str(lab.write() / "gateway.yaml")
    for words in (("rotate",), ("rotate", "users"), ("spin", "user")):
        ended = await terminal.run("gateway", "ca", *words, "--config", config)
        assert (ended.code, ended.out) == (2, "")


async def test_keys_that_cannot_be_used_are_78(terminal: Terminal, lab: Lab) -> None:
    directory = lab.write()
    (directory / "authority" / "user_ca").chmod(0o644)
    for words in (("ca",), ("ca", "rotate", "user"), ("check",)):
        ended = await terminal.run("gateway", *words, "--config", str(directory / "gateway.yaml"))
        assert ended.code == 78
        assert f"hint: chmod 600 {directory / 'authority' / 'user_ca'}" in ended.err


async def test_a_rotation_beside_a_broken_file_does_not_pass_for_whole(terminal: Terminal, lab: Lab) -> None:
    directory = lab.write()
    (directory / "authority" / "host_ca.next.pub").write_text("garbage")
    ended = await terminal.run("gateway", "ca", "rotate", "user", "--config", str(directory / "gateway.yaml"))
    assert ended.code == 78
    assert "host_ca.next.pub" in ended.err
