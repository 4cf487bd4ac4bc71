"""Writes what the user of the demo can read and change: configuration, policy, a DAG."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from string import Template

from airtunnel.demo.people import PEOPLE
from airtunnel.errors import ConfigError

MARK = "# Written by `airtunnel demo`"
PLAIN = ("gateway.yaml", "policy/shop.yaml", "policy/shop.test.yaml", "README.txt")


@dataclass(frozen=True, slots=True)
class Files:
    """Where things were put. `dags` is a directory for Airflow's `dags_folder`; the others are files."""

    directory: Path
    gateway: Path
    policy: Path
    broker_password: Path
    dags: Path
    readme: Path


def write_files(
    directory: Path,
    *,
    issuer: str,
    client_id: str,
    audience: str,
    https_port: int,
    ssh_port: int,
    socket: Path,
    broker_user: str,
    broker_password: str,
) -> Files:
    """Writes all files into `directory`, over those of an earlier demo, and says where they are.

    socket: PostgreSQL's Unix socket. The password file has mode 0600.
    Raises ConfigError if a gateway.yaml lies there that is not a demo's.
    """
    files = Files(
        directory,
        gateway=directory / "gateway.yaml",
        policy=directory / "policy" / "shop.yaml",
        broker_password=directory / "secrets" / "broker.password",
        dags=directory / "dags",
        readme=directory / "README.txt",
    )
    if files.gateway.exists() and not files.gateway.read_text(errors="replace").startswith(MARK):
        raise ConfigError(f"{files.gateway}:1:1: is not the demo's and stays as it is", hint="airtunnel demo")
    for inner, mode in (("policy", 0o755), ("dags", 0o755), ("secrets", 0o700)):
        (directory / inner).mkdir(mode, parents=True, exist_ok=True)
    values = {
        "issuer": json.dumps(issuer),  # a JSON string is a YAML string, whatever stands in it
        "client_id": json.dumps(client_id),
        "audience": json.dumps(audience),
        "address": json.dumps(f"unix:{socket}"),
        "broker": json.dumps(broker_user),
        "https_port": str(https_port),
        "ssh_port": str(ssh_port),
        "people": "\n".join(f"  {one.login} / {one.password:<6} {', '.join(one.groups)}" for one in PEOPLE),
    }
    for name in PLAIN:
        (directory / name).write_text(_fill(name, values), "utf-8")
    (files.dags / "load_orders.py").write_text(_read("dags/load_orders.py.txt"), "utf-8")
    _write_secret(files.broker_password, broker_password)
    return files


def _fill(name: str, values: Mapping[str, str]) -> str:
    return Template(_read(name)).substitute(values)


def _read(name: str) -> str:
    # The DAG ends in .txt in the package: it imports Airflow, which is not there when the package is checked.
    return resources.files("airtunnel.demo").joinpath("skeleton", name).read_text("utf-8")


def _write_secret(path: Path, secret: str) -> None:
    """A new file of mode 0600 from its first moment on: one that is there may be open in other hands."""
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secret + "\n")
