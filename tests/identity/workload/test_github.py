import json
import logging
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

import pytest

from airtunnel.errors import AirtunnelError, ConfigError, LoginFailed, LoginRequired, Temporary, Unreachable
from airtunnel.identity.http import MAX_ANSWER
from airtunnel.identity.workload.github import GitHub
from airtunnel.identity.workload.present import WorkloadIdentity
from tests.identity.provider import reply
from tests.identity.server import Asked, Handle, Reply, serving

from .tokens import AUDIENCE, GITHUB, gateway, made

PUBLISHED = gateway("kubernetes", "github")
KEY = "the-jobs-own-key"


def job(port: int, key: str = KEY) -> Mapping[str, str]:
    url = f"http://127.0.0.1:{port}/abc/idtoken?api-version=2.0"
    return {"GITHUB_ACTIONS": "true", "ACTIONS_ID_TOKEN_REQUEST_URL": url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": key}


class Actions:
    """GitHub's side, as its documentation says."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    def answer(self, asked: Asked) -> Reply:
        self.asked.append(asked)
        if asked.method != "GET" or asked.headers.get("authorization") != f"Bearer {KEY}":
            return Reply(401)
        query = parse_qs(urlsplit(asked.path).query)
        assert query["api-version"] == ["2.0"]
        return reply({"count": 1, "value": made(GITHUB, query["audience"][0], repository="acme/shop")})


async def fails(handle: Handle) -> AirtunnelError:
    with serving(handle) as port, pytest.raises(AirtunnelError) as caught:
        await WorkloadIdentity(GitHub(job(port))).present(PUBLISHED)
    told = json.dumps(caught.value.as_json())
    assert KEY not in told
    assert "U0lHTkFUVVJF" not in told
    return caught.value


async def test_a_job_gets_a_token_for_the_gateways_audience() -> None:
    actions = Actions()
    with serving(actions.answer) as port:
        shown = await WorkloadIdentity(GitHub(job(port))).present(PUBLISHED)
    assert shown.token == made(GITHUB, repository="acme/shop", exp=json.loads(_payload(shown.token))["exp"])
    assert actions.asked[0].path == f"/abc/idtoken?api-version=2.0&audience={AUDIENCE.replace(':', '%3A').replace('/', '%2F')}"


async def test_a_url_without_a_query_gets_one() -> None:
    seen: list[str] = []

    def answer(asked: Asked) -> Reply:
        seen.append(asked.path)
        return reply({"value": made(GITHUB)})

    with serving(answer) as port:
        given = dict(job(port)) | {"ACTIONS_ID_TOKEN_REQUEST_URL": f"http://127.0.0.1:{port}/x"}
        await WorkloadIdentity(GitHub(given)).present(PUBLISHED)
    assert seen[0].startswith("/x?audience=")


async def test_a_job_without_the_permission_is_told_what_to_write() -> None:
    for left_out in ("ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"):
        given = {name: value for name, value in job(1).items() if name != left_out}
        with pytest.raises(LoginRequired, match=f"this job may not ask GitHub for an identity: {left_out}") as caught:
            await WorkloadIdentity(GitHub(given)).present(PUBLISHED)
        assert caught.value.details[:3] == ("in the workflow, for the job:", "  permissions:", "    id-token: write")


async def test_elsewhere_it_says_that_this_is_no_job() -> None:
    with pytest.raises(LoginRequired, match="this is no job of GitHub Actions"):
        await WorkloadIdentity(GitHub({})).present(PUBLISHED)


@pytest.mark.parametrize("url", ["http://pipelines.example.com/x?a=b", "ftp://x", "nonsense", "https://user@host/"])
async def test_the_jobs_key_is_not_sent_without_encryption(url: str) -> None:
    with pytest.raises(ConfigError, match="ACTIONS_ID_TOKEN_REQUEST_URL is not"):
        await WorkloadIdentity(GitHub(dict(job(1)) | {"ACTIONS_ID_TOKEN_REQUEST_URL": url})).present(PUBLISHED)


@pytest.mark.parametrize("key", ["a\r\nX-Forged: yes", "with blank", "é", "a\x00b"])
async def test_a_key_that_would_forge_a_header_is_not_sent_nor_shown(key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await WorkloadIdentity(GitHub(job(1, key))).present(PUBLISHED)
    assert caught.value.message == "ACTIONS_ID_TOKEN_REQUEST_TOKEN holds characters that no key has"


async def test_the_jobs_key_does_not_follow_a_redirect() -> None:
    elsewhere: list[Asked] = []

    def take(asked: Asked) -> Reply:
        elsewhere.append(asked)
        return Reply(200)

    with serving(take) as other:
        error = await fails(lambda asked: Reply(302, b"", {"Location": f"http://127.0.0.1:{other}/"}))
    assert "redirects are not followed" in error.message
    assert elsewhere == []


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Reply(401), LoginFailed, "GitHub refuses this job an identity: HTTP 401"),
        (reply({"message": "no"}, 403), LoginFailed, "HTTP 403"),
        (Reply(503, b"busy"), Temporary, "HTTP 503"),
        (Reply(429), Temporary, "HTTP 429"),
        (Reply(404), Unreachable, "HTTP 404"),
        (Reply(200, b"<html>"), Unreachable, "something other than a JSON object"),
        (reply(["value"]), Unreachable, "something other than a JSON object"),
        (reply({"value": 7}), Unreachable, "holds no token"),
        (reply({}), Unreachable, "holds no token"),
        (Reply(200, b"x" * (MAX_ANSWER + 1)), Unreachable, "sent more than"),
        (reply({"value": "a.b.c"}), LoginFailed, "not a signed JWT"),
        (reply({"value": made(GITHUB) + "\r\nX: y"}), LoginFailed, "not a signed JWT"),
        (reply({"value": made(GITHUB, "sts.amazonaws.com")}), LoginFailed, "for sts.amazonaws.com, and not for"),
        (reply({"value": made("https://evil.example.com")}), LoginFailed, "was made by https://evil.example.com"),
        (reply({"value": made(GITHUB, exp=1)}), LoginFailed, "expired"),
    ],
)
async def test_what_may_come_instead_of_a_token_has_its_error(answer: Reply, kind: type[AirtunnelError], words: str) -> None:
    error = await fails(lambda asked: answer)
    assert type(error) is kind
    assert words in error.message


async def test_nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with serving(Actions().answer) as port:
        source = GitHub(job(port))
        shown = await WorkloadIdentity(source).present(PUBLISHED)
    written = caplog.text + repr(source) + repr(shown)
    assert KEY not in written
    assert shown.token not in written


def _payload(token: str) -> bytes:
    import base64

    part = token.split(".")[1]
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
