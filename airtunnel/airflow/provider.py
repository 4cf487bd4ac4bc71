"""What Airflow shows of airtunnel in `airflow providers list`, and its one configuration option."""

from __future__ import annotations

from typing import Any

from airtunnel.airflow.client import DEFAULT_SOCKET


def get_provider_info() -> dict[str, Any]:  # Any: Airflow's provider_info.schema.json
    """The answer to the entry point `apache_airflow_provider`."""
    return {
        "package-name": "airtunnel",
        "name": "airtunnel",
        "description": "Identity-aware access to private databases, without passwords and without a change in the DAG.",
        "secrets-backends": ["airtunnel.airflow.backend.AirtunnelBackend"],
        "config": {
            "airtunnel": {
                "description": "The way of a task to its airtunnel agent.",
                "options": {
                    "socket": {
                        "description": "The Unix socket of `airtunnel agent`. `airtunnel exec` sets it for its command.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": None,
                        "default": DEFAULT_SOCKET,
                    }
                },
            }
        },
    }
