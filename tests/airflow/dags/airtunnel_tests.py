# As people write a DAG: without annotations, in an Airflow that mypy does not see.
# mypy: ignore-errors
# ruff: noqa: T201  # what a task prints is its log
"""Ordinary DAG code, as it stands in front of airtunnel: nothing in it knows of the gateway."""

import os
import signal
from datetime import datetime

from airflow.hooks.base import BaseHook
from airflow.providers.postgres.hooks.postgres import PostgresHook

try:
    from airflow.sdk import dag, task
except ImportError:  # Airflow 2
    from airflow.decorators import dag, task


@dag(schedule=None, start_date=datetime(2024, 1, 1), catchup=False)  # noqa: DTZ001  # as people write it
def billing():
    @task(retries=1)
    def load(host: str):
        (who,) = PostgresHook("warehouse").get_first("select current_user")
        print(f"LOADED as {who} from {host}")

    @task
    def others():
        for conn_id in ("in_environment", "in_inner"):
            print(f"FOUND {conn_id} at {BaseHook.get_connection(conn_id).host}")

    @task
    def broken():
        raise RuntimeError("the task itself is broken")

    @task
    def stopped():
        connection = PostgresHook("warehouse").get_conn()
        os.kill(os.getppid(), signal.SIGTERM)  # what a supervisor does to `airtunnel exec`
        connection.cursor().execute("select pg_sleep(3600)")

    load("{{ conn.warehouse.host }}")
    others()
    broken()
    stopped()


billing()
