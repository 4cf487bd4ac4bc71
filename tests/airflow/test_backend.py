"""The backend inside a real Airflow: each test is one command under a real agent."""

import json
import re
from pathlib import Path

import pytest

from airtunnel.errors import Refused
from airtunnel.model import Tags
from tests.airflow.conftest import PASSWORD, Airflow, Run
from tests.tunnel.openers import REFUSAL, HonestOpener

STATIC = json.dumps({"conn_type": "postgres", "host": "static.example", "password": "static"})
TASK = ("airflow", "tasks", "test", "billing")


async def test_an_unchanged_dag_reaches_the_database_with_a_borrowed_login(run: Run, warehouse: dict[str, object]) -> None:
    opener = HonestOpener({"warehouse": warehouse})
    outcome = await run(*TASK, "load", opener=opener, AIRFLOW_CONN_WAREHOUSE=STATIC)

    assert f"LOADED as borrowed from {warehouse['host']}" in outcome.output
    assert outcome.code == 0
    # Hook, template and Airflow itself ask several times: one try of one task is one lease.
    ((connection_id, tags),) = opener.asked
    assert connection_id == "warehouse"
    assert (tags.dag_id, tags.task_id, tags.map_index) == ("billing", "load", None)
    assert re.match(r"__airflow_temporary_run_|manual__", tags.run_id or "")
    assert [one.source for one in outcome.agent.opened] == ["task-context"]
    assert opener.open_now == []
    assert PASSWORD not in outcome.output


async def test_what_is_not_the_gateways_comes_from_where_it_came_before(run: Run, airflow: Airflow, tmp_path: Path) -> None:
    file = tmp_path / "connections.json"
    file.write_text(json.dumps({"in_inner": {"conn_type": "http", "host": "inner.example"}}))
    section = "WORKERS__SECRETS_" if airflow.major >= 3 else "SECRETS__"
    before = {
        f"AIRFLOW__{section}BACKEND": "airflow.secrets.local_filesystem.LocalFilesystemBackend",
        f"AIRFLOW__{section}BACKEND_KWARGS": json.dumps({"connections_file_path": str(file)}),
        "AIRFLOW_CONN_IN_ENVIRONMENT": json.dumps({"conn_type": "http", "host": "environment.example"}),
    }
    opener = HonestOpener({})
    outcome = await run(*TASK, "others", opener=opener, **before)

    assert "FOUND in_environment at environment.example" in outcome.output
    assert "FOUND in_inner at inner.example" in outcome.output
    assert outcome.code == 0
    assert opener.asked == []


async def test_a_refusal_names_rule_and_line_and_nothing_static_takes_its_place(run: Run, airflow: Airflow) -> None:
    outcome = await run(*TASK, "load", opener=HonestOpener({"warehouse": REFUSAL}), AIRFLOW_CONN_WAREHOUSE=STATIC)

    assert "airtunnel: dev@example.com may not reach warehouse-db" in outcome.output
    assert "rule: prod-is-for-on-call (policy/prod.yaml:12), needs group on-call; you are in: data-eng" in outcome.output
    assert "hint: airtunnel connect postgres-staging" in outcome.output
    assert "static.example" not in outcome.output
    assert outcome.code == (77 if airflow.major >= 3 else 1)  # Airflow 2 has a code of its own for a failed task
    assert outcome.agent.refusals == [REFUSAL]
    if airflow.major >= 3:  # the task has a retry, which would change nothing
        assert "up_for_retry" not in outcome.output


async def test_a_refusal_of_this_hour_leaves_the_retries_on(run: Run, airflow: Airflow) -> None:
    later = Refused(who="dev", target="w", rule="office-hours", place="p.yaml:3", reasons=["only from 08:00"], for_now=True)
    outcome = await run(*TASK, "load", opener=HonestOpener({"warehouse": later}))
    assert "rule: office-hours (p.yaml:3), only from 08:00" in outcome.output
    assert "RefusedForNow" in outcome.output
    if airflow.major >= 3:
        assert "up_for_retry" in outcome.output


async def test_without_its_agent_a_managed_connection_is_refused_and_not_replaced(run: Run, place: Path) -> None:
    nowhere = place.with_name("nobody")
    outcome = await run(*TASK, "load", opener=HonestOpener({}), socket=nowhere, AIRFLOW_CONN_WAREHOUSE=STATIC)
    assert f"connection warehouse is not available: the airtunnel agent does not answer at {nowhere}" in outcome.output
    assert "static.example" not in outcome.output
    assert "LOADED" not in outcome.output


