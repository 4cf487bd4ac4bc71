import pytest

from airtunnel.errors import ProtocolError, UsageError
from airtunnel.identity.endpoint import gateway_name, is_loopback, same_site, secure_url


@pytest.mark.parametrize(
    "url", ["https://login.example.com/a?b=c", "http://127.0.0.1:9/x", "http://localhost/", "http://[::1]:80/"]
)
def test_https_and_loopback_http_may_be_talked_to(url: str) -> None:
    assert secure_url(url, "the page").hostname


@pytest.mark.parametrize(
    "url",
    [
        "http://login.example.com/",
        "http://127.0.0.1.example.com/",
        "http://localhost.example.com/",
        "ftp://login.example.com/",
        "javascript:alert(1)",
        "file:///etc/passwd",
        "https://",
        "https:///path",
        "//login.example.com/",
        "https://login.example.com@evil.example/",
        "https://:pw@evil.example/",
        "https://evil.example\\@login.example.com/",
        "https://login.example.com/\x1b[2J",
        "https://login.example.com/ a",
        "https://login.example.com:port/",
        "https://login.example.com:99999/",
        "https://[::1/",
        "https://ex\u202eample.com/",
        "",
    ],
)
def test_no_other_url_may_be_talked_to(url: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        secure_url(url, "the page")
    assert caught.value.message.startswith("the page is not")
    assert caught.value.message.isprintable()


def test_loopback_http_can_be_forbidden() -> None:
    with pytest.raises(ProtocolError, match="is not https"):
        secure_url("http://127.0.0.1/", "the page", loopback=False)


def test_loopback_is_this_machine_only() -> None:
    assert all(map(is_loopback, ["localhost", "127.0.0.1", "127.9.9.9", "::1"]))
    assert not any(map(is_loopback, ["0.0.0.0", "10.0.0.1", "localhost.example.com", "::", "example.com", ""]))


def test_a_site_is_a_host_and_what_lies_below_it() -> None:
    assert same_site("login.example.com", "login.example.com")
    assert same_site("eu.login.example.com", "login.example.com")
    assert not same_site("evillogin.example.com", "login.example.com")
    assert not same_site("example.com", "login.example.com")


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("gateway.example.com", "gateway.example.com"),
        (" Gateway.Example.COM ", "gateway.example.com"),
        ("https://gateway.example.com/", "gateway.example.com"),
        ("gateway.example.com:443", "gateway.example.com"),
        ("gateway.example.com:8443", "gateway.example.com:8443"),
        ("HTTPS://gateway.example.com:8443", "gateway.example.com:8443"),
        ("[::1]:8443", "[::1]:8443"),
    ],
)
def test_a_gateway_has_one_spelling(typed: str, name: str) -> None:
    assert gateway_name(typed) == name


@pytest.mark.parametrize(
    "typed",
    [
        "",
        "http://gateway.example.com",
        "ssh://gateway",
        "a b",
        "gateway/path",
        "gateway?x",
        "user@gateway",
        "gateway:port",
        "a\nb",
    ],
)
def test_what_is_no_gateway_is_a_usage_error_with_an_example(typed: str) -> None:
    with pytest.raises(UsageError) as caught:
        gateway_name(typed)
    assert caught.value.hint == "airtunnel login gateway.example.com"
    assert caught.value.message.isprintable()
