"""Which Airflow a command will start, with real interpreters and made-up installations."""

import sys
from pathlib import Path

import pytest

from airtunnel.airflow.target import UnknownAirflow, find_target, is_airflow, is_task_test

BARE = str(Path(sys.base_prefix, "bin", "python3"))
"""An interpreter without airtunnel, also where this one has it."""

COMMANDS = [
    ("airflow tasks test d t", True, True),
    ("airflow -v tasks test d t", True, True),
    ("/opt/venv/bin/airflow dags test d", True, True),
    ("airflow tasks list", True, False),
    ("airflow standalone", True, False),
    ("airflow", True, False),
    ("python -m airflow tasks test d t", True, True),
    ("/opt/venv/bin/python3.12 -X dev -W error -u -m airflow dags test d", True, True),
    ("python -m pytest airflow", False, False),
    ("python script.py -m airflow", False, False),
    ("python -c airflow -m airflow", False, False),
    ("python -m", False, False),
    ("python", False, False),
    ("make test", False, False),
    ("echo airflow tasks test", False, False),
    ("", False, False),
]


@pytest.mark.parametrize(("command", "airflow", "test"), COMMANDS, ids=[command for command, *_ in COMMANDS])
def test_a_command_line_is_read_as_the_shell_would_run_it(command: str, airflow: bool, test: bool) -> None:
    assert is_airflow(command.split()) is airflow
    assert is_task_test(command.split()) is test


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment with an empty PATH directory, and a place for made-up packages."""
    (tmp_path / "bin").mkdir()
    return {"PATH": str(tmp_path / "bin"), "PYTHONPATH": str(tmp_path / "lib")}


def install(tmp_path: Path, name: str, version: str) -> None:
    """What importlib.metadata needs to believe in a package."""
    place = tmp_path / "lib" / f"{name.replace('-', '_')}-{version}.dist-info"
    place.mkdir(parents=True)
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def script(tmp_path: Path, text: str, name: str = "airflow") -> Path:
    path = tmp_path / "bin" / name
    path.write_text(text)
    path.chmod(0o755)
    return path


SHEBANGS = {
    "a path": f"#!{BARE}\n",
    "env": "#!/usr/bin/env python3\n",
    "env with options": "#!/usr/bin/env -S python3 -E\n",
    "pip's, for a long path": f"#!/bin/sh\n'''exec' \"{BARE}\" \"$0\" \"$@\"\n' '''\n",
    "a shim": "#!/usr/bin/env bash\nexec shims exec airflow\n",
    "a binary": "\x7fELF\n",
}


@pytest.mark.parametrize("shebang", SHEBANGS.values(), ids=SHEBANGS.keys())
def test_the_interpreter_is_found_from_the_script(tmp_path: Path, environ: dict[str, str], shebang: str) -> None:
    install(tmp_path, "apache-airflow-core", "3.3.2")
    script(tmp_path, shebang)
    for name in ("python", "python3"):
        (tmp_path / "bin" / name).symlink_to(BARE)
    found = find_target(["airflow", "version"], environ)
    assert found
    assert (found.version, found.registered) == ((3, 3), False)


def test_an_interpreter_may_be_named_itself(tmp_path: Path, environ: dict[str, str]) -> None:
    install(tmp_path, "apache-airflow", "2.11.2")
    found = find_target([BARE, "-m", "airflow", "version"], environ)
    assert found
    assert found.version == (2, 11)
    assert found.interpreter == Path(BARE)


def test_a_command_that_is_not_airflow_may_start_the_one_on_its_path(tmp_path: Path, environ: dict[str, str]) -> None:
    install(tmp_path, "apache-airflow", "2.11.2")
    assert find_target(["make", "test"], environ) is None
    script(tmp_path, f"#!{BARE}\n")
    found = find_target(["make", "test"], environ)
    assert found
    assert found.version == (2, 11)


def test_no_airflow_is_no_error(environ: dict[str, str]) -> None:
    assert find_target(["airflow", "version"], environ) is None
    assert find_target([], environ) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"#!{BARE}\n", "has no Airflow"),
        ("#!/nowhere/python3\n", "names an interpreter that is not there: /nowhere/python3"),
        ("#!/bin/sh\ndocker run airflow\n", "does not say which Python it runs"),
    ],
)
def test_an_airflow_that_cannot_be_known_is_an_error_only_where_it_is_the_command(
    tmp_path: Path, environ: dict[str, str], text: str, reason: str
) -> None:
    script(tmp_path, text)
    with pytest.raises(UnknownAirflow, match=reason) as caught:
        find_target(["airflow", "version"], environ)
    assert caught.value.hint.startswith("name it directly: airtunnel exec -- ")
    assert find_target(["make", "test"], environ) is None


def test_what_lies_in_the_current_directory_is_not_imported(
    tmp_path: Path, environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "apache-airflow", "2.11.2")
    script(tmp_path, f"#!{BARE}\n")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "json.py").write_text("raise SystemExit('imported')")
    monkeypatch.chdir(tmp_path / "here")
    assert find_target(["airflow", "version"], environ)
