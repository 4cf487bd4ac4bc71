import base64
import time
from dataclasses import replace
from pathlib import Path

import pytest

from airtunnel.errors import LoginFailed, ProtocolError, Unreachable
from airtunnel.identity.login.drive import log_in, refresh, revoke
from tests.identity.logins import Login
from tests.identity.provider import Provider, published_by, reply
from tests.identity.server import Reply, make_certificate, serving

PENDING = reply({"error": "authorization_pending"}, 400)


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


async def test_a_provider_that_refuses_the_flow_sends_to_the_operator_and_to_the_other_flow(provider: Provider) -> None:
    provider.script["/device"].append(reply({"error": "unauthorized_client"}, 400))
    with pytest.raises(LoginFailed, match="does not let airtunnel-cli log in by device code: unauthorized_client") as caught:
        await Login().run(replace(published_by(provider.issuer), flows=("device", "browser")))
    assert "`flows` of its `providers` in gateway.yaml" in caught.value.details[0]
    assert caught.value.details[-1] == "`--flow browser` logs in with the browser instead"


async def test_hints_name_the_gateway_as_the_person_does(provider: Provider) -> None:
    provider.script["/token"].append(reply({"error": "access_denied"}, 403))
    with pytest.raises(LoginFailed) as caught:
        await log_in(published_by(provider.issuer), show=lambda prompt: None, sleep=Login().sleep, gateway="gw:8443")
    assert caught.value.hint == "airtunnel login gw:8443"


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


async def test_a_login_by_code_takes_along_what_the_operator_wants(provider: Provider) -> None:
    published = replace(published_by(provider.issuer), request={"resource": "https://a", "audience": "api", "scope": "all"})
    await Login().run(published)
    begun, polled = provider.forms
    assert (begun["resource"], begun["audience"], begun["scope"]) == ("https://a", "api", "openid email offline_access")
    assert polled["resource"] == "https://a"
    assert "audience" not in polled


async def test_the_gateway_vouches_for_its_provider(tmp_path: Path) -> None:
    tls, ca = make_certificate(tmp_path)
    provider = Provider("")
    with serving(provider.handle, tls) as port:
        provider.issuer = f"https://127.0.0.1:{port}"
        published = replace(published_by(provider.issuer), ca=ca.read_text())
        tokens = await Login().run(published)
        renewed = await refresh(published, tokens)
        assert await revoke(published, renewed)
        with pytest.raises(Unreachable, match="is not trusted"):
            await Login().run(replace(published, ca=None))


async def test_the_gateway_knows_an_endpoint_better_than_its_provider(provider: Provider) -> None:
    provider.metadata = {"device_authorization_endpoint": None}
    published = replace(published_by(provider.issuer), endpoints={"device_authorization_endpoint": f"{provider.issuer}/device"})
    assert (await Login().run(published)).subject == "00u1"
