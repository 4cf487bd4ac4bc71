"""Where the tags come from, without Airflow. What Airflow itself keeps is tested with it, in test_backend."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from airtunnel.airflow import context
from airtunnel.airflow.context import TaskContext


@dataclass
class Instance:
    """A task instance as listeners get it."""

    dag_id: str = "billing"
    task_id: str = "load"
    run_id: str = "r"
    try_number: int = 1
    map_index: int = -1


@pytest.fixture(autouse=True)
def _nothing_stashed() -> Iterator[None]:
    yield
    context.forget()


def test_where_no_task_runs_there_is_no_context() -> None:
    assert context.current() is None


def test_a_stashed_task_is_there_until_it_is_forgotten() -> None:
    context.stash(Instance())
    assert context.current() == TaskContext("listener", "billing", "load", "r", 1)
    context.forget()
    assert context.current() is None


def test_a_task_that_is_not_mapped_says_no_index() -> None:
    said = context.of_instance(Instance(), "listener").said()
    assert said == {"dag_id": "billing", "task_id": "load", "run_id": "r", "try_number": 1}
    assert context.of_instance(Instance(map_index=0), "listener").said()["map_index"] == 0


def test_the_owner_does_not_change_with_the_try() -> None:
    first, second = (context.of_instance(Instance(try_number=number), "listener") for number in (1, 2))
    assert first.owner == second.owner
    assert first.owner != context.of_instance(Instance(map_index=0), "listener").owner


async def test_a_trigger_is_known_by_the_name_of_its_asyncio_task() -> None:
    async def look() -> TaskContext | None:
        return context.current()

    named = asyncio.get_running_loop().create_task(look(), name="billing/manual__2026-01-01T00:00:00+00:00/wait/-1/2 (ID 7)")
    assert await named == TaskContext("trigger", "billing", "wait", "manual__2026-01-01T00:00:00+00:00", 2, None, "7")
    for name in ("ID 7", "Task-1", "a/b/c/d/e (ID 7)"):
        assert await asyncio.get_running_loop().create_task(look(), name=name) is None


BORN = "from airtunnel.airflow import context; print(context.current())"
LATER = "import os; from airtunnel.airflow import context; os.environ['AIRFLOW_CTX_DAG_ID'] = 'x'; print(context.current())"


@pytest.mark.parametrize(
    ("script", "environ", "printed"),
    [
        (BORN, {"AIRFLOW_CTX_DAG_ID": "billing", "AIRFLOW_CTX_TASK_ID": "load", "AIRFLOW_CTX_TRY_NUMBER": "2"}, "environment"),
        (BORN, {"_AIRFLOW_PARSING_CONTEXT_DAG_ID": "billing", "_AIRFLOW_PARSING_CONTEXT_TASK_ID": "load"}, "parsing"),
        (BORN, {"_AIRFLOW_PARSING_CONTEXT_DAG_ID": "billing"}, "None"),
        (BORN, {}, "None"),
        (LATER, {}, "None"),
    ],
    ids=["spawned by a task", "a worker's parsing", "the DAG processor's parsing", "nothing", "left by a task that has ended"],
)
def test_a_process_is_known_by_the_environment_it_was_born_with(script: str, environ: dict[str, str], printed: str) -> None:
    out = subprocess.run([sys.executable, "-c", script], env=os.environ | environ, capture_output=True, check=True, text=True)
    if printed == "None":
        assert out.stdout == "None\n"
    else:
        assert out.stdout.startswith(f"TaskContext(source='{printed}', dag_id='billing', task_id='load'")
