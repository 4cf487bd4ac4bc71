"""What a command needs in its environment so that the Airflow in it, wherever installed, asks our agent.

PYTHONPATH                          a private directory: our package as a link, and metadata for Airflow's discovery
AIRFLOW__WORKERS__SECRETS_BACKEND   our backend (Airflow 2: AIRFLOW__SECRETS__BACKEND), with the one before as `inner`
AIRFLOW__AIRTUNNEL__SOCKET          the agent's socket
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import airtunnel
from airtunnel.airflow.previous import SECRETS, WORKERS, Previous, Section, read_previous
from airtunnel.airflow.target import Target, UnknownAirflow, find_target, is_airflow, is_task_test

__all__ = ["UnknownAirflow", "airflow_environment", "is_airflow", "is_task_test"]

BACKEND = "airtunnel.airflow.backend.AirtunnelBackend"
METADATA = "Metadata-Version: 2.1\nName: airtunnel\nVersion: {version}\n"
ENTRY_POINTS = """[apache_airflow_provider]
provider_info = airtunnel.airflow.provider:get_provider_info

[airflow.plugins]
airtunnel = airtunnel.airflow.plugin:AirtunnelPlugin
"""


@contextmanager
def airflow_environment(
    argv: Sequence[str], environ: Mapping[str, str], *, socket: Path, managed: Iterable[str]
) -> Iterator[dict[str, str]]:
    """The environment for `argv`; what it points to exists until the block is left.

    socket: the agent's; managed: the Airflow connection ids that are the gateway's.
    Without an Airflow to be found, `environ` as it is. Raises UnknownAirflow, and ValueError where the configuration of
    the backend before us cannot be read.
    """
    target = find_target(argv, environ)
    if target is None:
        yield dict(environ)
        return
    place = Path(tempfile.mkdtemp(prefix="airtunnel-"))  # mode 0700
    try:
        _furnish(place, target)
        yield _variables(place, target, environ, socket, managed)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _furnish(place: Path, target: Target) -> None:
    """Our package under its name alone: nothing else of our environment may get into Airflow's."""
    (place / "airtunnel").symlink_to(Path(airtunnel.__file__).resolve().parent, target_is_directory=True)
    if target.registered:  # a second registration would call each listener twice
        return
    metadata = place / f"airtunnel-{airtunnel.__version__}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(METADATA.format(version=airtunnel.__version__), encoding="utf-8")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS, encoding="utf-8")


def _variables(place: Path, target: Target, environ: Mapping[str, str], socket: Path, managed: Iterable[str]) -> dict[str, str]:
    # On Airflow 3 never [secrets]: its backends answer `airflow connections get`, which prints the password.
    ours = WORKERS if target.version >= (3, 0) else SECRETS
    sections = (WORKERS, SECRETS) if ours is WORKERS else (SECRETS,)
    previous = read_previous(sections, target.version, environ)
    kwargs = {"managed": sorted(managed)} | _inner_kwargs(place, previous)
    paths = [str(place), *filter(None, [environ.get("PYTHONPATH")])]
    return _without(environ, ours) | {
        "PYTHONPATH": os.pathsep.join(paths),
        "AIRFLOW__AIRTUNNEL__SOCKET": str(socket),
        ours.variable(ours.backend): BACKEND,
        ours.variable(ours.kwargs): json.dumps(kwargs),
    }


def _without(environ: Mapping[str, str], ours: Section) -> dict[str, str]:
    """The environment without what would now become arguments of our backend: they are the inner one's."""
    others = (ours.variable(ours.kwargs + "_cmd"), ours.variable(ours.kwargs + "_secret"))
    return {name: value for name, value in environ.items() if name not in others and not name.startswith(ours.per_key)}


def _inner_kwargs(place: Path, previous: Previous | None) -> dict[str, Any]:  # Any: arguments, as JSON
    if previous is None:
        return {}
    if previous.backend == BACKEND:  # an airtunnel inside an airtunnel: the inner one's agent takes over
        return {name: value for name, value in previous.kwargs.items() if name.startswith("inner")}
    file = place / "inner.json"
    file.touch(mode=0o600, exist_ok=False)
    file.write_text(json.dumps(previous.kwargs), encoding="utf-8")
    return {"inner": previous.backend, "inner_kwargs_file": str(file)}
