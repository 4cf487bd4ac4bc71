import base64
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from airtunnel.errors import AirtunnelError, LoginFailed, LoginRequired, Temporary, Unreachable
from airtunnel.identity.compact import read_parts
from airtunnel.identity.login.renew import refresh, revoke
from airtunnel.identity.proof import ProofKey
from airtunnel.identity.tokenset import Bound, TokenSet
from airtunnel.model import BrowserClient
from tests.identity.provider import CLIENT, Provider, published_by, reply
from tests.identity.server import Reply

TOKENS = TokenSet("old", None, "refresh-0", datetime(2025, 1, 1, tzinfo=UTC), "00u1", "ana@example.com", "")


def old_tokens(provider: Provider) -> TokenSet:
    provider.live.add("refresh-0")
    return replace(TOKENS, issuer=provider.issuer)


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


@pytest.mark.parametrize(
    ("error", "setting"),
    [("invalid_client", "client_id, client_secret"), ("invalid_scope", "scopes"), ("invalid_target", "request")],
)
async def test_what_the_gateways_operator_must_mend_says_where(provider: Provider, error: str, setting: str) -> None:
    provider.script["/token"].append(reply({"error": error, "error_description": "refresh-0 is what you sent"}, 400))
    with pytest.raises(LoginFailed, match=rf"does not renew your login: {error}: \.\.\. is what you sent") as caught:
        await refresh(published_by(provider.issuer), old_tokens(provider))
    assert f"(`{setting}` of its `providers` in gateway.yaml)" in caught.value.details[0]


async def test_each_login_is_renewed_and_revoked_by_its_own_client(provider: Provider) -> None:
    published = replace(
        published_by(provider.issuer, client_secret="one"), browser=BrowserClient(client_id="desktop", client_secret="two")
    )
    for client, named in ((CLIENT, b"airtunnel-cli:one"), ("desktop", b"desktop:two"), ("", b"airtunnel-cli:one")):
        refresh_token = str(provider.login(client or CLIENT)["refresh_token"])
        tokens = replace(TOKENS, issuer=provider.issuer, refresh_token=refresh_token, client_id=client)
        renewed = await refresh(published, tokens)
        assert renewed.client_id == client
        assert await revoke(published, renewed)
        for headers in provider.headers[-2:]:
            assert base64.b64decode(headers["authorization"].removeprefix("Basic ")) == named


async def test_a_login_of_a_client_that_is_gone_is_not_shown_to_another(provider: Provider) -> None:
    tokens = replace(old_tokens(provider), client_id="a client of old")
    with pytest.raises(LoginRequired, match="with another client now") as caught:
        await refresh(published_by(provider.issuer), tokens, gateway="gw")
    assert caught.value.hint == "airtunnel login gw"
    assert await revoke(published_by(provider.issuer), tokens) is False
    assert provider.asked.total() == 0


@pytest.mark.parametrize("nonce", [None, "the-provider's"])
async def test_a_bound_login_is_renewed_with_a_proof_of_its_key(provider: Provider, nonce: str | None) -> None:
    provider.dpop, provider.dpop_nonce = True, nonce
    key = ProofKey.generate()
    first = provider.login(key=key.thumbprint)
    tokens = replace(TOKENS, issuer=provider.issuer, refresh_token=str(first["refresh_token"]), bound=Bound("dpop", key.dump()))
    renewed = await refresh(published_by(provider.issuer), tokens)
    assert renewed.bound == tokens.bound
    assert read_parts(renewed.access_token)[1]["cnf"] == {"jkt": key.thumbprint}
    with pytest.raises(LoginRequired, match="has ended"):  # the provider knows whose it is
        await refresh(published_by(provider.issuer), replace(renewed, bound=None))


async def test_a_login_that_is_no_longer_tied_is_no_login_where_it_must_be(provider: Provider) -> None:
    tokens = replace(old_tokens(provider), bound=Bound("dpop", ProofKey.generate().dump()))
    with pytest.raises(LoginRequired, match="did not tie the token"):
        await refresh(replace(published_by(provider.issuer), binding="dpop"), tokens)
    provider.live.add("refresh-00")
    again = replace(tokens, refresh_token="refresh-00")
    assert (await refresh(replace(published_by(provider.issuer), binding="auto"), again)).bound is None


@pytest.mark.parametrize("binding", ["dpop", "nonce"])
async def test_a_login_from_before_the_gateway_tied_them_asks_for_a_new_one(provider: Provider, binding: str) -> None:
    with pytest.raises(LoginRequired, match="tied to a key now"):
        await refresh(replace(published_by(provider.issuer), binding=binding), old_tokens(provider))
    assert provider.asked.total() == 0


async def test_the_resource_is_said_again_at_each_renewal(provider: Provider) -> None:
    published = replace(published_by(provider.issuer), request={"resource": "https://a", "audience": "api"})
    await refresh(published, old_tokens(provider))
    assert provider.forms[0]["resource"] == "https://a"
    assert "audience" not in provider.forms[0]
