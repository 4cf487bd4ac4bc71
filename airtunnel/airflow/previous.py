"""The secrets backend that was configured before us, read as Airflow reads it: environment first, then airflow.cfg."""

from __future__ import annotations

import configparser
import json
import os
import shlex
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Optional

COMMAND_LIMIT = 60.0
"""Seconds for a `..._cmd` of the user's configuration, which may ask a vault."""


class Section(NamedTuple):
    """Where Airflow looks for a backend: a section, and the two options in it."""

    name: str
    backend: str
    kwargs: str

    def variable(self, option: str) -> str:
        return f"AIRFLOW__{self.name}__{option}".upper()

    @property
    def per_key(self) -> str:
        """What the variables for single arguments begin with: AIRFLOW__SECRETS__BACKEND_KWARG__ROLE_ID (Airflow 3.3)."""
        return self.variable(self.kwargs[:-1]) + "__"


WORKERS = Section("workers", "secrets_backend", "secrets_backend_kwargs")
SECRETS = Section("secrets", "backend", "backend_kwargs")


class Previous(NamedTuple):
    """A backend's class and arguments. Its repr must not show the arguments: they may hold a token."""

    backend: str
    kwargs: dict[str, Any]  # Any: another backend's arguments

    def __repr__(self) -> str:
        return f"Previous({self.backend!r})"


def read_previous(sections: tuple[Section, ...], version: tuple[int, int], environ: Mapping[str, str]) -> Optional[Previous]:
    """The backend of the first section that names one, None if none does.

    Raises ValueError where its arguments are not a JSON object: Airflow would go on without them, and without a word.
    """
    file = _read_file(environ)
    for section in sections:
        backend = _option(file, section, section.backend, environ)
        if backend:
            return Previous(backend, _kwargs(file, section, version, environ))
    return None


def _kwargs(
    file: configparser.ConfigParser, section: Section, version: tuple[int, int], environ: Mapping[str, str]
) -> dict[str, Any]:  # Any: another backend's arguments
    text = _option(file, section, section.kwargs, environ) or _command(file, section, environ) or "{}"
    try:
        kwargs = json.loads(text)
    except ValueError as error:
        raise ValueError(f"[{section.name}] {section.kwargs} is not JSON") from error
    if not isinstance(kwargs, dict):
        raise ValueError(f"[{section.name}] {section.kwargs} is not a JSON object")
    if version >= (3, 2):  # 3.1 does not know them
        start = len(section.per_key)
        kwargs.update({name[start:].lower(): value for name, value in environ.items() if name.startswith(section.per_key)})
    return kwargs


def _option(file: configparser.ConfigParser, section: Section, option: str, environ: Mapping[str, str]) -> str:
    said = environ.get(section.variable(option))
    return (file.get(section.name, option, fallback="") if said is None else said).strip()


def _command(file: configparser.ConfigParser, section: Section, environ: Mapping[str, str]) -> str:
    """The arguments as the output of a command, which Airflow allows for sensitive options."""
    command = _option(file, section, section.kwargs + "_cmd", environ)
    if not command:
        return ""
    try:
        ran = subprocess.run(  # noqa: S603  # the user's own configuration; Airflow runs it in the same way
            shlex.split(command), env=dict(environ), capture_output=True, check=True, timeout=COMMAND_LIMIT, text=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ValueError(f"[{section.name}] {section.kwargs}_cmd failed ({type(error).__name__})") from error
    return ran.stdout.strip()


def _read_file(environ: Mapping[str, str]) -> configparser.ConfigParser:
    # Without interpolation: the file is full of % that mean nothing to us.
    file = configparser.ConfigParser(interpolation=None, strict=False)
    home = environ.get("AIRFLOW_HOME") or "~/airflow"
    path = environ.get("AIRFLOW_CONFIG") or os.path.join(home, "airflow.cfg")  # noqa: PTH118  # still to be expanded
    try:
        file.read(_expanded(path, environ), encoding="utf-8")
    except configparser.Error as error:
        raise ValueError(f"{path} cannot be read: {type(error).__name__}") from error
    return file


def _expanded(path: str, environ: Mapping[str, str]) -> Path:
    """Airflow expands `~` and variables, in the environment of the command."""
    if path.startswith("~/") and environ.get("HOME"):
        path = environ["HOME"] + path[1:]
    return Path(os.path.expandvars(path)).expanduser()
