import time
from pathlib import Path

import pytest

from airtunnel.errors import LoginRequired, UsageError
from airtunnel.identity.workload import find_identity
from airtunnel.identity.workload.kubernetes import DEFAULT, PROJECTED

from .tokens import AUDIENCE, CLUSTER, gateway, made

SIGNS: dict[str, dict[str, str]] = {
    "token": {"AIRTUNNEL_TOKEN": "x"},
    "client-credentials": {"AIRTUNNEL_CLIENT_ID": "x"},
    "github": {"ACTIONS_ID_TOKEN_REQUEST_URL": "https://x"},
    "gitlab": {"AIRTUNNEL_ID_TOKEN": "x"},
    "kubernetes": {},
    "aws": {"AWS_EXECUTION_ENV": "AWS_ECS_FARGATE"},
    "gcp": {"GCE_METADATA_HOST": "x"},
}
"""In the order of `auto`. Kubernetes' sign is a file."""


def put(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


def name(wanted: str | None, environment: dict[str, str], root: Path) -> str | None:
    found = find_identity(wanted, environment, root)
    return None if found is None else found.name


def test_without_a_wish_only_a_token_that_was_given_counts(tmp_path: Path) -> None:
    put(tmp_path / PROJECTED, "x")
    everything = {key: value for one in SIGNS.values() for key, value in one.items() if key != "AIRTUNNEL_TOKEN"}
    assert name(None, everything, tmp_path) is None
    assert name(None, everything | {"AIRTUNNEL_TOKEN": "x"}, tmp_path) == "token"
    assert name(None, everything | {"AIRTUNNEL_TOKEN_FILE": "/x"}, tmp_path) == "token"


def test_auto_takes_what_was_meant_before_what_happens_to_be_there(tmp_path: Path) -> None:
    put(tmp_path / PROJECTED, "x")
    left = dict(SIGNS)
    for expected in SIGNS:
        environment = {key: value for one in left.values() for key, value in one.items()}
        assert name("auto", environment, tmp_path) == expected
        del left[expected]
        if expected == "kubernetes":
            (tmp_path / PROJECTED).unlink()


@pytest.mark.parametrize("wanted", [one for one in SIGNS if one != "token"])
def test_what_is_wanted_is_used_whatever_else_there_is(wanted: str, tmp_path: Path) -> None:
    assert name(wanted, {"AIRTUNNEL_TOKEN": "x", "AIRTUNNEL_TOKEN_FILE": "/y"}, tmp_path) == wanted


@pytest.mark.parametrize(
    "variable",
    [
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
        "AWS_CONTAINER_CREDENTIALS_FULL_URI",
        "AWS_LAMBDA_FUNCTION_NAME",
    ],
)
def test_aws_is_known_by_what_its_services_set(variable: str, tmp_path: Path) -> None:
    assert name("auto", {variable: "x"}, tmp_path) == "aws"


def test_access_keys_alone_are_a_persons_and_not_looked_for(tmp_path: Path) -> None:
    with pytest.raises(LoginRequired):
        find_identity("auto", {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "y", "AWS_REGION": "z"}, tmp_path)


def test_a_machine_of_googles_is_known_by_its_firmware(tmp_path: Path) -> None:
    put(tmp_path / "sys/class/dmi/id/product_name", "Google Compute Engine\n")
    assert name("auto", {}, tmp_path) == "gcp"
    put(tmp_path / "sys/class/dmi/id/product_name", "Standard PC (not Google)\n")
    with pytest.raises(LoginRequired):
        find_identity("auto", {}, tmp_path)


def test_if_there_is_nothing_all_that_was_looked_for_is_listed(tmp_path: Path) -> None:
    with pytest.raises(LoginRequired) as caught:
        find_identity("auto", {}, tmp_path)
    told = "\n".join(caught.value.details)
    for one in (*SIGNS, "AIRTUNNEL_TOKEN_FILE", "/var/run/secrets/airtunnel/token", "ACTIONS_ID_TOKEN_REQUEST_URL"):
        assert one in told
    assert caught.value.hint == "export AIRTUNNEL_TOKEN_FILE=/path/of/a/token"


def test_in_a_job_or_a_pod_without_an_identity_the_lines_to_add_come_first(tmp_path: Path) -> None:
    def first(environment: dict[str, str]) -> str:
        with pytest.raises(LoginRequired) as caught:
            find_identity("auto", environment, tmp_path)
        return caught.value.details[0]

    assert first({"GITHUB_ACTIONS": "true"}) == "in the workflow, for the job:"
    assert first({"GITLAB_CI": "true"}) == "in .gitlab-ci.yml, for the job:"
    assert first({}) == "looked for"
    put(tmp_path / DEFAULT, "x")
    assert first({}) == "in the pod's manifest:"


def test_a_pod_with_a_role_is_known_by_it_though_it_has_the_api_servers_token(tmp_path: Path) -> None:
    put(tmp_path / DEFAULT, "x")
    assert name("auto", {"AWS_WEB_IDENTITY_TOKEN_FILE": "/x"}, tmp_path) == "aws"


@pytest.mark.parametrize("wanted", [None, "auto", "token"])
def test_two_tokens_are_one_too_many(wanted: str | None, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="both AIRTUNNEL_TOKEN and AIRTUNNEL_TOKEN_FILE are set"):
        find_identity(wanted, {"AIRTUNNEL_TOKEN": "", "AIRTUNNEL_TOKEN_FILE": "/x"}, tmp_path)


@pytest.mark.parametrize("wanted", [None, "auto", "token"])
def test_an_empty_variable_does_not_fall_back_to_something_else(wanted: str | None, tmp_path: Path) -> None:
    with pytest.raises(LoginRequired, match="AIRTUNNEL_TOKEN_FILE is set, and empty"):
        find_identity(wanted, {"AIRTUNNEL_TOKEN_FILE": " "} | SIGNS["github"], tmp_path)
    assert name(wanted, {"AIRTUNNEL_TOKEN": ""} | SIGNS["github"], tmp_path) == "token"  # and using it fails


def test_a_token_that_is_wanted_and_not_given_is_missing(tmp_path: Path) -> None:
    with pytest.raises(LoginRequired, match="neither AIRTUNNEL_TOKEN nor AIRTUNNEL_TOKEN_FILE is set"):
        find_identity("token", SIGNS["github"], tmp_path)


def test_an_unknown_kind_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    for wanted in ("azure", "", "GitHub"):
        with pytest.raises(UsageError, match="there is no identity called") as caught:
            find_identity(wanted, {}, tmp_path)
        assert caught.value.hint is not None
        assert "client-credentials, github, gitlab" in caught.value.hint


async def test_a_pods_token_may_lie_elsewhere(tmp_path: Path) -> None:
    put(tmp_path / "elsewhere", token := made(CLUSTER, [AUDIENCE]))
    found = find_identity("kubernetes", {"AIRTUNNEL_TOKEN_FILE": str(tmp_path / "elsewhere")}, tmp_path)
    assert found is not None
    assert (await found.present(gateway("kubernetes"))).token == token


def test_looking_around_takes_less_than_a_millisecond(tmp_path: Path) -> None:
    def once() -> float:
        start = time.perf_counter()
        with pytest.raises(LoginRequired):
            find_identity("auto", {}, tmp_path)
        return time.perf_counter() - start

    assert min(once() for _ in range(20)) < 0.001
