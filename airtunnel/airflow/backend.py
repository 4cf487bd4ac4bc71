"""Airflow's way to the gateway: a secrets backend that asks the agent, and never lets a refused id fall through to a password.

conn_id not the gateway's  ->  the backend that was configured before (`inner`), then Airflow's own chain
allowed                    ->  a connection to a loopback port with a temporary login, for this try of this task
refused, nobody answers    ->  an exception that Airflow does not swallow
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Optional, Union

from airflow.secrets import BaseSecretsBackend

from airtunnel.airflow import client, context

Connection = Any  # Any: airflow.models.Connection, or airflow.sdk's where Airflow 3 runs a task
Foreign = Any  # Any: another package's backend, and what it answers


class AirtunnelBackend(BaseSecretsBackend):
    """Answers for the gateway's connection ids; all else goes to `inner`.

    connections_lookup_pattern: a regular expression; ids that do not match are none of ours (MWAA always sets it)
    managed: the gateway's connection ids, as a list or a text with commas; without it the agent is asked about every id
    socket: where the agent listens, else `[airtunnel] socket`
    inner, inner_kwargs: class and arguments of the backend that was configured before; `inner_kwargs_file` is a JSON file
    with more of them, because an environment is seen by more eyes than a file of mode 0600
    """

    def __init__(
        self,
        connections_lookup_pattern: Optional[str] = None,
        managed: Union[str, Iterable[str], None] = None,
        socket: Optional[str] = None,
        inner: Optional[str] = None,
        inner_kwargs: Optional[dict[str, Any]] = None,  # Any: another backend's arguments
        inner_kwargs_file: Optional[str] = None,
        **ignored: object,
    ) -> None:
        super().__init__()
        self._pattern = re.compile(connections_lookup_pattern) if connections_lookup_pattern else None
        ids = managed.split(",") if isinstance(managed, str) else managed
        self._managed = None if ids is None else frozenset(one.strip() for one in ids)
        self._socket = socket
        kwargs = dict(inner_kwargs or {})
        if inner_kwargs_file:
            kwargs.update(json.loads(Path(inner_kwargs_file).read_text(encoding="utf-8")))
        self.inner = _made(inner, kwargs) if inner else None

    def manages(self, conn_id: str) -> bool:
        """Whether the agent is to be asked. What is managed is never asked of anybody else first."""
        if self._pattern and not self._pattern.match(conn_id):
            return False
        return self._managed is None or conn_id in self._managed

    def get_connection(self, conn_id: str, team_name: Optional[str] = None) -> Optional[Connection]:
        """The connection, None where nobody here knows it. Raises one of refusals.py."""
        found = self._lease(conn_id, context.current()) if self.manages(conn_id) else None
        return self._inner("get_connection", conn_id, team_name) if found is None else found

    async def aget_connection(self, conn_id: str, team_name: Optional[str] = None) -> Optional[Connection]:
        """The same for triggers and async tasks, without holding the loop. A trigger's lease ends with the trigger."""
        found = None
        if self.manages(conn_id):
            asker = context.current()  # here: in the thread there is no current asyncio task
            trigger = asyncio.current_task()
            found = await asyncio.to_thread(self._lease, conn_id, asker)
            if found is not None and asker and trigger and _in_triggerer():
                trigger.add_done_callback(lambda _: client.close_leases(asker.owner))
        if found is not None or self.inner is None:
            return found
        if hasattr(self.inner, "aget_connection"):
            return await self._inner("aget_connection", conn_id, team_name)
        return await asyncio.to_thread(self._inner, "get_connection", conn_id, team_name)

    def get_variable(self, key: str, team_name: Optional[str] = None) -> Optional[str]:
        """The inner backend's: the gateway has no variables."""
        found: Optional[str] = self._inner("get_variable", key, team_name)
        return found

    def get_config(self, key: str) -> Optional[str]:
        """The inner backend's: the gateway has no configuration of Airflow's."""
        found: Optional[str] = self.inner.get_config(key) if self.inner else None
        return found

    def _set_connection_class(self, conn_class: type) -> None:
        """Airflow 3 says which class connections are to have; the inner backend must hear it too."""
        for backend in (super(), self.inner):
            forward = getattr(backend, "_set_connection_class", None)  # absent before 3.2
            if forward:
                forward(conn_class)

    def _inner(self, method: str, key: str, team_name: Optional[str]) -> Foreign:
        if self.inner is None:
            return None
        call: Callable[..., Foreign] = getattr(self.inner, method)
        # Backends from before Airflow 3.2 do not know teams.
        names = inspect.signature(call).parameters
        return call(key, team_name=team_name) if "team_name" in names else call(key)

    def _lease(self, conn_id: str, asker: Optional[context.TaskContext]) -> Optional[Connection]:
        """A managed connection. Whatever goes wrong becomes an exception that Airflow does not swallow."""
        from airtunnel.airflow import refusals  # late: Airflow may make us while it is still importing itself

        try:
            if asker is None:
                problem = refusals.OutsideTask(_outside(conn_id))
            else:
                answer = client.open_lease(conn_id, asker, self._socket or client.agent_socket())
                return None if answer is None else self.deserialize_connection(conn_id, json.dumps(answer))
        except client.AgentRefused as refusal:
            kind = refusals.RefusedForNow if refusal.body.get("for_now") is True else refusals.RefusedByPolicy
            problem = kind(f"airtunnel: {refusal}")
        except client.AgentFailed as failure:
            problem = refusals.NotReached(f"airtunnel: connection {conn_id} is not available: {failure}")
        except Exception as error:
            # The type alone: a message about a connection may quote its password.
            problem = refusals.NotReached(f"airtunnel: connection {conn_id} is not usable: {type(error).__name__}")
        # Raised here, so that the log shows one error and not the chain of what led to it.
        raise problem


def _outside(conn_id: str) -> str:
    return (
        f"airtunnel: connection {conn_id} is the gateway's, and is opened for tasks only; no task is running here\n"
        "  a DAG file is parsed again and again: each time would be a session, with nobody to answer for it\n"
        "hint: use the connection inside the task (a hook, an operator, a template), not at the top of the DAG file"
    )


def _made(path: str, kwargs: dict[str, Any]) -> Foreign:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)(**kwargs)


def _in_triggerer() -> bool:
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")
    return type(getattr(runner, "SUPERVISOR_COMMS", None)).__name__.startswith("Trigger")
