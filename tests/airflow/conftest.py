"""A real Airflow, with a throwaway home and a real PostgreSQL for its tasks to reach."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from airtunnel.airflow.environment import airflow_environment
from airtunnel.airflow.target import find_target
from airtunnel.tunnel.agent import Agent, Opener
from airtunnel.tunnel.run import final_code, run_command
from tests.postgres_server import PostgresServer, running_postgres

WHERE = "set AIRTUNNEL_TEST_AIRFLOW to an `airflow` executable, or put one on PATH"
PASSWORD = "canary-4711"


@dataclass(frozen=True)
class Airflow:
    """An installed Airflow with a migrated metadata database of its own."""

    executable: str
    major: int
    environ: Mapping[str, str]


@dataclass(frozen=True)
class Outcome:
    """What one command came to, as `airtunnel exec` sees it."""

    code: int
    output: str
    agent: Agent


Run = Callable[..., Awaitable[Outcome]]


@pytest.fixture(scope="session")
def airflow() -> Iterator[Airflow]:
    found = os.environ.get("AIRTUNNEL_TEST_AIRFLOW") or shutil.which("airflow")
    if not found:
        pytest.skip(f"no Airflow here: {WHERE}")
    with tempfile.TemporaryDirectory(prefix="at-airflow-") as home:
        environ = {name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")}
        environ |= {
            "PATH": f"{Path(found).parent}{os.pathsep}{os.environ['PATH']}",
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(Path(__file__).parent / "dags"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        target = find_target([found], environ)
        if target is None:
            pytest.skip(f"no Airflow at {found}: {WHERE}")
        subprocess.run([found, "db", "migrate"], env=environ, check=True, capture_output=True, timeout=100)
        yield Airflow(found, target.version[0], environ)


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    with running_postgres(16) as server:
        server.run(f"CREATE ROLE borrowed LOGIN PASSWORD '{PASSWORD}'")
        yield server


@pytest.fixture
def warehouse(postgres: PostgresServer) -> dict[str, object]:
    """The connection that an opener hands out, in Airflow's JSON."""
    login = {"login": "borrowed", "password": PASSWORD}
    return {"conn_type": "postgres", "host": str(postgres.directory), "port": 5432, "schema": "postgres", **login}


@pytest.fixture
def place() -> Iterator[Path]:
    """A short path for a socket."""
    with tempfile.TemporaryDirectory(prefix="at-") as name:
        yield Path(name) / "agent" / "s"


@pytest.fixture
def run(airflow: Airflow, place: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """Runs a command as `airtunnel exec` does: agent, environment, child, exit code."""

    async def run(
        *argv: str, opener: Opener, managed: Iterable[str] = ("warehouse",), socket: Path | None = None, **environ: str
    ) -> Outcome:
        command = [airflow.executable if argv[0] == "airflow" else argv[0], *argv[1:]]
        given = {**airflow.environ, **environ}
        async with Agent(opener, place) as agent:
            with airflow_environment(command, given, socket=socket or place, managed=managed) as made:
                child = await run_command(command, made, airflow=True)
            code = final_code(child, refused=bool(agent.refusals), failed=bool(agent.failed))
            captured = capfd.readouterr()
        return Outcome(code, re.sub(r"\x1b\[[\d;]*m", "", captured.out + captured.err), agent)

    return run
