from pathlib import Path

import pytest

from airtunnel.errors import ConfigError, LoginFailed, LoginRequired
from airtunnel.identity.workload.given import GivenToken, TokenFile
from airtunnel.identity.workload.present import WorkloadIdentity

from .tokens import AUDIENCE, CLUSTER, GITHUB, gateway, made

PUBLISHED = gateway("kubernetes")


async def test_the_token_of_the_variable_is_shown() -> None:
    token = made(CLUSTER)
    shown = await WorkloadIdentity(GivenToken({"AIRTUNNEL_TOKEN": f" {token}\n"})).present(PUBLISHED)
    assert (shown.token, shown.bound) == (token, None)


async def test_a_variable_that_is_set_and_empty_is_told_from_one_that_is_not_set() -> None:
    for environment, state in (({"AIRTUNNEL_TOKEN": " "}, "set, and empty"), ({}, "not set")):
        with pytest.raises(LoginRequired, match=f"AIRTUNNEL_TOKEN is {state}") as caught:
            await WorkloadIdentity(GivenToken(environment)).present(PUBLISHED)
        assert caught.value.details == (f"AIRTUNNEL_TOKEN needs a token for {AUDIENCE}",)


async def test_a_token_of_the_variable_that_is_for_somebody_else_is_not_shown() -> None:
    token = made(GITHUB)
    with pytest.raises(LoginFailed, match="the token in AIRTUNNEL_TOKEN was made by") as caught:
        await WorkloadIdentity(GivenToken({"AIRTUNNEL_TOKEN": token})).present(PUBLISHED)
    assert token not in repr(caught.value.as_json())


async def test_the_file_is_read_at_every_use(tmp_path: Path) -> None:
    path = tmp_path / "token"
    identity = WorkloadIdentity(TokenFile(path))
    for number in range(3):
        token = made(CLUSTER, jti=str(number))
        fresh = tmp_path / "fresh"
        fresh.write_text(token + "\n")
        fresh.rename(path)
        assert (await identity.present(PUBLISHED)).token == token
    path.unlink()
    with pytest.raises(LoginRequired, match=f"there is no file {path}"):
        await identity.present(PUBLISHED)


async def test_a_file_that_nobody_renews_is_named(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(made(CLUSTER, exp=1_700_000_000))
    with pytest.raises(LoginFailed, match=f"the token in {path} expired"):
        await WorkloadIdentity(TokenFile(path)).present(PUBLISHED)


async def test_an_empty_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch()
    with pytest.raises(ConfigError, match=f"{path}: the token is missing"):
        await WorkloadIdentity(TokenFile(path)).present(PUBLISHED)


def test_nothing_secret_is_in_a_repr() -> None:
    source = GivenToken({"AIRTUNNEL_TOKEN": "very-secret"})
    assert "very-secret" not in repr(source) + repr(WorkloadIdentity(source))
