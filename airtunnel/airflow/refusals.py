"""The exceptions by which Airflow really stops, of every version: most it swallows, and asks the next backend for a password.

since 3.2.2   AirflowSecretsBackendAccessDenied is the one `Exception` that both chains of backends let through.
before        Only what is no `Exception` gets out. AirflowTaskTerminated fails a task of Airflow 3 without a retry;
              AirflowTaskTimeout fails a try, and while a DAG is parsed it is kept as that DAG's import error.
              A plain BaseException would end the whole command, or the parser, instead.
"""

from __future__ import annotations

try:
    from airflow.sdk.exceptions import AirflowFailException, AirflowSecretsBackendAccessDenied

    class RefusedByPolicy(AirflowSecretsBackendAccessDenied, AirflowFailException):
        """The policy says no, and will say so again: the task fails without a retry."""

    class RefusedForNow(AirflowSecretsBackendAccessDenied):
        """The policy says no at this time of day: retries stay on."""

    class NotReached(AirflowSecretsBackendAccessDenied):
        """Nobody could answer for a connection of the gateway's: never replaced by another one, and retries stay on."""

    class OutsideTask(AirflowSecretsBackendAccessDenied):
        """A connection of the gateway's was wanted where no task runs."""

except ImportError:
    from airflow.exceptions import AirflowTaskTerminated, AirflowTaskTimeout

    class RefusedByPolicy(AirflowTaskTerminated):  # type: ignore[no-redef]  # the other versions' class
        """The policy says no, and will say so again. Airflow 2 retries nevertheless."""

    class RefusedForNow(AirflowTaskTimeout):  # type: ignore[no-redef]  # the other versions' class
        """The policy says no at this time of day: retries stay on."""

    class NotReached(AirflowTaskTimeout):  # type: ignore[no-redef]  # the other versions' class
        """Nobody could answer for a connection of the gateway's: never replaced by another one, and retries stay on."""

    class OutsideTask(AirflowTaskTimeout):  # type: ignore[no-redef]  # the other versions' class
        """A connection of the gateway's was wanted where no task runs."""
