"""A developer's Airflow in the demo: `airtunnel exec -- airflow tasks test`, in an Airflow that knows nothing of airtunnel."""

import asyncio
import json
import os
import shutil
import sys
from pathlib import Path

from airtunnel.demo.stage import Stage
from airtunnel.errors import AirtunnelError, UsageError

DAG = "shop_report"
TASKS = ("load_orders", "note_best")
LIMIT = 300.0
"""Seconds for one call of Airflow's command line: five to twenty-five on two cores, and more on a busy machine."""


def find_airflow(python: Path | None) -> Path:
    """The `airflow` beside that Python, or on PATH. Raises UsageError if there is none."""
    found = shutil.which("airflow") if python is None else shutil.which("airflow", path=str(python.parent))
    if found is None:
        where = f"beside {python}" if python else "on PATH"
        raise UsageError(f"there is no airflow {where}", hint="name its Python: --airflow-python VENV/bin/python")
    return Path(found)


async def run_airflow(stage: Stage, airflow: Path) -> list[str]:
    """Test both tasks of the DAG under `airtunnel exec`; what was seen of each.

    Raises AirtunnelError if a command fails, or database or audit do not show what the task did.
    """
    home = stage.directory / "airflow"
    home.mkdir(exist_ok=True)
    env = os.environ | {
        "PATH": f"{airflow.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(stage.files.dags),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRTUNNEL_CONFIG_DIR": str(stage.client),
        "AIRTUNNEL_STATE_DIR": str(stage.client / "state"),
    }
    await _run(env, str(airflow), "db", "migrate")
    for task in TASKS:
        await _run(env, sys.executable, "-m", "airtunnel", "exec", "--", "airflow", "tasks", "test", DAG, task)
    _check_data(stage)
    return [_check_audit(stage, task) for task in TASKS]


async def _run(env: dict[str, str], *words: str) -> None:
    process = await asyncio.create_subprocess_exec(
        *words, env=env, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        async with asyncio.timeout(LIMIT):
            output, _ = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        last = output.decode(errors="replace").splitlines()[-25:]
        raise AirtunnelError(f"`{' '.join(words)}` ended with {process.returncode}", details=last)


def _check_data(stage: Stage) -> None:
    """The DAG's own tables hold what its tasks wrote, as roles of the gateway's."""
    database = stage.database
    with database.connect(database.superuser, database.superuser_password, "shop") as direct:
        sales = direct.execute(r"SELECT count(*), bool_and(loaded_by LIKE 'at\_e\_%') FROM sales_by_city").fetchone()
        notes = direct.execute("SELECT count(*) FROM notes").fetchone()
    if sales is None or sales[0] == 0 or not sales[1] or notes != (1,):
        raise AirtunnelError(f"the tasks left {sales} in sales_by_city and {notes} in notes")


def _check_audit(stage: Stage, task: str) -> str:
    """The grant of the task's session names DAG, task and run."""
    records = [json.loads(line) for line in stage.audit.read_text().splitlines()]
    tags = [one["tags"] for one in records if one["event"] == "grant.issued" and one.get("tags", {}).get("task_id") == task]
    if len(tags) != 1 or tags[0].get("dag_id") != DAG or not tags[0].get("run_id"):
        raise AirtunnelError(f"the audit has these grants for task {task}: {tags}")
    return f"{DAG}/{task} in run {tags[0]['run_id']}"
