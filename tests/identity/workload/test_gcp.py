import json
from urllib.parse import parse_qs, urlsplit

import pytest

from airtunnel.errors import AirtunnelError, ConfigError, LoginFailed, LoginRequired, Temporary, Unreachable
from airtunnel.identity.http import MAX_ANSWER
from airtunnel.identity.workload.gcp import HOST, Gcp
from airtunnel.identity.workload.present import WorkloadIdentity
from tests.identity.server import Asked, Handle, Reply, serving

from .tokens import AUDIENCE, GOOGLE, gateway, made

PUBLISHED = gateway("gcp")
OURS = {"Metadata-Flavor": "Google", "Server": "Metadata Server for VM"}


def metadata(asked: Asked) -> Reply:
    """The metadata server, as its documentation says."""
    parts = urlsplit(asked.path)
    if asked.headers.get("metadata-flavor") != "Google":
        return Reply(403, b"Missing Metadata-Flavor:Google header.", OURS)
    if parts.path != "/computeMetadata/v1/instance/service-accounts/default/identity":
        return Reply(404, b"", OURS)
    query = parse_qs(parts.query)
    assert query["format"] == ["full"]
    return Reply(200, made(GOOGLE, query["audience"][0], email="job@p.iam.gserviceaccount.com").encode() + b"\n", OURS)


async def fails(handle: Handle) -> AirtunnelError:
    with serving(handle) as port, pytest.raises(AirtunnelError) as caught:
        await WorkloadIdentity(Gcp({"GCE_METADATA_HOST": f"127.0.0.1:{port}"})).present(PUBLISHED)
    assert "U0lHTkFUVVJF" not in json.dumps(caught.value.as_json())
    return caught.value


async def test_the_metadata_server_gives_a_token_for_the_gateways_audience() -> None:
    with serving(metadata) as port:
        shown = await WorkloadIdentity(Gcp({"GCE_METADATA_HOST": f"127.0.0.1:{port}"})).present(PUBLISHED)
    assert shown.token.count(".") == 2
    assert not shown.token.endswith("\n")


async def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    through: list[str] = []

    def proxy(asked: Asked) -> Reply:
        through.append(asked.path)
        return Reply(200, made(GOOGLE).encode(), OURS)

    with serving(proxy) as between, serving(metadata) as port:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{between}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        await WorkloadIdentity(Gcp({"GCE_METADATA_HOST": f"127.0.0.1:{port}"})).present(PUBLISHED)
    assert through == []


async def test_an_answer_without_googles_mark_is_somebody_elses() -> None:
    for headers in ({}, {"Metadata-Flavor": "google.com"}):
        error = await fails(lambda asked, headers=headers: Reply(200, made(GOOGLE).encode(), headers))  # type: ignore[misc]  # mypy sees no default
        assert isinstance(error, Unreachable)
        assert "is not Google's metadata server" in error.message


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Reply(404, b"", OURS), LoginRequired, "no service account"),
        (Reply(403, b"", OURS), LoginRequired, "no service account"),
        (Reply(503, b"", OURS), Temporary, "HTTP 503"),
        (Reply(302, b"", OURS | {"Location": "http://127.0.0.1:1/"}), Unreachable, "redirects are not followed"),
        (Reply(400, b"non-empty audience parameter required", OURS), Unreachable, "HTTP 400"),
        (Reply(200, b"<html>", OURS), LoginFailed, "not a signed JWT"),
        (Reply(200, b"", OURS), LoginFailed, "not a signed JWT"),
        (Reply(200, b"ya29.c.b0Aaek-an-access-token", OURS), LoginFailed, "not a signed JWT"),
        (Reply(200, made(GOOGLE).encode().replace(b".", b"\x00.", 1), OURS), LoginFailed, "not a signed JWT"),
        (Reply(200, made(GOOGLE).encode() + b"\xff", OURS), LoginFailed, "not a signed JWT"),
        (Reply(200, b"x" * (MAX_ANSWER + 1), OURS), Unreachable, "sent more than"),
        (Reply(200, made(GOOGLE, "https://other").encode(), OURS), LoginFailed, f"for https://other, and not for {AUDIENCE}"),
        (Reply(200, made("https://evil").encode(), OURS), LoginFailed, "was made by https://evil"),
    ],
)
async def test_what_may_come_instead_of_a_token_has_its_error(answer: Reply, kind: type[AirtunnelError], words: str) -> None:
    error = await fails(lambda asked: answer)
    assert type(error) is kind
    assert words in error.message


@pytest.mark.parametrize("host", ["a b", "host/path", "user@host", "host?x", "host#x", "http://host", "host:99999999", "a\nb"])
async def test_a_place_that_is_more_than_a_host_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="GCE_METADATA_HOST is not a host or host:port"):
        await WorkloadIdentity(Gcp({"GCE_METADATA_HOST": host})).present(PUBLISHED)


async def test_a_machine_elsewhere_is_told_so() -> None:
    """The name is Google's own, and has an address in its cloud only."""
    with serving(metadata) as port:
        pass
    with pytest.raises(Unreachable, match=f"127.0.0.1:{port} does not answer"):
        await WorkloadIdentity(Gcp({"GCE_METADATA_HOST": f"127.0.0.1:{port}"})).present(PUBLISHED)
    assert HOST == "metadata.google.internal"
