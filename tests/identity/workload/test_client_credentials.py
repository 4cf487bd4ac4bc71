import json
import logging
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from joserfc import jwt
from joserfc.jwk import JWKRegistry

from airtunnel.errors import AirtunnelError, ConfigError, LoginFailed, LoginRequired, ProtocolError, Temporary, Unreachable
from airtunnel.identity.compact import read_parts
from airtunnel.identity.http import MAX_ANSWER
from airtunnel.identity.workload.client_credentials import ClientCredentials
from airtunnel.identity.workload.present import WorkloadIdentity
from airtunnel.wire.control import Published, WorkloadIssuer
from tests.identity.provider import Provider, providing, published_by, reply
from tests.identity.server import Reply, make_certificate, serving

from .keys import jwk, keep
from .tokens import AUDIENCE, COMPANY, GITHUB, made

KEY = JWKRegistry.generate_key("EC", "P-256", {"kid": "job-key"})


class Client:
    """A machine with a client and a key, whose clock can be turned."""

    def __init__(self, directory: Path, provider: Provider, **more: str) -> None:
        self.environment = {
            "AIRTUNNEL_CLIENT_ID": "job",
            "AIRTUNNEL_CLIENT_KEY_FILE": str(keep(directory / "key", jwk(KEY))),
        } | more
        self.provider = provider
        self.late = timedelta()
        self.count = 0
        self.source = ClientCredentials(self.environment, clock=self.clock)
        self.identity = WorkloadIdentity(self.source, clock=self.clock)
        self.published: Published = replace(
            published_by(COMPANY),
            workloads=(WorkloadIssuer(GITHUB, "github", AUDIENCE), WorkloadIssuer(provider.issuer, "oidc", AUDIENCE)),
        )

    def clock(self) -> datetime:
        return datetime.now(UTC) + self.late

    def will(self, *answers: Reply) -> None:
        self.provider.script["/token"].extend(answers)

    def grant(self, life: int | None = 600, **more: object) -> Reply:
        self.count += 1
        token = made(self.provider.issuer, exp=int(time.time()) + 600, jti=str(self.count))
        return reply({"access_token": token, "token_type": "Bearer"} | ({"expires_in": life} if life else {}) | more)

    async def token(self) -> str:
        return (await self.identity.present(self.published)).token

    async def fails(self) -> AirtunnelError:
        with pytest.raises(AirtunnelError) as caught:
            await self.token()
        told = json.dumps(caught.value.as_json())
        assert not any(form["client_assertion"] in told for form in self.provider.forms)
        assert "U0lHTkFUVVJF" not in told
        assert str(KEY.as_dict(private=True)["d"]) not in told
        return caught.value


@pytest.fixture
def client(tmp_path: Path, provider: Provider) -> Client:
    return Client(tmp_path, provider)


async def test_a_client_proves_its_key_and_gets_a_token(client: Client) -> None:
    client.will(client.grant())
    token = await client.token()
    (form,) = client.provider.forms
    assert read_parts(token)[1]["iss"] == client.provider.issuer
    assert form["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    assert {name: form.get(name) for name in ("grant_type", "client_id", "audience", "scope", "client_secret")} == {
        "grant_type": "client_credentials",
        "client_id": "job",
        "audience": AUDIENCE,
        "scope": None,
        "client_secret": None,
    }
    proof = jwt.decode(form["client_assertion"], KEY, algorithms=["ES256"])
    assert (proof.header["kid"], proof.claims["iss"], proof.claims["sub"]) == ("job-key", "job", "job")
    assert proof.claims["aud"] == client.provider.issuer
    assert "authorization" not in client.provider.headers[0]


async def test_a_provider_that_wants_its_endpoint_in_the_assertion_gets_it_in_a_new_one(client: Client) -> None:
    client.will(reply({"error": "invalid_client", "error_description": "aud must be the endpoint"}, 401), client.grant())
    await client.token()
    first, second = (read_parts(form["client_assertion"])[1] for form in client.provider.forms)
    assert (first["aud"], second["aud"]) == (client.provider.issuer, f"{client.provider.issuer}/token")
    assert first["jti"] != second["jti"]


