"""The plugin by which Airflow finds the listener."""

from __future__ import annotations

from airflow.plugins_manager import AirflowPlugin

from airtunnel.airflow import listener


class AirtunnelPlugin(AirflowPlugin):
    """Registered through the entry point `airflow.plugins`."""

    name = "airtunnel"
    listeners = [listener]  # noqa: RUF012  # Airflow declares it so
