"""Which Airflow a command line will start: its interpreter and its version, without ever calling `airflow` (5 s)."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Optional

PROBE = """
import sys
sys.path = [path for path in sys.path if path]  # nothing that lies in the current directory
import importlib.metadata as metadata, json
def version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
print(json.dumps([version("apache-airflow-core") or version("apache-airflow"), version("airtunnel")]))
"""
PROBE_LIMIT = 30.0
"""Seconds. It takes 0.05; a cold disk or a shim that starts slowly takes longer."""


class UnknownAirflow(Exception):
    """There is an `airflow`, and no telling which. The message says why, `hint` is the next thing to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = "name it directly: airtunnel exec -- /path/to/python -m airflow ..."


class Target(NamedTuple):
    """The Airflow of a command. `registered`: airtunnel is installed beside it, so Airflow finds its entry points itself."""

    interpreter: Path
    version: tuple[int, int]
    registered: bool


def is_airflow(argv: Sequence[str]) -> bool:
    """Whether this command is Airflow itself: `airflow ...` by whatever path, or `python -m airflow ...`."""
    return _arguments(argv) is not None


def is_task_test(argv: Sequence[str]) -> bool:
    """Whether this is a try of tasks (`tasks test`, `dags test`), where a failed task must fail the command."""
    arguments = _arguments(argv) or ()
    words = [word for word in arguments if not word.startswith("-")]
    return words[:2] in (["tasks", "test"], ["dags", "test"])


def find_target(argv: Sequence[str], environ: Mapping[str, str]) -> Optional[Target]:
    """The Airflow that `argv` starts; for any other command the `airflow` on PATH, which it may start.

    None where there is none. Raises UnknownAirflow where `argv` is Airflow and its interpreter cannot be found out.
    """
    direct = is_airflow(argv)
    name = argv[0] if direct else "airflow"
    found = shutil.which(name, path=environ.get("PATH"))
    if found is None:
        return None
    try:
        interpreter = Path(found) if direct and _is_python(name) else _interpreter(Path(found), environ)
        return _probe(interpreter, environ)
    except UnknownAirflow:
        if direct:
            raise
        return None


def _arguments(argv: Sequence[str]) -> Optional[Sequence[str]]:
    """What Airflow's command line will see, None if this is not Airflow."""
    name = Path(argv[0]).name if argv else ""
    if name == "airflow":
        return argv[1:]
    if not _is_python(name):
        return None
    rest = iter(range(1, len(argv)))
    for index in rest:
        word = argv[index]
        if word == "-m":
            return argv[index + 2 :] if argv[index + 1 : index + 2] == ["airflow"] else None
        if word in ("-W", "-X"):
            next(rest, None)
        elif not word.startswith("-") or word == "-c":
            return None
    return None


def _is_python(name: str) -> bool:
    return re.fullmatch(r"(python|pypy)[\d.]*", Path(name).name) is not None


def _interpreter(script: Path, environ: Mapping[str, str]) -> Path:
    """Who runs this script: its shebang, or the `python` beside it where the script is a wrapper or a shim."""
    try:
        with script.open("rb") as file:
            first, second = (file.readline(4096).decode("utf-8", "replace") for _ in range(2))
    except OSError as error:
        raise UnknownAirflow(f"{script} cannot be read: {error.strerror}") from error
    words = first[2:].split() if first.startswith("#!") else []
    if words and Path(words[0]).name == "env":
        words = [word for word in words[1:] if not word.startswith("-")]
    if second.startswith("'''exec' "):
        # pip writes this where the interpreter's path is too long, or has a space, for a shebang.
        words = shlex.split(second)[1:2]
    if words and _is_python(words[0]):
        found = shutil.which(words[0], path=environ.get("PATH"))
        if found:
            return Path(found)
        raise UnknownAirflow(f"{script} names an interpreter that is not there: {words[0]}")
    beside = shutil.which("python", path=str(script.parent)) or shutil.which("python3", path=str(script.parent))
    if beside:
        return Path(beside)
    raise UnknownAirflow(f"{script} does not say which Python it runs")


def _probe(interpreter: Path, environ: Mapping[str, str]) -> Target:
    try:
        answer = subprocess.run(  # noqa: S603  # the interpreter that the command itself is about to run
            [str(interpreter), "-c", PROBE],
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=PROBE_LIMIT,
        )
        airflow, ours = json.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        raise UnknownAirflow(f"{interpreter} could not be asked for its Airflow ({type(error).__name__})") from error
    found = re.match(r"(\d+)\.(\d+)", airflow or "")
    if not found:
        raise UnknownAirflow(f"{interpreter} has no Airflow")
    return Target(interpreter, (int(found[1]), int(found[2])), registered=ours is not None)