async def test_a_token_is_kept_until_a_minute_before_its_end(client: Client) -> None:
    client.will(client.grant(600), client.grant(600))
    token = await client.token()
    client.late = timedelta(seconds=530)
    assert await client.token() == token
    client.late = timedelta(seconds=545)
    assert await client.token() != token
    assert len(client.provider.forms) == 2


async def test_the_token_itself_may_say_that_it_ends_sooner(client: Client) -> None:
    client.will(client.grant(86_400), client.grant(86_400))
    token = await client.token()
    client.late = timedelta(seconds=545)
    assert await client.token() != token


async def test_tokens_for_two_gateways_are_kept_apart(client: Client) -> None:
    other = replace(client.published, workloads=(WorkloadIssuer(client.provider.issuer, "oidc", "other"),))
    client.will(client.grant(), reply({"access_token": made(client.provider.issuer, "other"), "expires_in": 600}))
    await client.token()
    await client.identity.present(other)
    assert [form["audience"] for form in client.provider.forms] == [AUDIENCE, "other"]
    await client.token()
    await client.identity.present(other)
    assert len(client.provider.forms) == 2


async def test_a_key_that_was_replaced_is_used(client: Client) -> None:
    client.will(client.grant(30), client.grant(30))
    await client.token()
    fresh = JWKRegistry.generate_key("EC", "P-256", {"kid": "fresh"})
    keep(Path(client.environment["AIRTUNNEL_CLIENT_KEY_FILE"]), jwk(fresh))
    await client.token()
    assert read_parts(client.provider.forms[1]["client_assertion"])[0]["kid"] == "fresh"


async def test_the_scope_is_the_one_of_the_variable(tmp_path: Path, provider: Provider) -> None:
    client = Client(tmp_path, provider, AIRTUNNEL_SCOPE="api://gateway/.default")
    client.will(client.grant())
    await client.token()
    assert provider.forms[0]["scope"] == "api://gateway/.default"


async def test_the_issuer_may_be_said_and_must_be_one_of_the_gateways(tmp_path: Path, provider: Provider) -> None:
    client = Client(tmp_path, provider, AIRTUNNEL_ISSUER=provider.issuer)
    first = WorkloadIssuer("https://first.example.com", "okta", AUDIENCE)
    client.published = replace(client.published, workloads=(first, *client.published.workloads))
    client.will(client.grant())
    await client.token()
    client.environment["AIRTUNNEL_ISSUER"] = "https://elsewhere.example.com"
    error = await client.fails()
    assert isinstance(error, LoginFailed)
    assert (
        "AIRTUNNEL_ISSUER is 'https://elsewhere.example.com', whose tokens gateway.example.com does not take" in error.message
    )
    assert provider.issuer in error.details


async def test_without_an_entry_of_its_own_the_peoples_provider_is_asked(client: Client) -> None:
    client.published = replace(published_by(client.provider.issuer), request={"resource": AUDIENCE, "prompt": "login"})
    client.will(client.grant())
    await client.token()
    (form,) = client.provider.forms
    assert (form["resource"], form["audience"], form.get("prompt")) == (AUDIENCE, AUDIENCE, None)


async def test_an_endpoint_that_the_gateway_names_gets_no_assertion_for_the_issuer(client: Client) -> None:
    """Else a gateway could name its own address, and use there what was made for the provider."""
    with providing() as thief:
        client.published = replace(published_by(client.provider.issuer), endpoints={"token_endpoint": f"{thief.issuer}/token"})
        thief.script["/token"].extend([reply({"error": "invalid_client"}, 401)] * 2)
        await client.fails()
        assert [read_parts(form["client_assertion"])[1]["aud"] for form in thief.forms] == [f"{thief.issuer}/token"]
    assert client.provider.forms == []


async def test_an_endpoint_without_encryption_gets_nothing(client: Client) -> None:
    client.published = replace(published_by(COMPANY), endpoints={"token_endpoint": f"{client.provider.issuer}/token"})
    assert isinstance(await client.fails(), ProtocolError)
    assert client.provider.forms == []


async def test_the_peoples_provider_may_be_vouched_for_by_the_gateway(tmp_path: Path, provider: Provider) -> None:
    tls, ca = make_certificate(tmp_path)
    with serving(provider.handle, tls) as port:
        provider.issuer = f"https://127.0.0.1:{port}"
        client = Client(tmp_path, provider)
        client.published = published_by(provider.issuer)
        assert "is not trusted" in (await client.fails()).message
        client.published = replace(client.published, ca=ca.read_text())
        client.will(client.grant())
        await client.token()


