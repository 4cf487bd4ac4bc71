import json
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from airtunnel.errors import AirtunnelError, ProtocolError, Temporary, Unreachable, UsageError
from airtunnel.identity.published import fetch_published
from tests.identity.provider import published_by
from tests.identity.server import Asked, Reply, make_certificate, serving

PUBLISHED = published_by("https://login.example.com")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


def changed(**values: object) -> Callable[[Asked], Reply]:
    body = json.dumps(json.loads(PUBLISHED.encode()) | values).encode()
    return lambda asked: Reply(200, body)


@pytest.mark.parametrize("typed", ["127.0.0.1:{port}", "https://127.0.0.1:{port}", "https://localhost:{port}/"])
async def test_one_host_name_gives_everything_a_client_needs(certificate: tuple[ssl.SSLContext, Path], typed: str) -> None:
    seen: list[str] = []

    def answer(asked: Asked) -> Reply:
        seen.append(asked.path)
        return Reply(200, PUBLISHED.encode())

    with serving(answer, certificate[0]) as port:
        assert await fetch_published(typed.format(port=port), ca=certificate[1]) == PUBLISHED
    assert seen == ["/.well-known/airtunnel"]


async def test_http_is_refused_before_anything_is_sent() -> None:
    with pytest.raises(UsageError, match="https, not http"):
        await fetch_published("http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (lambda asked: Reply(404), Unreachable, "is not an airtunnel gateway"),
        (lambda asked: Reply(302, b"", {"Location": "https://evil.example/"}), Unreachable, "redirects are not followed"),
        (lambda asked: Reply(503), Temporary, "answered HTTP 503"),
        (lambda asked: Reply(200, b"<html>"), ProtocolError, "does not have the expected form"),
        (changed(issuer=7), ProtocolError, "issuer is not a text"),
        (changed(issuer="http://login.example.com"), ProtocolError, "issuer that the gateway publishes is not https"),
        (changed(token="refresh_token"), ProtocolError, "unknown kind of token"),
        (changed(ssh_port=0), ProtocolError, "impossible SSH port"),
        (changed(name="a\x1b[2Jb"), ProtocolError, "cannot be shown"),
        (changed(ssh_host="a\nb"), ProtocolError, "cannot be shown"),
        (changed(ssh_host="$(id)"), ProtocolError, "a host for ssh that is none"),
        (changed(ssh_host="a;id"), ProtocolError, "a host for ssh that is none"),
        (changed(host_cas=["ssh-ed25519 AAAA\n* ssh-rsa AAAA"]), ProtocolError, "not one public key"),
        (changed(host_cas=['command="id" ssh-ed25519 AAAA']), ProtocolError, "not one public key"),
        (changed(browser={"host": "evil.example"}), ProtocolError, r"login's answer to another machine: 'evil\.example'"),
        (changed(browser={"host": "127.0.0.1.evil.example"}), ProtocolError, "another machine"),
        (changed(browser={"host": "127.0.0.1@evil.example"}), ProtocolError, "another machine"),
        (changed(browser={"path": "callback"}), ProtocolError, "a path that no browser can come back to"),
        (changed(browser={"path": "/a?b"}), ProtocolError, "a path that no browser can come back to"),
        (changed(browser={"path": "/a b"}), ProtocolError, "a path that no browser can come back to"),
    ],
)
async def test_what_is_no_gateway_says_so(
    certificate: tuple[ssl.SSLContext, Path], answer: Callable[[Asked], Reply], kind: type[AirtunnelError], words: str
) -> None:
    with serving(answer, certificate[0]) as port, pytest.raises(AirtunnelError, match=words) as caught:
        await fetch_published(f"127.0.0.1:{port}", ca=certificate[1])
    assert type(caught.value) is kind


async def test_a_gateway_with_an_unknown_certificate_is_not_believed(certificate: tuple[ssl.SSLContext, Path]) -> None:
    seen: list[str] = []

    def note(asked: Asked) -> Reply:
        seen.append(asked.path)
        return Reply(200, PUBLISHED.encode())

    with serving(note, certificate[0]) as port, pytest.raises(Unreachable, match="is not trusted"):
        await fetch_published(f"127.0.0.1:{port}")
    assert seen == []
