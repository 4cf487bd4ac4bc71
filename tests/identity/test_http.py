import gzip
import ssl
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from airtunnel.errors import AirtunnelError, ConfigError, ProtocolError, Temporary, Unreachable
from airtunnel.identity.http import MAX_ANSWER, get_json, http_client, send
from tests.identity.server import Asked, Reply, make_certificate, serving

SHORT = timedelta(milliseconds=200)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that takes the request and never answers."""
    over = threading.Event()

    def wait(asked: Asked) -> Reply:
        over.wait()
        return Reply()

    with serving(wait) as port:
        yield f"http://127.0.0.1:{port}/"
        over.set()


async def fails(url: str, *, ca: Path | None = None, timeout: timedelta = timedelta(seconds=5)) -> AirtunnelError:
    async with http_client(ca=ca) as client:
        with pytest.raises(AirtunnelError) as caught:
            await get_json(client, url, timeout=timeout)
    return caught.value


async def test_an_answer_comes_whole_with_its_status_and_headers() -> None:
    with serving(lambda asked: Reply(418, b"tea", {"X-Pot": "yes"})) as port:
        async with http_client() as client:
            answer = await send(client, "GET", f"http://127.0.0.1:{port}/")
    assert (answer.status, answer.body, answer.headers["x-pot"]) == (418, b"tea", "yes")


async def test_a_server_is_trusted_through_the_given_authority(certificate: tuple[ssl.SSLContext, Path]) -> None:
    tls, ca = certificate
    with serving(lambda asked: Reply(200, b"{}"), tls) as port:
        async with http_client(ca=ca) as client:
            assert await get_json(client, f"https://127.0.0.1:{port}/") == {}


async def test_a_server_is_trusted_through_an_authority_as_text(certificate: tuple[ssl.SSLContext, Path]) -> None:
    tls, ca = certificate
    with serving(lambda asked: Reply(200, b"{}"), tls) as port:
        async with http_client(ca=ca.read_text()) as client:
            assert await get_json(client, f"https://127.0.0.1:{port}/") == {}


@pytest.mark.parametrize("text", ["", "not a certificate", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n"])
def test_a_text_that_holds_no_authority_leaves_nobody_trusted(text: str) -> None:
    with pytest.raises(ConfigError, match="PEM text that should vouch for a server cannot be used"):
        http_client(ca=text)


async def test_further_headers_go_along() -> None:
    seen: list[Asked] = []

    def note(asked: Asked) -> Reply:
        seen.append(asked)
        return Reply()

    with serving(note) as port:
        async with http_client() as client:
            await send(client, "POST", f"http://127.0.0.1:{port}/", body=b"{}", headers={"DPoP": "proof"})
    assert (seen[0].headers["dpop"], seen[0].headers["content-type"]) == ("proof", "application/json")


async def test_an_unknown_authority_is_refused_with_what_to_do(certificate: tuple[ssl.SSLContext, Path]) -> None:
    with serving(lambda asked: Reply(200, b"{}"), certificate[0]) as port:
        error = await fails(f"https://127.0.0.1:{port}/x")
    assert error.message.startswith(f"the certificate of 127.0.0.1:{port} is not trusted: ")
    assert "SSL_CERT_FILE" in error.details[0]


async def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    tls, ca = make_certificate(tmp_path, "127.0.0.9")
    with serving(lambda asked: Reply(200, b"{}"), tls) as port:
        error = await fails(f"https://127.0.0.1:{port}/", ca=ca)
    assert "IP address mismatch" in error.message


async def test_a_file_that_holds_no_authority_is_a_configuration_error(tmp_path: Path) -> None:
    for content in (None, "not a certificate"):
        path = tmp_path / "ca.pem"
        if content:
            path.write_text(content)
        with pytest.raises(ConfigError, match=r"ca\.pem: cannot be used"):
            http_client(ca=path)


@pytest.mark.timeout(8)  # the client's own limit of 10 s is per read, and does not count
async def test_a_server_that_is_silent_is_named(silent: str) -> None:
    error = await fails(silent, timeout=SHORT)
    assert isinstance(error, Unreachable)
    assert error.message.endswith("did not answer within 0.2 s")
    assert error.hint == f"curl -v {silent}"


async def test_a_closed_port_and_a_name_without_an_address_are_told_apart() -> None:
    with serving(lambda asked: Reply()) as port:
        pass
    assert f"127.0.0.1:{port} does not answer" in (await fails(f"http://127.0.0.1:{port}/")).message
    assert "there is no host nowhere.invalid" in (await fails("https://nowhere.invalid/")).message


async def test_a_redirect_is_not_followed() -> None:
    seen: list[str] = []

    def redirect(asked: Asked) -> Reply:
        seen.append(asked.path)
        return Reply(302, b"", {"Location": "/elsewhere"})

    with serving(redirect) as port:
        error = await fails(f"http://127.0.0.1:{port}/here")
    assert "redirects are not followed" in error.message
    assert seen == ["/here"]


async def test_an_endless_answer_is_cut() -> None:
    with serving(lambda asked: Reply(200, b" " * (MAX_ANSWER + 1))) as port:
        assert "sent more than" in (await fails(f"http://127.0.0.1:{port}/")).message


async def test_a_compressed_answer_is_refused() -> None:
    packed = gzip.compress(b" " * 10_000_000)
    with serving(lambda asked: Reply(200, packed, {"Content-Encoding": "gzip"})) as port:
        assert "compressed" in (await fails(f"http://127.0.0.1:{port}/")).message


@pytest.mark.parametrize(("status", "kind"), [(503, Temporary), (429, Temporary), (404, Unreachable), (200, Unreachable)])
async def test_what_is_no_json_is_named_by_kind(status: int, kind: type[AirtunnelError]) -> None:
    with serving(lambda asked: Reply(status, b"<html>")) as port:
        error = await fails(f"http://127.0.0.1:{port}/x")
    assert type(error) is kind
    assert f"127.0.0.1:{port}" in error.message


async def test_a_proxy_from_the_environment_is_used_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda asked: Reply()) as port:  # which refuses CONNECT
        monkeypatch.setenv("HTTPS_PROXY", f"http://somebody:secret@127.0.0.1:{port}")
        monkeypatch.delenv("https_proxy", raising=False)
        error = await fails("https://login.example.com/x")
    assert isinstance(error, Unreachable)
    assert error.message.startswith("127.0.0.1 did not let us through to login.example.com: 501")
    assert "secret" not in error.message


async def test_plain_http_to_this_machine_never_goes_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    def note(asked: Asked) -> Reply:
        seen.append(asked.path)
        return Reply(502)

    with serving(note) as proxy, serving(lambda asked: Reply(200, b"{}")) as port:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        async with http_client() as client:
            for host in ("127.0.0.1", "localhost"):
                assert await get_json(client, f"http://{host}:{port}/") == {}
    assert seen == []


@pytest.mark.parametrize("secret", ["secret\r\nX-Role: admin", "secret\nmore", "secr\u00e9t", "secret\0"])
async def test_what_no_header_may_hold_is_not_sent_and_not_quoted(secret: str) -> None:
    async with http_client() as client:
        for given in ({"bearer": secret}, {"headers": {"DPoP": secret}}):
            with pytest.raises(ProtocolError, match="characters that no header may have") as caught:
                await send(client, "GET", "https://127.0.0.1:1/", **given)
            assert "secr" not in f"{caught.value}{caught.value.__cause__}"
