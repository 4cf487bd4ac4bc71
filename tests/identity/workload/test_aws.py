import json
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from airtunnel.errors import AirtunnelError, ConfigError, LoginFailed, LoginRequired, Temporary, Unreachable
from airtunnel.identity.workload.aws import Aws
from airtunnel.identity.workload.present import WorkloadIdentity
from tests.identity.server import Asked, Reply, serving

from .sts import KEY_ID, SECRET, SESSION, XML, Sts, is_signed, refusal
from .tokens import ACCOUNT, AUDIENCE, gateway, made

PUBLISHED = gateway("aws")


@pytest.fixture(autouse=True)
def role(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The environment of a workload with a role, and nothing of the machine's own."""
    for name in [one for one in os.environ if one.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ACCESS_KEY_ID": KEY_ID,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_SESSION_TOKEN": SESSION,
        "AWS_REGION": "eu-central-1",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def limit() -> timedelta:
    return timedelta(seconds=20)  # the first use of botocore reads half a second of JSON, and this machine may be busy


@contextmanager
def answering(sts: Sts, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with serving(sts.answer) as port:
        monkeypatch.setenv("AWS_ENDPOINT_URL_STS", f"http://127.0.0.1:{port}")
        yield


async def fails(limit: timedelta) -> AirtunnelError:
    with pytest.raises(AirtunnelError) as caught:
        await WorkloadIdentity(Aws(os.environ), limit=limit).present(PUBLISHED)
    told = json.dumps(caught.value.as_json()) + repr(caught.value.__cause__)
    assert not any(secret in told for secret in (SECRET, SESSION, "U0lHTkFUVVJF"))
    return caught.value


async def test_sts_gives_a_token_for_the_gateways_audience(monkeypatch: pytest.MonkeyPatch, limit: timedelta) -> None:
    sts = Sts()
    with answering(sts, monkeypatch):
        shown = await WorkloadIdentity(Aws(os.environ), limit=limit).present(PUBLISHED)
    assert shown.token.count(".") == 2
    (form,) = sts.forms
    assert form["Audience.member.1"] == [AUDIENCE]
    assert (form["SigningAlgorithm"], form["DurationSeconds"]) == (["ES384"], ["300"])


def test_the_scripted_sts_knows_a_signature_that_does_not_fit() -> None:
    headers = {
        "authorization": f"AWS4-HMAC-SHA256 Credential={KEY_ID}/20261122/eu-central-1/sts/aws4_request, "
        "SignedHeaders=host;x-amz-date;x-amz-security-token, Signature=00",
        "host": "x",
        "x-amz-date": "20261122T120000Z",
        "x-amz-security-token": SESSION,
    }
    assert not is_signed(Asked("POST", "/", headers, b""))
    assert not is_signed(Asked("POST", "/", {}, b""))


@pytest.mark.parametrize(
    ("answer", "kind", "words", "advice"),
    [
        (
            refusal("AccessDenied", 403, f"User: arn:aws:sts::1:assumed-role/x {SESSION} is not authorized"),
            LoginFailed,
            "this role",
            f'"sts:IdentityTokenAudience": "{AUDIENCE}"',
        ),
        (
            refusal("OutboundWebIdentityFederationDisabledException", 403),
            LoginFailed,
            "this AWS account gives its roles no tokens",
            "aws iam enable-outbound-web-identity-federation",
        ),
        (refusal("OutboundWebIdentityFederationDisabled", 403), LoginFailed, "this AWS account gives its roles no tokens", ""),
        (refusal("SessionDurationEscalationException", 403), LoginFailed, "expire too soon", ""),
        (refusal("ExpiredToken", 400), LoginFailed, "does not take the credentials here: ExpiredToken", ""),
        (refusal("InvalidClientTokenId", 403), LoginFailed, "InvalidClientTokenId", ""),
        (refusal("SignatureDoesNotMatch", 403, f"x-amz-security-token:{SESSION}"), LoginFailed, "SignatureDoesNotMatch", ""),
        (refusal("Throttling", 400), Temporary, "cannot answer now: Throttling", ""),
        (refusal("InternalFailure", 500), Temporary, "cannot answer now", ""),
        (refusal("Strange&#x202e;", 400), LoginFailed, "AWS STS gave no token: Strange", ""),
        (refusal("Strange\x1b[2J", 400), Unreachable, "what answers is not AWS STS", ""),
        (Reply(503, b"<html>busy</html>"), Temporary, "cannot answer now", ""),
        (Reply(200, b"<html>login here</html>"), Unreachable, "what answers is not AWS STS", ""),
        (Reply(200, made(ACCOUNT).encode()), Unreachable, "what answers is not AWS STS", ""),
        (Reply(200, b"{}"), Unreachable, "what answers is not AWS STS", ""),
        (Reply(200, b"<a><GetWebIdentityTokenResult/></a>", XML), Unreachable, "what answers is not AWS STS", ""),
        (Reply(302, b"", {"Location": "http://127.0.0.1:1/"}), Unreachable, "what answers is not AWS STS", ""),
    ],
)
async def test_what_sts_says_instead_is_told_in_plain_words(
    answer: Reply, kind: type[AirtunnelError], words: str, advice: str, monkeypatch: pytest.MonkeyPatch, limit: timedelta
) -> None:
    with answering(Sts(answer), monkeypatch):
        error = await fails(limit)
    assert type(error) is kind
    assert words in error.message
    assert advice in "\n".join(error.details)
    assert error.message.isprintable()


async def test_a_token_of_another_account_is_not_shown(monkeypatch: pytest.MonkeyPatch, limit: timedelta) -> None:
    with answering(Sts(issuer="https://other.tokens.sts.global.api.aws"), monkeypatch):
        assert "was made by https://other" in (await fails(limit)).message


async def test_without_credentials_that_is_said(monkeypatch: pytest.MonkeyPatch, limit: timedelta) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    error = await fails(limit)
    assert (type(error), error.message) == (LoginRequired, "there are no AWS credentials here")


async def test_half_of_the_credentials_are_none(monkeypatch: pytest.MonkeyPatch, limit: timedelta) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert (await fails(limit)).message == "there are no AWS credentials here"


async def test_without_a_region_that_is_said(monkeypatch: pytest.MonkeyPatch, limit: timedelta) -> None:
    monkeypatch.delenv("AWS_REGION")
    error = await fails(limit)
    assert error.message == "AWS needs a region here: its global endpoint gives no tokens"
    assert error.hint == "export AWS_REGION=eu-central-1"


async def test_the_global_endpoint_is_not_asked(monkeypatch: pytest.MonkeyPatch, limit: timedelta) -> None:
    monkeypatch.setenv("AWS_REGION", "aws-global")
    assert "needs a region" in (await fails(limit)).message


async def test_a_server_that_is_gone_is_unreachable(monkeypatch: pytest.MonkeyPatch, limit: timedelta) -> None:
    with answering(Sts(), monkeypatch):
        pass
    error = await fails(limit)
    assert (type(error), error.message) == (Unreachable, "AWS STS does not answer: EndpointConnectionError")


async def test_a_broken_configuration_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, limit: timedelta) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert isinstance(await fails(limit), ConfigError)
    monkeypatch.delenv("AWS_PROFILE")
    (tmp_path / "config").write_text("not a configuration")
    assert isinstance(await fails(limit), ConfigError)


async def test_a_helper_that_asks_for_credentials_for_ever_has_a_limit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    os.mkfifo(tmp_path / "never")
    (tmp_path / "config").write_text(f"[default]\ncredential_process = cat {tmp_path / 'never'}\n")
    holder = os.open(tmp_path / "never", os.O_RDWR)  # without a writer, `cat` would not even start to read
    try:
        error = await fails(timedelta(milliseconds=500))
    finally:
        os.close(holder)
    assert (type(error), error.message) == (Unreachable, "AWS STS's answer did not come within 0.5 s")


async def test_without_botocore_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, limit: timedelta) -> None:
    for name in [one for one in sys.modules if one == "botocore" or one.startswith("botocore.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "botocore", None)
    error = await fails(limit)
    assert (type(error), error.hint) == (LoginRequired, "pip install 'airtunnel[aws]'")


async def test_nothing_secret_is_logged(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, limit: timedelta
) -> None:
    caplog.set_level(logging.DEBUG, "airtunnel")
    with answering(Sts(), monkeypatch):
        shown = await WorkloadIdentity(Aws(os.environ), limit=limit).present(PUBLISHED)
    assert shown.token not in caplog.text + repr(shown) + repr(Aws(os.environ))
    assert SECRET not in caplog.text + repr(Aws(os.environ))
