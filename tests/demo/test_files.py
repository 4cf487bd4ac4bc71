import os
import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from airtunnel.config.gateway import load_gateway
from airtunnel.demo.files import Files, write_files
from airtunnel.errors import ConfigError
from airtunnel.policy.cases import load_cases, run_case, undecided
from airtunnel.policy.load import load_policy

PASSWORD = "broker-password"
IMPORT = """
import runpy, sys

def refuse(event, arguments):
    if event == "socket.connect":
        raise RuntimeError("the DAG connects while it is imported")

sys.addaudithook(refuse)
names = runpy.run_path(sys.argv[1])
assert "airflow.providers.postgres.hooks.postgres" not in sys.modules
dag = names["shop_report"]()
print(dag.dag_id, *sorted(dag.task_ids), dag.get_task("load_orders").conn_id)
"""


def written(directory: Path, socket: str = "/tmp/db: #1/.s.PGSQL.5432") -> Files:
    return write_files(
        directory,
        issuer="http://127.0.0.1:5556",
        client_id="airtunnel",
        audience="airtunnel-gateway",
        https_port=8443,
        ssh_port=2222,
        socket=Path(socket),
        broker_user="broker",
        broker_password=PASSWORD,
    )


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return written(tmp_path)


def test_the_gateway_reads_its_configuration(files: Files) -> None:
    (files.directory / "tls").mkdir()
    for name in ("gateway.pem", "gateway.key"):
        (files.directory / "tls" / name).touch()
    config = load_gateway(files.gateway)
    (provider,) = config.providers
    assert (str(config.listen.https), str(config.public.ssh)) == ("127.0.0.1:8443", "127.0.0.1:2222")
    assert (provider.issuer, provider.audiences) == ("http://127.0.0.1:5556", ("airtunnel-gateway",))
    assert config.policy == files.policy.parent
    assert config.audit.file == files.directory / "audit" / "audit.jsonl"


def test_the_policy_leads_to_the_socket_and_the_password(files: Files) -> None:
    policy = load_policy(files.policy.parent)
    assert set(policy.targets) == {"warehouse", "payroll", "flash-sale"}
    for target in policy.targets.values():
        assert target.address.path == "/tmp/db: #1/.s.PGSQL.5432"
        assert target.credential is not None
        assert Path(target.credential.options["admin_password_file"]).read_text() == f"{PASSWORD}\n"
    assert policy.targets["warehouse"].airflow_connection == "warehouse"


def test_the_flash_sale_lasts_four_seconds(files: Files) -> None:
    rules = {rule.name: rule for rule in load_policy(files.policy.parent).rules}
    assert rules["a-sale-is-short"].limits.duration == timedelta(seconds=4)
    assert rules["engineers-reach-the-shop"].limits.duration == timedelta(hours=1)
    assert rules["payroll-is-for-finance"].who.groups == ("finance",)


def test_the_policys_own_cases_hold_and_are_about_every_rule(files: Files) -> None:
    policy = load_policy(files.policy)
    results = tuple(run_case(policy, case) for case in load_cases(files.policy))
    assert [one.problems for one in results] == [()] * 5
    assert undecided(policy, results) == ()


def test_the_password_is_in_one_file_that_only_its_owner_reads(files: Files) -> None:
    holding = [one for one in files.directory.rglob("*") if one.is_file() and PASSWORD in one.read_text()]
    assert holding == [files.broker_password]
    assert files.broker_password.stat().st_mode & 0o777 == 0o600
    assert files.broker_password.parent.stat().st_mode & 0o777 == 0o700
    assert PASSWORD not in repr(files)


def test_a_second_demo_writes_over_the_first_and_into_no_open_hands(files: Files) -> None:
    files.broker_password.chmod(0o644)
    with files.broker_password.open() as spy:
        files.broker_password.write_text("")
        assert replace(files) == written(files.directory, socket="/tmp/other/.s.PGSQL.5432")
        assert spy.read() == ""
    assert files.broker_password.stat().st_mode & 0o777 == 0o600
    assert "/tmp/other/" in files.policy.read_text()


def test_a_gateways_own_configuration_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("name: production\n")
    with pytest.raises(ConfigError, match="stays as it is"):
        written(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["gateway.yaml"]


def test_the_readme_says_who_may_log_in(files: Files) -> None:
    text = files.readme.read_text()
    assert "ana / ana " in text
    assert "127.0.0.1:8443" in text
    assert "$" not in text


def test_the_dag_compiles(files: Files) -> None:
    source = files.dags / "load_orders.py"
    compile(source.read_text(), source, "exec")


def test_airflow_imports_the_dag_without_a_connection(files: Files, tmp_path: Path) -> None:
    python = os.environ.get("AIRTUNNEL_TEST_AIRFLOW_PYTHON")
    if not python:
        pytest.skip("AIRTUNNEL_TEST_AIRFLOW_PYTHON names no interpreter with Airflow")
    environment = {"PATH": os.defpath, "HOME": str(tmp_path), "AIRFLOW_HOME": str(tmp_path / "airflow")}
    done = subprocess.run(
        [python, "-c", IMPORT, files.dags / "load_orders.py"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "shop_report load_orders note_best warehouse"
