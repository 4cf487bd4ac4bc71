"""Which task is asking: read from what Airflow already keeps in the process, without importing any of it.

Tags are said, not proven: a task's own code can forge every one of them.
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Mapping
from typing import NamedTuple, Optional, Union

_TRIGGER_NAME = re.compile(r"([^/]+)/([^/]+)/([^/]+)/(-?\d+)/(\d+) \(ID (\d+)\)")
"""An asyncio task of the triggerer, Airflow 3.1 on: `dag_id/run_id/task_id/map_index/try_number (ID trigger_id)`."""

# The environment as it was when this process started. A process that a task spawned has the task's variables from its
# birth; in the task's own process they are set later, and stay after the task has ended.
_BORN_WITH = {name: value for name, value in os.environ.items() if name.startswith("AIRFLOW_CTX_")}


class TaskContext(NamedTuple):
    """One try of one task, or a trigger that waits for it. `source` says where in Airflow this was read."""

    source: str
    dag_id: Optional[str] = None
    task_id: Optional[str] = None
    run_id: Optional[str] = None
    try_number: Optional[int] = None
    map_index: Optional[int] = None
    trigger_id: Optional[str] = None

    @property
    def owner(self) -> tuple[Optional[str], ...]:
        """What leases are closed by. Without the try: Airflow 2 counts it differently before and after the task."""
        index = None if self.map_index is None else str(self.map_index)
        return (self.dag_id, self.task_id, self.run_id, index, self.trigger_id)

    def said(self) -> dict[str, Union[str, int]]:
        """The tags for the agent's socket."""
        tags = self._asdict()
        return {name: value for name, value in tags.items() if value is not None and name not in ("source", "trigger_id")}


_stash: Optional[TaskContext] = None


def stash(task_instance: object) -> None:
    """Remembers the running task, for its callbacks: there Airflow's own context is gone already."""
    global _stash
    _stash = of_instance(task_instance, "listener")


def forget() -> None:
    """Ends what `stash` began."""
    global _stash
    _stash = None


def current() -> Optional[TaskContext]:
    """The task on whose behalf this runs, or None: the DAG processor, a command line, a web server."""
    return _from_context() or _from_structlog() or _stash or _from_trigger() or _from_birth() or _from_parsing()


def of_instance(task_instance: object, source: str) -> TaskContext:
    """The tags of Airflow's own object: Airflow 2's TaskInstance and 3's RuntimeTaskInstance have no common base."""
    return _made(
        source,
        {name: getattr(task_instance, name, None) for name in ("dag_id", "task_id", "run_id", "try_number", "map_index")},
    )


def _made(source: str, said: Mapping[str, object]) -> TaskContext:
    return TaskContext(
        source,
        dag_id=_text(said.get("dag_id")),
        task_id=_text(said.get("task_id")),
        run_id=_text(said.get("run_id")),
        try_number=_number(said.get("try_number")),
        map_index=_number(said.get("map_index")),
        trigger_id=_text(said.get("trigger_id")),
    )


def _text(value: object) -> Optional[str]:
    return None if value is None or value == "" else str(value)


def _number(value: object) -> Optional[int]:
    """A whole number that says something: Airflow's map_index is -1 where a task is not mapped."""
    try:
        number = int(str(value))
    except ValueError:
        return None
    return number if number >= 0 else None


def _from_context() -> Optional[TaskContext]:
    """From template rendering to the end of `execute`."""
    for name in ("airflow.sdk.definitions._internal.contextmanager", "airflow.models.taskinstance"):  # Airflow 3, 2
        stack = getattr(sys.modules.get(name), "_CURRENT_CONTEXT", None)
        if stack:
            return of_instance(stack[-1]["ti"], "task-context")
    return None


def _from_structlog() -> Optional[TaskContext]:
    """Real tasks and triggers of Airflow 3.3, before the listeners run and before the DAG is parsed."""
    module = sys.modules.get("structlog.contextvars")
    said = module.get_contextvars() if module else {}
    return _made("structlog", said) if said.get("dag_id") else None


def _from_trigger() -> Optional[TaskContext]:
    """A trigger: the name of its asyncio task, or the context variable of Airflow 2's log handler."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        task = None
    found = _TRIGGER_NAME.fullmatch(task.get_name()) if task else None
    if found:
        names = ("dag_id", "run_id", "task_id", "map_index", "try_number", "trigger_id")
        return _made("trigger", dict(zip(names, found.groups())))  # noqa: B905  # Python 3.9 has no `strict`
    variable = getattr(sys.modules.get("airflow.utils.log.trigger_handler"), "ctx_task_instance", None)
    instance = variable.get(None) if variable else None
    return of_instance(instance, "trigger") if instance else None


def _from_birth() -> Optional[TaskContext]:
    """A process that a task spawned: what the operator put into its environment."""
    if not _BORN_WITH.get("AIRFLOW_CTX_DAG_ID"):
        return None
    names = {"dag_id": "DAG_ID", "task_id": "TASK_ID", "run_id": "DAG_RUN_ID", "try_number": "TRY_NUMBER"}
    return _made("environment", {ours: _BORN_WITH.get("AIRFLOW_CTX_" + theirs) for ours, theirs in names.items()})


def _from_parsing() -> Optional[TaskContext]:
    """A worker that parses the DAG of the one task it is about to run. The DAG processor sets neither."""
    dag_id, task_id = (os.environ.get("_AIRFLOW_PARSING_CONTEXT_" + name) for name in ("DAG_ID", "TASK_ID"))
    return _made("parsing", {"dag_id": dag_id, "task_id": task_id}) if dag_id and task_id else None
