"""The environment for a made-up Airflow in a real interpreter. With a real Airflow: test_backend."""

import ast
import json
import os
import stat
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from configparser import ConfigParser
from pathlib import Path

import pytest

import airtunnel
from airtunnel.airflow.environment import BACKEND, ENTRY_POINTS, airflow_environment
from airtunnel.airflow.provider import get_provider_info
from tests.airflow.test_target import BARE, install, script

SOCKET = Path("/run/agent.sock")
VAULT = "airflow.providers.hashicorp.secrets.vault.VaultBackend"
WORKERS = "AIRFLOW__WORKERS__SECRETS_BACKEND"
VARIABLE = {"3.3.2": WORKERS, "3.1.8": WORKERS, "2.11.2": "AIRFLOW__SECRETS__BACKEND"}


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "bin").mkdir()
    script(tmp_path, f"#!{BARE}\n")
    return {"PATH": str(tmp_path / "bin"), "PYTHONPATH": str(tmp_path / "lib"), "AIRFLOW_HOME": str(tmp_path)}


def kwargs_of(made: Mapping[str, str], name: str = WORKERS) -> dict[str, object]:
    kwargs: dict[str, object] = json.loads(made[name + "_KWARGS"])
    return kwargs


@pytest.mark.parametrize(("version", "name"), VARIABLE.items())
def test_our_backend_stands_in_the_section_of_this_version_and_no_other(
    tmp_path: Path, environ: dict[str, str], version: str, name: str
) -> None:
    install(tmp_path, "apache-airflow", version)
    with airflow_environment(["airflow"], environ, socket=SOCKET, managed=["b", "a"]) as made:
        assert made[name] == BACKEND
        assert kwargs_of(made, name) == {"managed": ["a", "b"]}
        assert made["AIRFLOW__AIRTUNNEL__SOCKET"] == str(SOCKET)
        changed = {variable for variable in made if made[variable] != environ.get(variable)}
        assert changed == {"PYTHONPATH", "AIRFLOW__AIRTUNNEL__SOCKET", name, name + "_KWARGS"}


