# ruff: noqa: ASYNC240  # looking at a local path is what these tests do

import asyncio
import json
import os
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from airtunnel.errors import AddressTaken, AirtunnelError, ConfigError, LoginRequired
from airtunnel.model import Tags
from airtunnel.tunnel.agent import MAX_LINE, Agent, Opened
from tests.tunnel.openers import REFUSAL, HonestOpener, SlowOpener

WAREHOUSE = {"conn_type": "postgres", "host": "127.0.0.1", "port": 54321, "login": "dev", "password": "canary"}
OPEN = {"op": "open", "connection": "warehouse", "tags": {"dag_id": "billing", "task_id": "load"}, "source": "task-context"}


@pytest.fixture
def place() -> Iterator[Path]:
    """A short path: pytest's own may be longer than a socket's may be."""
    with tempfile.TemporaryDirectory(prefix="at-") as name:
        yield Path(name) / "agent" / "s"


@pytest.fixture
def opener() -> HonestOpener:
    return HonestOpener({"warehouse": WAREHOUSE, "prod": REFUSAL, "old": LoginRequired("log in", hint="airtunnel login")})


class Wire:
    """One raw client connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def to(cls, agent: Agent) -> "Wire":
        return cls(*await asyncio.open_unix_connection(str(agent.path)))

    async def say(self, message: object) -> dict[str, Any]:  # Any: JSON
        return await self.send(json.dumps(message).encode() + b"\n")

    async def send(self, data: bytes) -> dict[str, Any]:  # Any: JSON
        """The answer to these bytes, or {} at EOF."""
        try:
            self.writer.write(data)
            line = await self.reader.readline()
        except ConnectionError:
            return {}
        answer: dict[str, Any] = json.loads(line) if line else {}
        return answer

    async def hang_up(self) -> None:
        self.writer.close()
        with suppress(ConnectionError):
            await self.writer.wait_closed()


async def ask(agent: Agent, message: object) -> dict[str, Any]:  # Any: JSON
    wire = await Wire.to(agent)
    answer = await wire.say(message)
    await wire.hang_up()
    return answer


async def test_a_lease_lasts_exactly_as_long_as_its_socket(place: Path, opener: HonestOpener) -> None:
    async with Agent(opener, place) as agent:
        wire = await Wire.to(agent)
        assert await wire.say(OPEN) == {"ok": True, "connection": WAREHOUSE}
        assert opener.open_now == ["warehouse"]
        await wire.hang_up()
        assert await opener.closings.get() == "warehouse"
        assert opener.open_now == []


async def test_the_opener_is_told_the_tags_and_the_summary_the_source(place: Path, opener: HonestOpener) -> None:
    async with Agent(opener, place) as agent:
        await ask(agent, OPEN | {"tags": {"dag_id": "billing", "task_id": "load", "try_number": 2, "map_index": 0}})
    tags = Tags(dag_id="billing", task_id="load", try_number=2, map_index=0)
    assert opener.asked == [("warehouse", tags)]
    assert [(one.connection_id, one.tags, one.source) for one in agent.opened] == [("warehouse", tags, "task-context")]


async def test_the_end_of_the_agent_closes_every_lease_and_removes_the_socket(place: Path, opener: HonestOpener) -> None:
    async with Agent(opener, place) as agent:
        wires = [await Wire.to(agent) for _ in range(3)]
        for wire in wires:
            await wire.say(OPEN)
        assert len(opener.open_now) == 3
    assert opener.open_now == []
    assert not place.exists()
    for wire in wires:
        assert await wire.reader.read() == b""
        await wire.hang_up()


async def test_an_error_of_the_command_leaves_the_agent_as_it_is(place: Path, opener: HonestOpener) -> None:
    with pytest.raises(KeyError):
        async with Agent(opener, place):
            raise KeyError("the block's own")
    assert not place.exists()


async def test_what_is_not_the_gateways_is_called_unmanaged(place: Path, opener: HonestOpener) -> None:
    async with Agent(opener, place) as agent:
        assert await ask(agent, OPEN | {"connection": "elsewhere"}) == {"ok": False, "unmanaged": True}
        assert agent.opened == []


async def test_a_refusal_arrives_whole_and_is_remembered(place: Path, opener: HonestOpener) -> None:
    async with Agent(opener, place) as agent:
        assert await ask(agent, OPEN | {"connection": "prod"}) == {"ok": False, "refused": REFUSAL.as_json()}
    assert agent.refusals == [REFUSAL]


async def test_any_other_error_arrives_with_its_code_and_hint(place: Path, opener: HonestOpener) -> None:
    async with Agent(opener, place) as agent:
        answer = await ask(agent, OPEN | {"connection": "old"})
    assert answer["error"] == {"code": "login_required", "message": "log in", "details": [], "hint": "airtunnel login"}
    assert agent.refusals == []


async def test_a_fault_of_the_opener_ends_one_answer_and_not_the_agent(place: Path, opener: HonestOpener) -> None:
    class Faulty(HonestOpener):
        async def open(self, connection_id: str, tags: Tags) -> Opened | None:
            if connection_id == "faulty":
                raise ZeroDivisionError("password=canary")
            return await super().open(connection_id, tags)

    async with Agent(Faulty(opener.answers), place) as agent:
        answer = await ask(agent, OPEN | {"connection": "faulty"})
        assert answer["error"]["code"] == "error"
        assert "canary" not in json.dumps(answer)
        assert (await ask(agent, OPEN))["ok"]


async def test_a_lease_that_cannot_be_closed_does_not_keep_the_others_open(place: Path) -> None:
    closed = []

    class Sticky:
        async def open(self, connection_id: str, tags: Tags) -> Opened | None:
            async def close() -> None:
                closed.append(connection_id)
                raise AirtunnelError("will not close")

            return Opened(WAREHOUSE, close)

    async with Agent(Sticky(), place) as agent:
        wires = [await Wire.to(agent) for _ in range(2)]
        for wire in wires:
            await wire.say(OPEN)
    assert closed == ["warehouse", "warehouse"]
    for wire in wires:
        await wire.hang_up()


async def test_a_client_that_goes_while_we_dial_stops_the_dialling(place: Path) -> None:
    opener = SlowOpener()
    async with Agent(opener, place) as agent:
        wire = await Wire.to(agent)
        wire.writer.write(json.dumps(OPEN).encode() + b"\n")
        await opener.dialling.wait()
        await wire.hang_up()
        await opener.cancelled.wait()


async def test_the_end_of_the_agent_stops_the_dialling(place: Path) -> None:
    opener = SlowOpener()
    async with Agent(opener, place) as agent:
        wire = await Wire.to(agent)
        wire.writer.write(json.dumps(OPEN).encode() + b"\n")
        await opener.dialling.wait()
    assert opener.cancelled.is_set()
    await wire.hang_up()


@pytest.mark.parametrize(
    ("states", "failed"),
    [(["running"], 0), (["running", "failed"], 1), (["failed", "running", "success"], 0), (["success", "failed"], 1)],
)
async def test_a_task_has_failed_if_its_last_report_says_so(
    place: Path, opener: HonestOpener, states: list[str], failed: int
) -> None:
    async with Agent(opener, place) as agent:
        for number, state in enumerate(states):
            tags = {"dag_id": "billing", "task_id": "load", "run_id": "r", "try_number": number}
            assert await ask(agent, {"op": "event", "state": state, "tags": tags}) == {"ok": True}
    assert agent.failed == [Tags(dag_id="billing", task_id="load", run_id="r")] * failed


async def test_one_mapped_task_does_not_excuse_another(place: Path, opener: HonestOpener) -> None:
    async with Agent(opener, place) as agent:
        await ask(agent, {"op": "event", "state": "failed", "tags": {"task_id": "load", "map_index": 0}})
        await ask(agent, {"op": "event", "state": "success", "tags": {"task_id": "load", "map_index": 1}})
    assert agent.failed == [Tags(task_id="load", map_index=0)]


HOSTILE = {
    "garbage": b"\x00\xff\xfe rubbish\n",
    "http": b"GET / HTTP/1.1\r\n\r\n",
    "not an object": b"[1]\n",
    "deep": b"[" * 60_000 + b"\n",
    "no operation": b"{}\n",
    "unknown operation": b'{"op":"exec"}\n',
    "no connection": b'{"op":"open"}\n',
    "connection of a wrong kind": b'{"op":"open","connection":{"a":1}}\n',
    "tags of a wrong kind": b'{"op":"open","connection":"warehouse","tags":[]}\n',
    "tag with control characters": b'{"op":"open","connection":"warehouse","tags":{"dag_id":"a\\u001b[2J"}}\n',
    "tag of a wrong kind": b'{"op":"open","connection":"warehouse","tags":{"try_number":"x"}}\n',
    "state": b'{"op":"event","state":"exploded"}\n',
    "state of a wrong kind": b'{"op":"event","state":[]}\n',
    "a line of a megabyte": b'{"op":"open","connection":"' + b"x" * 1_000_000 + b'"}\n',
    "a megabyte without a line": b"x" * 1_000_000,
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_hostile_client_gets_an_error_and_the_next_one_is_served(
    place: Path, opener: HonestOpener, data: bytes
) -> None:
    async with Agent(opener, place) as agent:
        wire = await Wire.to(agent)
        answer = await wire.send(data)
        # A client that is still sending when we hang up may lose the answer to its own reset.
        assert answer == {} if len(data) > MAX_LINE and not answer else answer["error"]["code"] == "protocol"
        await wire.hang_up()
        assert opener.asked == []
        assert (await ask(agent, OPEN))["ok"]


async def test_a_request_that_is_good_but_too_long_opens_nothing(place: Path, opener: HonestOpener) -> None:
    async with Agent(opener, place) as agent:
        wire = await Wire.to(agent)
        await wire.say(OPEN | {"padding": "x" * MAX_LINE})
        await wire.hang_up()
    assert opener.asked == []


async def test_a_client_that_says_nothing_is_not_waited_for(
    place: Path, opener: HonestOpener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airtunnel.tunnel.agent.FIRST_WORD", 0.01)
    async with Agent(opener, place) as agent:
        wire = await Wire.to(agent)
        assert await wire.reader.read() == b""
        await wire.hang_up()


@pytest.mark.parametrize("data", [b"", b"{", json.dumps(OPEN).encode()], ids=["at once", "in a word", "before the newline"])
async def test_a_client_that_hangs_up_early_opens_nothing(place: Path, opener: HonestOpener, data: bytes) -> None:
    async with Agent(opener, place) as agent:
        wire = await Wire.to(agent)
        wire.writer.write(data)
        wire.writer.write_eof()
        assert await wire.reader.read() == b""
        await wire.hang_up()
        assert opener.asked == []
        assert (await ask(agent, OPEN))["ok"]


async def test_a_client_that_says_a_second_word_loses_its_lease(place: Path, opener: HonestOpener) -> None:
    async with Agent(opener, place) as agent:
        wire = await Wire.to(agent)
        await wire.say(OPEN)
        assert await wire.say(OPEN) == {}
        assert await opener.closings.get() == "warehouse"
        await wire.hang_up()


@pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="only root can become somebody else")
async def test_a_process_of_another_user_gets_no_answer_even_through_open_doors(place: Path, opener: HonestOpener) -> None:
    async with Agent(opener, place) as agent:
        for door, mode in ((place.parent.parent, 0o755), (place.parent, 0o755), (place, 0o666)):
            door.chmod(mode)
        assert await _answer_as(65534, agent.path) == b""
        assert opener.asked == []
        assert b'"ok":true' in await _answer_as(0, agent.path)


async def _answer_as(uid: int, path: Path) -> bytes:
    """What a process of this user is answered. A child of fork(2): it may have no right to run our interpreter."""
    readable, writable = os.pipe()
    if (pid := os.fork()) == 0:
        os.setuid(uid)
        with socket.socket(socket.AF_UNIX) as wire:
            wire.connect(str(path))
            try:
                wire.sendall(json.dumps(OPEN).encode() + b"\n")
                os.write(writable, wire.recv(MAX_LINE))
            except ConnectionError:
                pass
            finally:
                os._exit(0)
    os.close(writable)
    await asyncio.to_thread(os.waitpid, pid, 0)
    with os.fdopen(readable, "rb") as pipe:
        return pipe.read()


async def test_the_socket_and_its_directory_are_closed_to_others(place: Path, opener: HonestOpener) -> None:
    async with Agent(opener, place):
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        assert stat.S_IMODE(place.parent.stat().st_mode) == 0o700


async def test_a_directory_that_others_can_enter_is_refused(place: Path, opener: HonestOpener) -> None:
    place.parent.mkdir(mode=0o755)
    with pytest.raises(ConfigError, match="can be entered by others"):
        await Agent(opener, place).__aenter__()


async def test_a_second_agent_at_the_same_place_is_refused_and_harms_nothing(place: Path, opener: HonestOpener) -> None:
    async with Agent(opener, place) as agent:
        with pytest.raises(AddressTaken):
            await Agent(opener, place).__aenter__()
        assert (await ask(agent, OPEN))["ok"]


async def test_a_socket_that_kill_9_left_behind_is_replaced(place: Path, opener: HonestOpener) -> None:
    place.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(place))
    async with Agent(opener, place) as agent:
        assert (await ask(agent, OPEN))["ok"]


async def test_a_file_in_the_way_is_never_removed(place: Path, opener: HonestOpener) -> None:
    place.parent.mkdir(mode=0o700)
    place.write_text("somebody's")
    with pytest.raises(ConfigError, match="not a socket"):
        await Agent(opener, place).__aenter__()
    assert place.read_text() == "somebody's"


async def test_a_path_too_long_for_a_socket_is_said_to_be(place: Path, opener: HonestOpener) -> None:
    with pytest.raises(ConfigError, match="longer than 103 bytes"):
        await Agent(opener, place.with_name("x" * 120)).__aenter__()


def test_a_login_is_in_no_repr() -> None:
    async def close() -> None: ...

    assert "canary" not in repr(Opened(WAREHOUSE, close))