async def test_a_failed_task_fails_the_command(run: Run) -> None:
    outcome = await run(*TASK, "broken", opener=HonestOpener({}))
    assert "the task itself is broken" in outcome.output
    assert outcome.code == 1
    assert [(tags.dag_id, tags.task_id) for tags in outcome.agent.failed] == [("billing", "broken")]


async def test_a_task_in_the_midst_of_a_query_ends_at_term_and_gives_its_lease_back(
    run: Run, warehouse: dict[str, object]
) -> None:
    opener = HonestOpener({"warehouse": warehouse})
    outcome = await run(*TASK, "stopped", opener=opener)
    assert outcome.code in (1, 130)
    assert opener.open_now == []


SCRIPT = """
import warnings; warnings.simplefilter("ignore")
from airflow.hooks.base import BaseHook
print("FOUND", BaseHook.get_connection({conn_id!r}).host)
"""


@pytest.mark.parametrize("conn_id", ["warehouse", "elsewhere"])
async def test_outside_of_a_task_only_the_gateways_connections_are_refused(run: Run, conn_id: str) -> None:
    opener = HonestOpener({"warehouse": {"conn_type": "postgres", "host": "never"}})
    fallback = {f"AIRFLOW_CONN_{conn_id.upper()}": STATIC}
    outcome = await run("python", "-c", SCRIPT.format(conn_id=conn_id), opener=opener, **fallback)
    managed = conn_id == "warehouse"
    assert ("FOUND static.example" in outcome.output) is not managed
    assert ("warehouse is the gateway's, and is opened for tasks only" in outcome.output) is managed
    assert opener.asked == []


TRIGGER = """
import asyncio, sys, warnings; warnings.simplefilter("ignore")
from airflow.sdk import Connection
from airflow.sdk.execution_time import task_runner
from airtunnel.airflow import client
from airtunnel.airflow.backend import AirtunnelBackend
class TriggerCommsDecoder: ...
task_runner.SUPERVISOR_COMMS = TriggerCommsDecoder()
backend = AirtunnelBackend(managed="warehouse", unknown="is ignored")
backend._set_connection_class(Connection)
async def trigger():
    connection = await backend.aget_connection("warehouse")
    print("FOUND", connection.host, len(client._leases))
async def main():
    await asyncio.create_task(trigger(), name="billing/run-1/wait/3/2 (ID 7)")
    await asyncio.sleep(0)
    print("LEFT", len(client._leases))
asyncio.run(main())
"""


async def test_a_triggers_lease_ends_with_the_trigger_and_not_with_its_process(run: Run, airflow: Airflow) -> None:
    if airflow.major < 3:
        pytest.skip("Airflow 2 has no asynchronous way to a connection")
    opener = HonestOpener({"warehouse": {"conn_type": "postgres", "host": "loopback"}})
    outcome = await run("python", "-c", TRIGGER, opener=opener)
    assert "FOUND loopback 1" in outcome.output
    assert "LEFT 0" in outcome.output
    tags = Tags(dag_id="billing", run_id="run-1", task_id="wait", map_index=3, try_number=2)
    assert opener.asked == [("warehouse", tags)]


MANAGED = """
import warnings; warnings.simplefilter("ignore")
from airtunnel.airflow.backend import AirtunnelBackend
for kwargs in ({}, {"managed": []}, {"managed": "a, b"}, {"connections_lookup_pattern": "^(?!aws_default$).*$"}):
    backend = AirtunnelBackend(**kwargs)
    print("MANAGED", [backend.manages(one) for one in ("a", "ab", "aws_default")])
"""


async def test_what_is_managed_is_said_by_list_and_pattern_and_is_all_where_neither_is_given(run: Run) -> None:
    outcome = await run("python", "-c", MANAGED, opener=HonestOpener({}))
    assert re.findall("MANAGED (.*)", outcome.output) == [
        "[True, True, True]",
        "[False, False, False]",
        "[True, False, False]",
        "[True, True, False]",
    ]


ODD = """
import sys, warnings; warnings.simplefilter("ignore")
from airtunnel.airflow import client, context, refusals
from airtunnel.airflow.backend import AirtunnelBackend
class TI: dag_id, task_id, run_id, try_number, map_index = "billing", "load", "r", 1, -1
context.stash(TI)
backend = AirtunnelBackend(managed=["warehouse"])
try:
    backend.get_connection("warehouse")
except refusals.NotReached as error:
    print("STOPPED", error)
"""


async def test_a_connection_that_airflow_cannot_read_is_not_replaced_and_not_quoted(run: Run) -> None:
    opener = HonestOpener({"warehouse": {"conn_type": "postgres", "port": "canary-port", "password": "canary"}})
    outcome = await run("python", "-c", ODD, opener=opener)
    assert "STOPPED airtunnel: connection warehouse is not usable: " in outcome.output
    assert "canary" not in outcome.output
