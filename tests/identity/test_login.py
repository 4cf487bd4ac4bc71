import base64
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from airtunnel.errors import AirtunnelError, LoginFailed, LoginRequired, ProtocolError, Temporary, Unreachable
from airtunnel.identity.device import DevicePrompt
from airtunnel.identity.login import log_in, refresh, revoke
from airtunnel.identity.tokenset import TokenSet
from airtunnel.wire.control import Published

from .provider import Provider, published_by, reply
from .server import Reply

PENDING = reply({"error": "authorization_pending"}, 400)
TOKENS = TokenSet("old", None, "refresh-0", datetime(2025, 1, 1, tzinfo=UTC), "00u1", "ana@example.com", "")


class Login:
    """A login whose waits take no time, and which notes what was shown and waited."""

    def __init__(self) -> None:
        self.shown: list[DevicePrompt] = []
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def run(self, published: Published, timeout: float = 180) -> TokenSet:
        return await log_in(published, show=self.shown.append, timeout=timedelta(seconds=timeout), sleep=self.sleep)


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address at which nobody listens, and nobody else can."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def old_tokens(provider: Provider) -> TokenSet:
    provider.live.add("refresh-0")
    return replace(TOKENS, issuer=provider.issuer)


async def test_a_person_logs_in_through_everything_a_provider_may_do_in_between(provider: Provider) -> None:
    provider.script["/token"].extend(
        [
            PENDING,
            reply({"error": "slow_down"}, 400),
            Reply(429, b"<html>", {"Retry-After": "17"}),
            Reply(503),
            reply({"error": "authorization_pending"}, 428),
        ]
    )
    login = Login()
    tokens = await login.run(published_by(provider.issuer))
    assert login.waits == [5, 5, 10, 20, 40, 10]
    assert [(one.user_code, one.host) for one in login.shown] == [("WDJB-MJHT", provider.issuer.removeprefix("http://"))]
    assert (tokens.subject, tokens.name, tokens.issuer) == ("00u1", "ana@example.com", provider.issuer)
    assert tokens.refresh_token == "refresh-1"
    assert tokens.expires_at.timestamp() <= time.time() + 3600


async def test_each_request_names_the_client_once(provider: Provider) -> None:
    await Login().run(published_by(provider.issuer))
    assert [form["client_id"] for form in provider.forms] == ["airtunnel-cli"] * 2
    assert not any("client_secret" in form for form in provider.forms)


@pytest.mark.parametrize("methods", [None, ["client_secret_basic"]])
async def test_a_client_with_a_secret_shows_it_as_the_provider_likes_in_the_header(provider: Provider, methods: object) -> None:
    if methods is not None:
        provider.metadata = {"token_endpoint_auth_methods_supported": methods}
    await Login().run(published_by(provider.issuer, client_secret="a:b%ü"))
    for headers, form in zip(provider.headers, provider.forms, strict=True):
        # RFC 6749 section 2.3.1: both are form-encoded before they are joined.
        assert base64.b64decode(headers["authorization"].removeprefix("Basic ")) == b"airtunnel-cli:a%3Ab%25%C3%BC"
        assert "client_secret" not in form


async def test_a_client_with_a_secret_shows_it_as_the_provider_likes_in_the_form(provider: Provider) -> None:
    provider.metadata = {"token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"]}
    await Login().run(published_by(provider.issuer, client_secret="a:b%ü"))
    assert [form["client_secret"] for form in provider.forms] == ["a:b%ü"] * 2
    assert not any("authorization" in headers for headers in provider.headers)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ([reply({"error": "access_denied"}, 403)], "was refused at"),
        ([PENDING, reply({"error": "expired_token"}, 400)], "has expired"),
        ([Reply(400)], "HTTP 400 without a reason"),
    ],
)
async def test_a_login_that_fails_says_how_and_what_to_type(provider: Provider, answers: list[Reply], words: str) -> None:
    provider.script["/token"].extend(answers)
    with pytest.raises(LoginFailed, match=words) as caught:
        await Login().run(published_by(provider.issuer))
    assert caught.value.hint == "airtunnel login gateway.example.com"


async def test_a_login_that_nobody_approves_ends_after_its_time(provider: Provider) -> None:
    provider.approved = False
    login = Login()
    with pytest.raises(LoginFailed, match="nobody approved the login within 180 s"):
        await login.run(published_by(provider.issuer))
    assert 150 < sum(login.waits) <= 180


async def test_a_provider_without_device_login_is_named(provider: Provider) -> None:
    provider.metadata = {"device_authorization_endpoint": None}
    with pytest.raises(LoginFailed, match=f"{provider.issuer} offers no login by device code"):
        await Login().run(published_by(provider.issuer))