def test_airflow_finds_our_package_and_its_entry_points_and_nothing_else_of_our_environment(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    install(tmp_path, "apache-airflow", "3.3.2")
    look = (
        "import importlib.metadata as m, airtunnel.airflow.client as c; d = m.distribution('airtunnel'); "
        "print(d.version, sorted((e.group, e.value) for e in d.entry_points), c.__file__)"
    )
    with airflow_environment(["airflow"], environ, socket=SOCKET, managed=[]) as made:
        place = Path(made["PYTHONPATH"].split(os.pathsep)[0])
        assert made["PYTHONPATH"].split(os.pathsep)[1:] == [environ["PYTHONPATH"]]
        assert stat.S_IMODE(place.stat().st_mode) == 0o700
        assert sorted(path.name for path in place.iterdir()) == ["airtunnel", f"airtunnel-{airtunnel.__version__}.dist-info"]
        out = subprocess.run([BARE, "-c", look], env=made, capture_output=True, check=True, text=True, cwd=tmp_path)
        assert airtunnel.__version__ in out.stdout
        assert "('airflow.plugins', 'airtunnel.airflow.plugin:AirtunnelPlugin')" in out.stdout
        assert "('apache_airflow_provider', 'airtunnel.airflow.provider:get_provider_info')" in out.stdout
        assert str(place) in out.stdout
    assert not place.exists()


def test_everything_is_removed_when_the_command_fails(tmp_path: Path, environ: dict[str, str]) -> None:
    install(tmp_path, "apache-airflow", "3.3.2")
    places = []

    def fail() -> None:
        with airflow_environment(["airflow"], environ, socket=SOCKET, managed=[]) as made:
            places.append(Path(made["PYTHONPATH"].split(os.pathsep)[0]))
            raise KeyError("the command's own")

    with pytest.raises(KeyError):
        fail()
    assert [place.exists() for place in places] == [False]


def test_an_airflow_that_has_airtunnel_beside_it_is_not_told_of_it_twice(tmp_path: Path, environ: dict[str, str]) -> None:
    install(tmp_path, "apache-airflow", "3.3.2")
    install(tmp_path, "airtunnel", "0.0.1")
    with airflow_environment(["airflow"], environ, socket=SOCKET, managed=[]) as made:
        place = Path(made["PYTHONPATH"].split(os.pathsep)[0])
        assert [path.name for path in place.iterdir()] == ["airtunnel"]


def test_without_an_airflow_the_environment_stays_as_it_is(tmp_path: Path) -> None:
    environ = {"PATH": str(tmp_path), "X": "1"}
    with airflow_environment(["make"], environ, socket=SOCKET, managed=["a"]) as made:
        assert made == environ


def test_the_backend_before_us_is_wrapped_and_its_token_is_in_a_file_that_only_we_can_read(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    install(tmp_path, "apache-airflow", "3.3.2")
    (tmp_path / "airflow.cfg").write_text(f'[secrets]\nbackend = {VAULT}\nbackend_kwargs = {{"token": "canary"}}\n')
    with airflow_environment(["airflow"], environ, socket=SOCKET, managed=["a"]) as made:
        kwargs = kwargs_of(made)
        assert kwargs["inner"] == VAULT
        file = Path(str(kwargs["inner_kwargs_file"]))
        assert json.loads(file.read_text()) == {"token": "canary"}
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert "canary" not in str(made)
    assert not file.exists()


def test_single_arguments_of_the_backend_before_us_do_not_become_ours(tmp_path: Path, environ: dict[str, str]) -> None:
    install(tmp_path, "apache-airflow", "3.3.2")
    before = environ | {
        "AIRFLOW__WORKERS__SECRETS_BACKEND": VAULT,
        "AIRFLOW__WORKERS__SECRETS_BACKEND_KWARG__MANAGED": "nothing",
        "AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS_CMD": "/bin/echo {}",
        "AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS_SECRET": "path",
    }
    with airflow_environment(["airflow"], before, socket=SOCKET, managed=["a"]) as made:
        assert [name for name in made if "KWARG" in name] == ["AIRFLOW__WORKERS__SECRETS_BACKEND_KWARGS"]
        assert json.loads(Path(str(kwargs_of(made)["inner_kwargs_file"])).read_text()) == {"managed": "nothing"}


def test_an_exec_inside_an_exec_wraps_the_first_backend_and_not_itself(tmp_path: Path, environ: dict[str, str]) -> None:
    install(tmp_path, "apache-airflow", "3.3.2")
    environ |= {"AIRFLOW__SECRETS__BACKEND": VAULT, "AIRFLOW__SECRETS__BACKEND_KWARGS": '{"url": "u"}'}
    with (
        airflow_environment(["airflow"], environ, socket=SOCKET, managed=["a"]) as outer,
        airflow_environment(["airflow"], outer, socket=Path("/other"), managed=["b"]) as inner,
    ):
        assert kwargs_of(inner) == kwargs_of(outer) | {"managed": ["b"]}
        assert inner["AIRFLOW__AIRTUNNEL__SOCKET"] == "/other"


def test_the_entry_points_are_those_of_the_installed_package() -> None:
    ours = ConfigParser()
    ours.read_string(ENTRY_POINTS)
    project = tomllib.loads((Path(airtunnel.__file__).parent.parent / "pyproject.toml").read_text())["project"]
    assert {group: dict(ours[group]) for group in ours.sections()} == project["entry-points"]
    assert get_provider_info()["package-name"] == project["name"]
    assert get_provider_info()["secrets-backends"] == [BACKEND]


SOURCES = sorted((Path(airtunnel.__file__).parent / "airflow").glob("*.py"))


@pytest.mark.parametrize("path", [*SOURCES, Path(airtunnel.__file__)], ids=lambda path: path.stem)
def test_what_airflow_imports_is_python_3_9_with_its_library_and_airflow_alone(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    names = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    for name in names - {"airtunnel"}:
        root = name.split(".")[0]
        assert root in sys.stdlib_module_names | {"airflow"} or name.startswith("airtunnel.airflow"), name


def test_the_agents_client_needs_no_airflow_and_nothing_heavy() -> None:
    look = "import sys, airtunnel.airflow.client; print({'asyncssh', 'airtunnel.errors', 'airflow'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", look], capture_output=True, check=True).stdout == b"set()\n"
