import pytest
import yaml

from airtunnel.errors import LoginFailed, LoginRequired
from airtunnel.identity.workload.gitlab import GitLab
from airtunnel.identity.workload.present import WorkloadIdentity

from .tokens import AUDIENCE, GITLAB, gateway, made

PUBLISHED = gateway("kubernetes", "gitlab")


async def test_the_variable_of_the_job_is_shown() -> None:
    token = made(GITLAB)
    assert (await WorkloadIdentity(GitLab({"AIRTUNNEL_ID_TOKEN": token})).present(PUBLISHED)).token == token


async def test_a_job_without_the_variable_is_told_what_to_write() -> None:
    with pytest.raises(LoginRequired, match="this job has no identity for a gateway") as caught:
        await WorkloadIdentity(GitLab({"GITLAB_CI": "true"})).present(PUBLISHED)
    job = yaml.safe_load("\n".join(caught.value.details[1:]))
    assert job == {"id_tokens": {"AIRTUNNEL_ID_TOKEN": {"aud": AUDIENCE}}}


async def test_elsewhere_it_says_that_this_is_no_job() -> None:
    with pytest.raises(LoginRequired, match="this is no job of GitLab CI"):
        await WorkloadIdentity(GitLab({})).present(PUBLISHED)


async def test_a_token_for_another_audience_is_answered_with_what_to_write() -> None:
    with pytest.raises(LoginFailed) as caught:
        await WorkloadIdentity(GitLab({"AIRTUNNEL_ID_TOKEN": made(GITLAB, "https://vault")})).present(PUBLISHED)
    assert f"      aud: {AUDIENCE}" in caught.value.details
