"""The agent: a Unix socket at which an Airflow task asks for a connection, and holds it by staying connected.

    task                                        agent
    {"op":"open","connection":"warehouse",
     "tags":{"dag_id":...},"source":...}  --->  Opener.open
                                          <---  {"ok":true,"connection":{...}}      the lease is this socket; EOF ends it
                                          <---  {"ok":false,"unmanaged":true}       not one of the gateway's
                                          <---  {"ok":false,"refused":{...}}        Refused.as_json
                                          <---  {"ok":false,"error":{...}}          any other AirtunnelError.as_json
    {"op":"event","state":"failed",
     "tags":{...}}                        --->
                                          <---  {"ok":true}

One JSON object a line, at most 64 KiB; one request a connection. Only processes of the agent's own user are answered.
"""

import asyncio
import json
import logging
import os
import socket
import stat
import struct
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from airtunnel.errors import AddressTaken, AirtunnelError, ConfigError, ProtocolError, Refused
from airtunnel.model import Tags
from airtunnel.wire.control import tags_from

logger = logging.getLogger(__name__)

MAX_LINE = 64 * 1024
"""Bytes of one message, as in the control API: nothing honest is larger."""
FIRST_WORD = 10.0
"""Seconds in which a client that has connected must have said what it wants. Ours says it in the same call."""
GIVE_BACK = 10.0
"""Seconds that closing one lease may take, so that a dead gateway cannot hold the command's end."""
MAX_PATH = 103
"""Bytes of sun_path that every system has (macOS 104 with the NUL, Linux 108)."""

Json = Mapping[str, Any]  # Any: what json.loads gives


@dataclass(frozen=True, slots=True)
class Opened:
    """A way to a target, and how to end it.

    connection: Airflow's connection JSON: conn_type, host, port, login, password, schema, extra.
    """

    connection: Json = field(repr=False)
    close: Callable[[], Awaitable[None]] = field(repr=False)


class Opener(Protocol):
    """What stands behind the agent: the tunnel, or a test."""

    async def open(self, connection_id: str, tags: Tags) -> Opened | None:
        """The way for one Airflow connection id, or None if the gateway does not know it. Raises AirtunnelError."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What was opened and for which task: for the summary."""

    connection_id: str
    tags: Tags
    source: str


class TaskState(StrEnum):
    """What the listener in Airflow reports of a task."""

    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    SKIPPED = "skipped"


class Agent:
    """Serves the socket at `path` while entered; leaving closes every lease and unlinks the socket.

    refusals, opened: what happened so far, in order.
    Entering raises AddressTaken if something answers at `path`, ConfigError if the place is not private or not usable.
    """

    def __init__(self, opener: Opener, path: Path) -> None:
        self.path = path
        self.refusals: list[Refused] = []
        self.opened: list[Opening] = []
        self._opener = opener
        self._states: dict[Tags, TaskState] = {}
        self._clients: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server
        self._inode = 0

    @property
    def failed(self) -> list[Tags]:
        """The tasks whose last reported state is failed. A retry that succeeded is not among them."""
        return [tags for tags, state in self._states.items() if state is TaskState.FAILED]

    async def __aenter__(self) -> Self:
        listening = _listen(self.path)
        self._inode = self.path.lstat().st_ino
        try:
            self._server = await asyncio.start_unix_server(self._welcome, sock=listening, limit=MAX_LINE)
        except BaseException:
            listening.close()
            _unlink(self.path, self._inode)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        _unlink(self.path, self._inode)
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Kept here and awaited at the end. A TaskGroup would wrap whatever the caller's own block raises in a group.
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, from its first line to its EOF. What it does wrong ends it, never the agent."""
        try:
            if not _same_user(writer.get_extra_info("socket")):
                logger.warning("a process of another user was turned away")
                return
            async with asyncio.timeout(FIRST_WORD):
                request = _parse(await _read_line(reader))
            match request.get("op"):
                case "open":
                    await self._lend(request, reader, writer)
                case "event":
                    self._note(request)
                    await _say(writer, {"ok": True})
                case _:
                    raise ProtocolError("the message names no operation that this agent knows")
        except ProtocolError as error:
            logger.warning("a client broke the protocol: %s", error.message)
            await _say(writer, {"ok": False, "error": error.as_json()})
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError) as error:
            logger.debug("a client went away: %s", type(error).__name__)
        except Exception:  # the agent must outlive one client's trouble; the task learns that there was one
            logger.exception("the agent failed while answering")
            await _say(writer, {"ok": False, "error": AirtunnelError("the airtunnel agent failed, see its log").as_json()})
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _lend(self, request: Json, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Opens, answers, and holds what was opened until the client hangs up."""
        connection_id, tags, source = _wanted(request)
        # A client that is killed while we dial must not leave a session behind: both are watched at once.
        gone = asyncio.ensure_future(reader.read(1))
        opening = asyncio.ensure_future(self._opener.open(connection_id, tags))
        try:
            await asyncio.wait({gone, opening}, return_when=asyncio.FIRST_COMPLETED)
            if not opening.done():
                return
            await _say(writer, self._answer(opening, Opening(connection_id, tags, source)))
            if _lent(opening):
                await gone
        finally:
            gone.cancel()
            opening.cancel()
            await asyncio.gather(gone, opening, return_exceptions=True)
            # Here and nowhere else, so that a lease that came in the moment of the hang-up is not forgotten.
            if opened := _lent(opening):
                await _give_back(opened, connection_id)

    def _answer(self, opening: "asyncio.Future[Opened | None]", what: Opening) -> Json:
        try:
            opened = opening.result()
        except Refused as refused:
            self.refusals.append(refused)
            return {"ok": False, "refused": refused.as_json()}
        except AirtunnelError as error:
            return {"ok": False, "error": error.as_json()}
        if opened is None:
            return {"ok": False, "unmanaged": True}
        self.opened.append(what)
        return {"ok": True, "connection": dict(opened.connection)}

    def _note(self, event: Json) -> None:
        try:
            state = TaskState(event.get("state", ""))
        except ValueError as error:
            raise ProtocolError("the event names no state that this agent knows") from error
        said = _tags(event)
        # Without the try: a retry is the same task.
        task = Tags(dag_id=said.dag_id, task_id=said.task_id, run_id=said.run_id, map_index=said.map_index)
        self._states[task] = state