async def test_a_flow_of_a_later_version_asks_for_that_version() -> None:
    with pytest.raises(LoginFailed, match="cannot log in as the gateway asks: telepathy") as caught:
        await Login().run(replace(published_by("https://login.example.com"), flows=("telepathy",)))
    assert caught.value.hint == "pip install --upgrade airtunnel"


async def test_a_provider_that_does_not_answer_is_named(nobody: str) -> None:
    with pytest.raises(Unreachable, match=nobody.removeprefix("http://")):
        await Login().run(published_by(nobody))


async def test_a_page_on_another_site_is_never_shown(provider: Provider) -> None:
    provider.script["/device"].append(
        reply({"device_code": "d", "user_code": "A", "verification_uri": "https://evil.example/", "expires_in": 600})
    )
    login = Login()
    with pytest.raises(ProtocolError, match=r"sends you to evil\.example"):
        await login.run(published_by(provider.issuer))
    assert login.shown == []


async def test_a_refresh_gives_new_tokens_for_the_same_person(provider: Provider) -> None:
    tokens = await refresh(published_by(provider.issuer), old_tokens(provider))
    assert (tokens.refresh_token, tokens.subject) == ("refresh-1", "00u1")
    assert provider.forms == [{"grant_type": "refresh_token", "refresh_token": "refresh-0", "client_id": "airtunnel-cli"}]


@pytest.mark.parametrize(
    "last",
    [
        reply({"error": "invalid_grant"}, 400),
        Reply(400),
        Reply(401),
        Reply(400, b"<html>"),
        reply({"error": "invalid_grant"}, 401),
    ],
)
async def test_a_dead_login_asks_for_a_new_one_at_this_gateway(provider: Provider, last: Reply) -> None:
    provider.script["/token"].append(last)
    with pytest.raises(LoginRequired, match=f"your login at {provider.issuer} has ended") as caught:
        await refresh(published_by(provider.issuer), old_tokens(provider), gateway="gw.example.com:8443")
    assert caught.value.hint == "airtunnel login gw.example.com:8443"


async def test_without_a_refresh_token_nobody_is_asked() -> None:
    with pytest.raises(LoginRequired, match="cannot be renewed") as caught:
        await refresh(published_by("https://login.example.com"), replace(TOKENS, refresh_token=None))
    assert caught.value.hint == "airtunnel login gateway.example.com"


@pytest.mark.parametrize(
    ("last", "kind"),
    [
        (Reply(503), Temporary),
        (Reply(500, b'{"error":"x"}'), Temporary),
        (Reply(429, b"<html>"), Temporary),
        (reply({"error": "temporarily_unavailable"}, 400), Temporary),
        (Reply(404), Unreachable),
        (Reply(403, b"<html>"), Unreachable),
        (Reply(302, b"", {"Location": "https://evil.example/"}), Unreachable),
        (Reply(200, b"<html>"), Unreachable),
        (reply({"error": "invalid_client"}, 401), LoginFailed),
        (reply({"token_type": "Bearer"}), LoginRequired),
    ],
)
async def test_a_refresh_that_fails_otherwise_names_the_issuer(
    provider: Provider, last: Reply, kind: type[AirtunnelError]
) -> None:
    provider.script["/token"].append(last)
    with pytest.raises(AirtunnelError, match=provider.issuer) as caught:
        await refresh(published_by(provider.issuer), old_tokens(provider))
    assert type(caught.value) is kind
    assert "refresh-0" not in caught.value.message


async def test_a_refresh_at_a_provider_that_is_down_names_it(nobody: str) -> None:
    with pytest.raises(Unreachable, match=nobody.removeprefix("http://")):
        await refresh(published_by(nobody), replace(TOKENS, issuer=nobody))


async def test_logging_out_revokes_the_refresh_token(provider: Provider) -> None:
    assert await revoke(published_by(provider.issuer), old_tokens(provider)) is True
    assert provider.revoked == ["refresh-0"]
    assert provider.forms[-1]["token_type_hint"] == "refresh_token"


async def test_without_a_refresh_token_the_access_token_is_revoked(provider: Provider) -> None:
    assert await revoke(published_by(provider.issuer), replace(TOKENS, refresh_token=None)) is True
    assert provider.revoked == ["old"]


async def test_what_was_not_confirmed_counts_as_not_revoked(provider: Provider, nobody: str) -> None:
    published = published_by(provider.issuer)
    provider.script["/revoke"].append(Reply(503))
    assert await revoke(published, old_tokens(provider)) is False
    assert await revoke(published, replace(TOKENS, refresh_token=None, access_token="")) is False
    assert await revoke(published_by(nobody), old_tokens(provider)) is False
    provider.metadata = {"revocation_endpoint": None}
    assert await revoke(published, old_tokens(provider)) is False
    assert provider.revoked == []