@pytest.mark.parametrize("name", ["AIRTUNNEL_CLIENT_ID", "AIRTUNNEL_CLIENT_KEY_FILE"])
async def test_what_is_not_set_is_named(client: Client, name: str) -> None:
    del client.environment[name]
    error = await client.fails()
    assert (type(error), error.message) == (LoginRequired, f"{name} is not set")


async def test_a_bad_key_is_named_before_anybody_is_asked(client: Client) -> None:
    keep(Path(client.environment["AIRTUNNEL_CLIENT_KEY_FILE"]), "nonsense")
    assert isinstance(await client.fails(), ConfigError)
    assert not client.provider.asked


@pytest.mark.parametrize(
    ("code", "status", "advice"),
    [
        ("invalid_client", 401, "must be registered there, with private_key_jwt"),
        ("unauthorized_client", 400, "must be allowed the grant client_credentials"),
        ("invalid_scope", 400, "set AIRTUNNEL_SCOPE"),
        ("invalid_request", 400, ""),
    ],
)
async def test_a_refusal_is_told_in_the_providers_words(client: Client, code: str, status: int, advice: str) -> None:
    client.will(*[reply({"error": code, "error_description": "because\x1b[2J"}, status)] * 2)
    error = await client.fails()
    assert type(error) is LoginFailed
    assert f"gave this client no token: {code}: because[2J" in error.message
    assert advice in "".join(error.details)


async def test_an_assertion_that_is_sent_back_is_not_shown(client: Client) -> None:
    handle = client.provider.handle

    def echo(asked: object) -> Reply:
        answer = handle(asked)  # type: ignore[arg-type]  # it is an Asked
        if client.provider.forms:
            sent = client.provider.forms[-1]["client_assertion"]
            return reply({"error": "invalid_client", "error_description": f"bad: {sent}"}, 401)
        return answer

    with serving(echo) as port:
        client.provider.issuer = f"http://127.0.0.1:{port}"
        client.published = replace(client.published, workloads=(WorkloadIssuer(client.provider.issuer, "oidc", AUDIENCE),))
        error = await client.fails()
    assert error.message.endswith("gave this client no token: invalid_client")


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (Reply(503), Temporary, "HTTP 503"),
        (Reply(429), Temporary, "HTTP 429"),
        (reply({"error": "temporarily_unavailable"}, 400), Temporary, "HTTP 400"),
        (Reply(302, b"", {"Location": "http://127.0.0.1:1/"}), Unreachable, "redirects are not followed"),
        (Reply(200, b"<html>"), Unreachable, "something other than a JSON object"),
        (reply([]), Unreachable, "something other than a JSON object"),
        (reply({}), Unreachable, "without an access token"),
        (reply({"access_token": 7}), Unreachable, "without an access token"),
        (Reply(200, b"x" * (MAX_ANSWER + 1)), Unreachable, "sent more than"),
        (reply({"access_token": "opaque"}), LoginFailed, "is not a signed JWT"),
        (reply({"access_token": "opaque\r\nX: y"}), LoginFailed, "is not a signed JWT"),
        (reply({"access_token": made("https://evil")}), LoginFailed, "was made by https://evil"),
    ],
)
async def test_what_may_come_instead_of_a_token_has_its_error(
    client: Client, answer: Reply, kind: type[AirtunnelError], words: str
) -> None:
    client.will(answer)
    error = await client.fails()
    assert type(error) is kind
    assert words in error.message


async def test_a_token_for_another_api_is_not_shown_and_not_kept_from_being_mended(client: Client) -> None:
    client.will(reply({"access_token": made(client.provider.issuer, "account"), "expires_in": 600}), client.grant())
    error = await client.fails()
    assert f"for account, and not for {AUDIENCE}" in error.message
    assert error.details[-1] == f"at the provider: this client's access tokens must be JWTs for {AUDIENCE}"
    await client.token()


async def test_nothing_secret_is_logged_or_in_a_repr(client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client.will(client.grant())
    token = await client.token()
    written = caplog.text + repr(client.source) + repr(client.identity)
    assert token not in written
    assert client.provider.forms[0]["client_assertion"] not in written