def _listen(path: Path) -> socket.socket:
    """A listening socket of mode 0600 in a directory of mode 0700 that is ours."""
    if len(os.fsencode(path)) > MAX_PATH:
        raise ConfigError(
            f"the socket's path is longer than {MAX_PATH} bytes: {path}", hint="set TMPDIR to a shorter directory"
        )
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        place = path.parent.stat()
        if place.st_uid != os.getuid() or stat.S_IMODE(place.st_mode) & 0o077:
            raise ConfigError(f"{path.parent} can be entered by others", hint=f"chmod 700 {path.parent}")
        _clear_stale(path)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listening.bind(os.fspath(path))
            path.chmod(0o600)
        except BaseException:
            listening.close()
            raise
    except OSError as error:
        raise ConfigError(f"cannot listen at {path}: {error.strerror}") from error
    return listening


def _clear_stale(path: Path) -> None:
    """Removes a socket that nobody serves any more, as `kill -9` leaves it behind."""
    if not path.is_socket():
        if path.exists():
            raise ConfigError(f"{path} exists and is not a socket")
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(os.fspath(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise AddressTaken(f"another agent listens at {path}")


def _unlink(path: Path, inode: int) -> None:
    """Removes our socket, and not one that somebody has put in its place."""
    with suppress(FileNotFoundError):
        if path.lstat().st_ino == inode:
            path.unlink()


def _same_user(peer: socket.socket) -> bool:
    """Whether the peer runs as our user (unix(7), SO_PEERCRED). Elsewhere the modes of socket and directory say so alone."""
    if sys.platform != "linux":
        return True
    _, uid, _ = struct.unpack("3i", peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i")))
    return bool(uid == os.getuid())


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError as error:
        raise ProtocolError(f"the message is longer than {MAX_LINE} bytes") from error


def _parse(line: bytes) -> Json:
    try:
        message = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("the message is not JSON") from error
    if not isinstance(message, dict):
        raise ProtocolError("the message is not a JSON object")
    return message


def _wanted(request: Json) -> tuple[str, Tags, str]:
    connection_id, source = request.get("connection"), request.get("source", "")
    if not isinstance(connection_id, str) or not 0 < len(connection_id) <= 256 or not isinstance(source, str):
        raise ProtocolError("the request does not name a connection")
    return connection_id, _tags(request), source[:64]


def _tags(message: Json) -> Tags:
    said = message.get("tags", {})
    if not isinstance(said, dict):
        raise ProtocolError("the tags are not a JSON object")
    return tags_from(said)


def _lent(opening: "asyncio.Future[Opened | None]") -> Opened | None:
    if not opening.done() or opening.cancelled() or opening.exception():
        return None
    return opening.result()


async def _give_back(opened: Opened, connection_id: str) -> None:
    try:
        async with asyncio.timeout(GIVE_BACK):
            await opened.close()
    except Exception:  # one lease that cannot be closed must not keep the others open
        logger.exception("the way to %s could not be closed", connection_id)


async def _say(writer: asyncio.StreamWriter, message: Json) -> None:
    with suppress(ConnectionError):
        writer.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
        await writer.drain()
