"""The client over a real socket, without Airflow."""

import asyncio
import socket
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import pytest

from airtunnel.airflow import client
from airtunnel.airflow.client import AgentFailed, AgentRefused
from airtunnel.airflow.context import TaskContext
from airtunnel.errors import LoginRequired
from airtunnel.model import Tags
from airtunnel.tunnel.agent import Agent
from tests.tunnel.openers import REFUSAL, HonestOpener

LOAD = TaskContext("task-context", dag_id="billing", task_id="load", run_id="r", try_number=1)
WAREHOUSE = {"conn_type": "postgres", "host": "127.0.0.1", "password": "canary"}


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    yield
    client.close_all()


@pytest.fixture
def opener() -> HonestOpener:
    return HonestOpener({"warehouse": WAREHOUSE, "prod": REFUSAL, "old": LoginRequired("log in", hint="airtunnel login")})


async def lease(agent: Agent, connection_id: str = "warehouse", asker: TaskContext = LOAD) -> client.Json | None:
    return await asyncio.to_thread(client.open_lease, connection_id, asker, str(agent.path))


async def test_one_try_of_one_task_has_one_lease(place: Path, opener: HonestOpener) -> None:
    async with Agent(opener, place) as agent:
        assert [await lease(agent) for _ in range(3)] == [WAREHOUSE] * 3
        assert opener.open_now == ["warehouse"]


@pytest.mark.parametrize(
    "other", [{"try_number": 2}, {"map_index": 1}, {"task_id": "other"}, {"run_id": "s"}, {"trigger_id": "7"}]
)
async def test_another_try_index_task_run_or_trigger_has_its_own(
    place: Path, opener: HonestOpener, other: dict[str, object]
) -> None:
    async with Agent(opener, place) as agent:
        await lease(agent)
        await lease(agent, asker=LOAD._replace(**other))  # type: ignore[arg-type]  # one field of its own kind each
        assert len(opener.asked) == 2


async def test_the_end_of_a_task_closes_its_leases_of_all_tries_and_no_others(place: Path, opener: HonestOpener) -> None:
    async with Agent(opener, place) as agent:
        for asker in (LOAD, LOAD._replace(try_number=2), LOAD._replace(task_id="other")):
            await lease(agent, asker=asker)
        client.close_leases(LOAD.owner)
        assert [await opener.closings.get() for _ in range(2)] == ["warehouse"] * 2
        assert opener.open_now == ["warehouse"]


async def test_a_lease_that_the_agent_has_ended_is_not_used_again(place: Path, opener: HonestOpener) -> None:
    async with Agent(opener, place) as agent:
        await lease(agent)
    with pytest.raises(AgentFailed, match="does not answer"):
        await lease(agent)
    async with Agent(opener, place) as agent:
        assert await lease(agent) == WAREHOUSE
        assert opener.open_now == ["warehouse"]


async def test_the_agent_is_told_tags_and_source(place: Path, opener: HonestOpener) -> None:
    async with Agent(opener, place) as agent:
        await lease(agent)
    assert opener.asked == [("warehouse", Tags(dag_id="billing", task_id="load", run_id="r", try_number=1))]
    assert agent.opened[0].source == "task-context"


async def test_what_the_gateway_does_not_know_is_none(place: Path, opener: HonestOpener) -> None:
    async with Agent(opener, place) as agent:
        assert await lease(agent, "elsewhere") is None


async def test_a_refusal_comes_with_rule_line_and_hint(place: Path, opener: HonestOpener) -> None:
    async with Agent(opener, place) as agent:
        with pytest.raises(AgentRefused) as caught:
            await lease(agent, "prod")
    assert str(caught.value).splitlines() == [
        "dev@example.com may not reach warehouse-db",
        "  rule: prod-is-for-on-call (policy/prod.yaml:12), needs group on-call; you are in: data-eng",
        "hint: airtunnel connect postgres-staging",
    ]


async def test_an_error_comes_with_its_hint(place: Path, opener: HonestOpener) -> None:
    async with Agent(opener, place) as agent:
        with pytest.raises(AgentFailed, match="log in\nhint: airtunnel login"):
            await lease(agent, "old")


@pytest.mark.parametrize("state", ["running", "success", "failed", "skipped"])
async def test_the_agent_hears_every_state_a_task_may_have(place: Path, opener: HonestOpener, state: str) -> None:
    async with Agent(opener, place) as agent:
        await asyncio.to_thread(client.report, state, LOAD, str(agent.path))
    assert (agent.failed == [Tags(dag_id="billing", task_id="load", run_id="r")]) is (state == "failed")


def test_a_report_that_nobody_hears_hurts_no_task(place: Path) -> None:
    client.report("success", LOAD, str(place))


HOSTILE = {
    "EOF": b"",
    "half a line": b'{"ok":true',
    "garbage": b"\xff\x00\n",
    "no object": b"[]\n",
    "no answer": b"{}\n",
    "yes without a connection": b'{"ok":true}\n',
    "a connection that is none": b'{"ok":true,"connection":"postgres://"}\n',
    "yes in words": b'{"ok":"true","connection":{}}\n',
    "too much": b'{"ok":true,"connection":{"host":"' + b"x" * 70_000 + b'"}}\n',
}


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE.keys())
def test_an_agent_that_makes_no_sense_is_a_failure_and_never_a_connection(place: Path, answer: bytes) -> None:
    place.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(place))
        listening.listen()
        thread = Thread(target=_answer, args=(listening, answer))
        thread.start()
        with pytest.raises(AgentFailed):
            client.open_lease("warehouse", LOAD, str(place))
        thread.join()


def _answer(listening: socket.socket, answer: bytes) -> None:
    wire, _ = listening.accept()
    with wire:
        wire.recv(client.MAX_LINE)
        with suppress(BrokenPipeError):
            wire.sendall(answer)


def test_a_login_is_in_no_repr() -> None:
    with socket.socket(socket.AF_UNIX) as wire:
        assert "canary" not in repr(client.Lease(wire, WAREHOUSE))


FORK = """
import os, signal, sys
from airtunnel.airflow import client
from airtunnel.airflow.context import TaskContext
asker = TaskContext("task-context", dag_id="billing", task_id="load")
client.open_lease("warehouse", asker, sys.argv[1])
if (pid := os.fork()) == 0:
    print("child", len(client._leases), flush=True)
    client.open_lease("warehouse", asker, sys.argv[1])
    sys.stdin.readline()
    os._exit(0)
os.waitpid(pid, 0)
print("parent", all(lease.alive() for lease in client._leases.values()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


async def test_a_fork_gets_its_own_lease_and_kill_9_gives_the_parents_back(place: Path, opener: HonestOpener) -> None:
    async with Agent(opener, place) as agent:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", FORK, str(agent.path), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )
        assert process.stdin
        assert process.stdout
        assert await process.stdout.readline() == b"child 0\n"
        process.stdin.write(b"\n")
        assert await opener.closings.get() == "warehouse"
        assert await process.stdout.readline() == b"parent True\n"
        assert await opener.closings.get() == "warehouse"
        await process.wait()
    assert len(opener.asked) == 2


def test_the_socket_is_the_one_that_exec_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__AIRTUNNEL__SOCKET", "/somewhere/s")
    assert client.agent_socket() == "/somewhere/s"


async def test_many_threads_of_one_task_share_one_lease(place: Path, opener: HonestOpener) -> None:
    async with Agent(opener, place) as agent:
        answers = await asyncio.gather(*(lease(agent) for _ in range(20)))
    assert answers == [WAREHOUSE] * 20
    assert len(opener.asked) == 1
