"""The agent's client: leases over a Unix socket. A lease is one open connection; closing it, or dying, gives it back.

The protocol is drawn in airtunnel/tunnel/agent.py. Nothing here imports Airflow at import, and nothing raises its exceptions.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple, Optional

from airtunnel.airflow.context import TaskContext

DEFAULT_SOCKET = "/run/airtunnel/agent.sock"
"""Where `airtunnel agent` listens on a worker. `airtunnel exec` sets its own."""
MAX_LINE = 64 * 1024
OPEN_LIMIT = 60.0
"""Seconds for the gateway's decision, its dial and a temporary login: far above what these take, far below a heartbeat."""
EVENT_LIMIT = 2.0
"""Seconds for one report. Nothing waits for it but a task that has ended."""

Json = Mapping[str, Any]  # Any: what json.loads gives
Key = tuple[int, tuple[Optional[str], ...], Optional[int], str]


class AgentRefused(Exception):
    """The policy said no. `body` is the refusal as JSON: message, details, hint, rule, place, for_now."""

    def __init__(self, body: Json) -> None:
        super().__init__(_words(body))
        self.body = body


class AgentFailed(Exception):
    """The agent could not open the connection, did not answer, or is not there."""


class Lease(NamedTuple):
    """An open way to a target. Its repr must not show the connection: it holds a login."""

    wire: socket.socket
    connection: Json

    def __repr__(self) -> str:
        return "Lease()"

    def alive(self) -> bool:
        """Whether the agent still holds it: it never says a second word, so anything to read is the end."""
        try:
            self.wire.setblocking(False)
            self.wire.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False


_leases: dict[Key, Lease] = {}
# Reentrant: Airflow's logging may ask for a connection while we log.
_lock = threading.RLock()


def agent_socket() -> str:
    """Where the agent listens: `[airtunnel] socket`, as AIRFLOW__AIRTUNNEL__SOCKET or in airflow.cfg."""
    said = os.environ.get("AIRFLOW__AIRTUNNEL__SOCKET")
    if said:
        return said
    try:
        from airflow.configuration import conf
    except ImportError:  # a process that a task spawned may have another interpreter
        return DEFAULT_SOCKET
    return str(conf.get("airtunnel", "socket", fallback="") or DEFAULT_SOCKET)


def open_lease(connection_id: str, asker: TaskContext, path: str) -> Optional[Json]:
    """Airflow's connection JSON for this try of this task, or None if the gateway does not know the id.

    The same try gets the same lease for as long as the agent holds it. Raises AgentRefused, AgentFailed.
    """
    key = (os.getpid(), asker.owner, asker.try_number, connection_id)
    with _lock:
        lease = _leases.get(key)
        if lease and lease.alive():
            return lease.connection
        if lease:
            _leases.pop(key).wire.close()
        lease = _open(connection_id, asker, path)
        if lease is None:
            return None
        _leases[key] = lease
        return lease.connection


def close_leases(owner: tuple[Optional[str], ...]) -> None:
    """Gives back what this task holds in this process."""
    with _lock:
        for key in [key for key in _leases if key[1] == owner]:
            _leases.pop(key).wire.close()


def close_all() -> None:
    """Gives back what this process holds."""
    with _lock:
        while _leases:
            _leases.popitem()[1].wire.close()


def report(state: str, asker: TaskContext, path: str) -> None:
    """Tells the agent how a task stands. Nobody's task fails because nobody listens."""
    with suppress(AgentFailed), _connect(path, EVENT_LIMIT) as wire:
        _ask(wire, {"op": "event", "state": state, "tags": asker.said()}, EVENT_LIMIT)


def _open(connection_id: str, asker: TaskContext, path: str) -> Optional[Lease]:
    wire = _connect(path, OPEN_LIMIT)
    lease = None
    try:
        request = {"op": "open", "connection": connection_id, "tags": asker.said(), "source": asker.source}
        connection = _connection(_ask(wire, request, OPEN_LIMIT))
        lease = None if connection is None else Lease(wire, connection)
    finally:
        if lease is None:
            wire.close()
    return lease


def _connection(reply: Json) -> Optional[Json]:
    connection, refusal, error = (reply.get(name) for name in ("connection", "refused", "error"))
    if reply.get("ok") is True and isinstance(connection, dict):
        return connection
    if reply.get("unmanaged") is True:
        return None
    if isinstance(refusal, dict):
        raise AgentRefused(refusal)
    if isinstance(error, dict):
        raise AgentFailed(_words(error))
    raise AgentFailed("the airtunnel agent's answer makes no sense: is it of another version?")


def _connect(path: str, limit: float) -> socket.socket:
    wire = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        wire.settimeout(limit)
        wire.connect(path)
    except OSError as error:
        wire.close()
        raise AgentFailed(
            f"the airtunnel agent does not answer at {path} ({error.strerror or error})\n"
            "hint: run the command under `airtunnel exec --`, or start `airtunnel agent`"
        ) from error
    return wire


def _ask(wire: socket.socket, message: Json, limit: float) -> Json:
    """One line there, one line back, in `limit` seconds altogether."""
    until = time.monotonic() + limit
    answer = b""
    try:
        wire.sendall(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        while not answer.endswith(b"\n"):
            wire.settimeout(max(until - time.monotonic(), 0.001))
            chunk = wire.recv(MAX_LINE)
            answer += chunk
            if not chunk or len(answer) > MAX_LINE:
                raise AgentFailed("the airtunnel agent hung up before it answered")
        reply = json.loads(answer)
    except (OSError, ValueError) as error:
        raise AgentFailed(f"the airtunnel agent did not answer ({type(error).__name__})") from error
    if not isinstance(reply, dict):
        raise AgentFailed("the airtunnel agent's answer makes no sense: is it of another version?")
    return reply


def _words(body: Json) -> str:
    """An error as people read it: what, why, and the next command."""
    lines = [str(body.get("message", "refused")), *("  " + str(detail) for detail in body.get("details") or ())]
    if body.get("hint"):
        lines.append("hint: " + str(body["hint"]))
    return "\n".join(lines)


def _after_fork() -> None:
    """The child closes its copies, which leaves the parent's leases as they are, and asks for its own."""
    global _lock
    _lock = threading.RLock()  # another thread of the parent may have held the old one
    for lease in _leases.values():
        lease.wire.close()
    _leases.clear()


os.register_at_fork(after_in_child=_after_fork)
