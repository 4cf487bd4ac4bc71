"""`airtunnel exec -- airflow tasks test`, as a developer types it: real command line, gateway, Airflow and database."""

import asyncio
import re
import sys
from dataclasses import dataclass

from tests.airflow.conftest import Airflow
from tests.lab import POLICY, Lab, Site

LIMIT = 100.0
"""Seconds for one call of Airflow's command line, on a machine that may be busy."""


@dataclass(frozen=True)
class Done:
    """A finished command."""

    code: int
    output: str


async def run_task(site: Site, airflow: Airflow, task: str) -> Done:
    """The command for one task of tests/airflow/dags, by ana."""
    environ = dict(airflow.environ) | {
        name: value for name, value in (await site.environ("ana")).items() if name.startswith("AIRTUNNEL_")
    }
    words = [sys.executable, "-m", "airtunnel", "exec", "--reason", "a test", "--", "airflow", "tasks", "test", "billing", task]
    process = await asyncio.create_subprocess_exec(
        *words, env=environ, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    async with asyncio.timeout(LIMIT):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return Done(process.returncode, re.sub(r"\x1b\[[\d;]*m", "", output.decode()))


async def test_a_task_reaches_the_database_and_the_audit_names_it(lab: Lab, airflow: Airflow) -> None:
    async with lab.gateway() as site:
        done = await run_task(site, airflow, "load")
        assert done.code == 0, done.output
        assert "LOADED as shop_rw" in done.output
        assert re.search(
            r"^airtunnel: warehouse for billing/load, .* rule engineers \(policy/policy\.yaml:15\)", done.output, re.M
        )
        granted = site.records("grant.issued")
        assert [(one["tags"]["dag_id"], one["tags"]["task_id"], one["tags"]["reason"]) for one in granted] == [
            ("billing", "load", "a test")
        ]
        assert granted[0]["tags"]["run_id"]
        assert len(site.records("session.closed")) == 1
    assert not lab.roles()


async def test_a_refused_task_names_the_rule_and_fails_the_command(lab: Lab, airflow: Airflow) -> None:
    async with lab.gateway(POLICY.replace("groups: [data-eng]", "groups: [on-call]")) as site:
        done = await run_task(site, airflow, "load")
        assert done.code == 77 if airflow.major >= 3 else done.code == 1
        assert "engineers (policy/policy.yaml:15), needs group on-call; you are in: data-eng" in done.output
        assert "isn't defined" not in done.output
        assert len(site.records("refused")) >= 1
        assert not site.records("connection.opened")


async def test_a_task_that_fails_fails_the_command(lab: Lab, airflow: Airflow) -> None:
    async with lab.gateway() as site:
        done = await run_task(site, airflow, "broken")
        assert done.code == 1
        assert not site.records("refused", "grant.issued")
