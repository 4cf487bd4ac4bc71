"""The backend that was configured before us, in every place where Airflow looks for it."""

import json
from pathlib import Path

import pytest

from airtunnel.airflow.previous import SECRETS, WORKERS, Previous, read_previous

BOTH = (WORKERS, SECRETS)
VAULT = "airflow.providers.hashicorp.secrets.vault.VaultBackend"
WORKER = "company.secrets.WorkerBackend"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """AIRFLOW_HOME with a file as Airflow writes it: empty options, and % that would break interpolation."""
    (tmp_path / "airflow.cfg").write_text("[logging]\nlog_format = [%%(asctime)s] %(message)s\n[secrets]\nbackend = \n")
    return tmp_path


def test_nothing_was_configured(home: Path) -> None:
    assert read_previous(BOTH, (3, 3), {"AIRFLOW_HOME": str(home)}) is None
    assert read_previous(BOTH, (3, 3), {"AIRFLOW_HOME": str(home / "nowhere")}) is None


def test_the_workers_section_comes_first_and_the_other_ones_arguments_do_not_mix_in(home: Path) -> None:
    environ = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__WORKERS__SECRETS_BACKEND": WORKER,
        "AIRFLOW__SECRETS__BACKEND": VAULT,
        "AIRFLOW__SECRETS__BACKEND_KWARGS": '{"url": "http://vault"}',
    }
    assert read_previous(BOTH, (3, 3), environ) == Previous(WORKER, {})
    assert read_previous((SECRETS,), (2, 11), environ) == Previous(VAULT, {"url": "http://vault"})


def test_without_a_workers_backend_the_other_one_is_the_workers_too(home: Path) -> None:
    environ = {"AIRFLOW_HOME": str(home), "AIRFLOW__SECRETS__BACKEND": VAULT}
    assert read_previous(BOTH, (3, 3), environ) == Previous(VAULT, {})


def test_the_file_is_read_and_the_environment_wins(home: Path) -> None:
    (home / "airflow.cfg").write_text(f'[secrets]\nbackend = {VAULT}\nbackend_kwargs = {{"url": "http://%s"}}\n')
    environ = {"AIRFLOW_HOME": str(home)}
    assert read_previous(BOTH, (3, 3), environ) == Previous(VAULT, {"url": "http://%s"})
    environ["AIRFLOW__SECRETS__BACKEND_KWARGS"] = '{"url": "http://environment"}'
    assert read_previous(BOTH, (3, 3), environ) == Previous(VAULT, {"url": "http://environment"})
    assert read_previous(BOTH, (3, 3), environ | {"AIRFLOW__SECRETS__BACKEND": ""}) is None


def test_the_file_may_be_named_and_its_path_expanded(home: Path) -> None:
    (home / "other.cfg").write_text(f"[secrets]\nbackend = {VAULT}\n")
    assert read_previous(BOTH, (3, 3), {"AIRFLOW_CONFIG": "~/other.cfg", "HOME": str(home)}) == Previous(VAULT, {})
    (home / "airflow").mkdir()
    (home / "other.cfg").rename(home / "airflow" / "airflow.cfg")
    assert read_previous(BOTH, (3, 3), {"HOME": str(home)}) == Previous(VAULT, {})


@pytest.mark.parametrize(("version", "kwargs"), [((3, 3), {"url": "u", "role_id": "r"}), ((3, 1), {"url": "u"})])
def test_single_arguments_count_where_this_airflow_knows_them(
    home: Path, version: tuple[int, int], kwargs: dict[str, str]
) -> None:
    environ = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__SECRETS__BACKEND": VAULT,
        "AIRFLOW__SECRETS__BACKEND_KWARGS": '{"url": "u"}',
        "AIRFLOW__SECRETS__BACKEND_KWARG__ROLE_ID": "r",
        "AIRFLOW__WORKERS__SECRETS_BACKEND_KWARG__OTHER": "not of this section",
    }
    assert read_previous(BOTH, version, environ) == Previous(VAULT, kwargs)


@pytest.mark.parametrize("where", ["environment", "file"])
def test_the_arguments_may_come_from_a_command(home: Path, where: str) -> None:
    (home / "kwargs.json").write_text('{"token": "t"}')
    command = f"cat {home / 'kwargs.json'}"
    environ = {"AIRFLOW_HOME": str(home), "PATH": "/usr/bin:/bin"}
    if where == "environment":
        environ |= {"AIRFLOW__SECRETS__BACKEND": VAULT, "AIRFLOW__SECRETS__BACKEND_KWARGS_CMD": command}
    else:
        (home / "airflow.cfg").write_text(f"[secrets]\nbackend = {VAULT}\nbackend_kwargs_cmd = {command}\n")
    assert read_previous(BOTH, (3, 3), environ) == Previous(VAULT, {"token": "t"})


@pytest.mark.parametrize("kwargs", ["{", "[]", '"text"', "canary"])
def test_arguments_that_airflow_would_drop_in_silence_are_an_error_that_does_not_quote_them(home: Path, kwargs: str) -> None:
    environ = {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__SECRETS__BACKEND": VAULT,
        "AIRFLOW__SECRETS__BACKEND_KWARGS": kwargs,
    }
    with pytest.raises(ValueError, match=r"\[secrets\] backend_kwargs is not") as caught:
        read_previous(BOTH, (3, 3), environ)
    assert "canary" not in str(caught.value)


def test_a_command_that_fails_is_an_error(home: Path) -> None:
    environ = {
        "AIRFLOW_HOME": str(home),
        "PATH": "/usr/bin:/bin",
        "AIRFLOW__SECRETS__BACKEND": VAULT,
        "AIRFLOW__SECRETS__BACKEND_KWARGS_CMD": "false",
    }
    with pytest.raises(ValueError, match="backend_kwargs_cmd failed"):
        read_previous(BOTH, (3, 3), environ)


def test_a_token_is_in_no_repr() -> None:
    assert "canary" not in repr(Previous(VAULT, json.loads('{"token": "canary"}')))
