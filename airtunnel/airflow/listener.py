"""What Airflow tells us of its tasks: leases end with their task, and the agent learns how each task ended.

Each hook takes the subset of arguments that all versions have in common; hooks that a version does not know are ignored.
"""

from __future__ import annotations

from airflow.listeners import hookimpl

from airtunnel.airflow import client, context


@hookimpl
def on_task_instance_running(task_instance: object) -> None:
    context.stash(task_instance)
    client.report("running", context.of_instance(task_instance, "listener"), client.agent_socket())


@hookimpl
def on_task_instance_success(task_instance: object) -> None:
    _ended("success", task_instance)


@hookimpl
def on_task_instance_failed(task_instance: object) -> None:
    _ended("failed", task_instance)


@hookimpl
def on_task_instance_skipped(task_instance: object) -> None:
    _ended("skipped", task_instance)


@hookimpl
def before_stopping(component: object) -> None:
    """At a deferral the only hook that is called."""
    client.close_all()


def _ended(state: str, task_instance: object) -> None:
    task = context.of_instance(task_instance, "listener")
    client.close_leases(task.owner)
    context.forget()
    client.report(state, task, client.agent_socket())
