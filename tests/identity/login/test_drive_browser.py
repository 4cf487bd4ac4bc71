import asyncio
import base64
import socket
from html import escape

import httpx2
import pytest

from airtunnel.errors import AddressTaken, LoginFailed
from airtunnel.identity.compact import read_parts
from airtunnel.identity.login.drive import Flow, refresh
from airtunnel.identity.proof import ProofKey, commitment
from airtunnel.model import BrowserClient
from tests.identity.logins import AtBrowser, in_browser
from tests.identity.provider import CLIENT, Provider, reply
from tests.identity.server import Reply
from tests.identity.visitor import Visitor


async def test_a_person_logs_in_with_the_browser(provider: Provider) -> None:
    login = AtBrowser()
    tokens = await login.open(in_browser(provider))
    assert (tokens.subject, tokens.refresh_token, tokens.client_id, tokens.bound) == ("00u1", "refresh-2", CLIENT, None)
    assert "You are logged in" in login.page
    assert login.said == []
    (request,), (form,) = provider.requests, provider.forms
    assert "code_challenge=" in login.visitor.prompts[0].url
    assert request["code_challenge_method"] == "S256"
    assert form["code_verifier"] not in login.visitor.prompts[0].url
    assert request["redirect_uri"].startswith("http://127.0.0.1:")
    with pytest.raises(httpx2.ConnectError):
        await httpx2.AsyncClient(trust_env=False).get(request["redirect_uri"])


async def test_every_login_has_a_state_a_nonce_and_a_verifier_of_its_own(provider: Provider) -> None:
    for _ in range(2):
        await AtBrowser().open(in_browser(provider))
    one, two = ({**request, **form} for request, form in zip(provider.requests, provider.forms, strict=True))
    for name in ("state", "nonce", "code_challenge", "code_verifier"):
        assert one[name] != two[name]
        assert min(len(one[name]), len(two[name])) >= 43


@pytest.mark.parametrize(
    ("back", "claims", "words"),
    [
        ({"iss": "https://evil.example"}, {}, r"came back from https://evil\.example"),
        ({"iss": None}, {}, "without saying from where"),
        ({"error": "access_denied", "code": None}, {}, "the login was refused at 127.0.0.1"),
        ({"error": "x", "error_description": "<script>alert(1)</script>\x1b[2J"}, {}, r"x: <script>alert\(1\)</script>\[2J$"),
        ({}, {"nonce": "another"}, "made for another login"),
        ({}, {"nonce": None}, "made for another login"),
        ({}, {"aud": "another-client"}, "made by or for somebody else"),
        ({}, {"iss": "https://evil.example"}, "made by or for somebody else"),
        ({"code": "of-somebody-else"}, {}, "does not take its own code for the login: invalid_grant"),
    ],
)
async def test_a_hostile_answer_ends_the_login_in_words(
    provider: Provider, back: dict[str, str | None], claims: dict[str, str | None], words: str
) -> None:
    provider.metadata = {"authorization_response_iss_parameter_supported": True}
    provider.back, provider.claims = back, claims
    login = AtBrowser()
    with pytest.raises(LoginFailed, match=words) as caught:
        await login.open(in_browser(provider))
    assert "You are not logged in" in login.page
    assert escape(caught.value.message) in login.page
    assert "<script" not in login.page
    assert caught.value.hint == "airtunnel login gateway.example.com"


async def test_a_code_that_was_made_for_another_client_is_refused(provider: Provider) -> None:
    provider.clients.append("another-client")
    provider.codes["theirs"] = {"client_id": "another-client", "redirect_uri": "x", "code_challenge": "y"}
    provider.back = {"code": "theirs"}
    with pytest.raises(LoginFailed, match="invalid_grant"):
        await AtBrowser().open(in_browser(provider))


async def test_a_wrong_state_ends_nothing_and_the_login_goes_on(provider: Provider) -> None:
    provider.back = {"state": "of-a-stray-page"}
    login = AtBrowser()
    logging_in = asyncio.ensure_future(login.open(in_browser(provider)))
    await login.visitor.arrived.wait()
    assert login.visitor.pages[0].status_code == 400
    assert not logging_in.done()
    provider.back = {}
    login.visitor.open(login.visitor.prompts[0])
    assert (await logging_in).subject == "00u1"


async def test_a_browser_that_never_comes_back_ends_the_login_after_its_time(provider: Provider) -> None:
    login = AtBrowser(Visitor(follows=False))
    with pytest.raises(LoginFailed, match=r"nobody came back from the browser within 0\.3 s") as caught:
        async with asyncio.timeout(3):
            await login.open(in_browser(provider), timeout=0.3)
    assert caught.value.hint == "airtunnel login gateway.example.com"


async def test_a_person_without_a_browser_pastes_where_it_ended(provider: Provider) -> None:
    login = AtBrowser(Visitor(follows=False), ["\n", "hello\n", "http://127.0.0.1:1/callback?code=x&state=y\n", "{0}\n"])
    tokens = await login.open(in_browser(provider), local_browser=False)
    assert tokens.subject == "00u1"
    assert "there is no browser here" in login.said[0]
    assert "paste the whole address" in login.said[1]
    assert "the answer to another login" in login.said[2]
    assert len(login.said) == 3
    assert not any("code=x" in one for one in login.said)


async def test_after_the_last_line_only_the_browser_is_left(provider: Provider) -> None:
    login = AtBrowser(Visitor(follows=False))
    logging_in = asyncio.ensure_future(login.open(in_browser(provider)))
    await login.visitor.arrived.wait()
    login.visitor.follows = True
    login.visitor.open(login.visitor.prompts[0])
    assert (await logging_in).subject == "00u1"


async def test_the_client_of_the_browser_may_be_another_one(provider: Provider) -> None:
    provider.clients = ["desktop"]
    client = BrowserClient(client_id="desktop", client_secret="not so secret", path="/back", host="localhost")
    tokens = await AtBrowser().open(in_browser(provider, browser=client))
    assert (tokens.client_id, tokens.subject) == ("desktop", "00u1")
    assert provider.forms[0]["client_id"] == "desktop"
    assert base64.b64decode(provider.headers[0]["authorization"].removeprefix("Basic ")) == b"desktop:not+so+secret"
    assert provider.requests[0]["redirect_uri"].startswith("http://localhost:")
    assert provider.requests[0]["redirect_uri"].endswith("/back")


async def test_without_a_free_port_nobody_is_sent_anywhere(provider: Provider) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        client = BrowserClient(ports=(taken.getsockname()[1],))
        login = AtBrowser()
        with pytest.raises(AddressTaken, match=str(taken.getsockname()[1])) as caught:
            await login.open(in_browser(provider, browser=client, flows=("browser", "device")))
    assert login.visitor.prompts == []
    assert caught.value.hint == "airtunnel login gateway.example.com --flow device"


@pytest.mark.parametrize("refused", ["unauthorized_client", "unsupported_grant_type", "invalid_client", None])
async def test_nobody_is_stuck_with_codes_that_the_provider_refuses(provider: Provider, refused: str | None) -> None:
    provider.script["/device"].append(Reply(404) if refused is None else reply({"error": refused}, 400))
    login = AtBrowser()
    tokens = await login.open(in_browser(provider, flows=("device", "browser")))
    assert tokens.subject == "00u1"
    assert login.shown == []
    assert "logging in with a code" in login.said[0]
    assert "logging in with the browser: http" in login.said[1]
    assert "does not let airtunnel-cli log in by device code" in login.said[1]


@pytest.mark.parametrize("error", ["invalid_scope", "invalid_target"])
async def test_what_would_fail_in_the_browser_too_is_not_tried_there(provider: Provider, error: str) -> None:
    provider.script["/device"].append(reply({"error": error}, 400))
    login = AtBrowser()
    with pytest.raises(LoginFailed, match=error):
        await login.open(in_browser(provider, flows=("device", "browser")))
    assert login.visitor.prompts == []


async def test_a_flow_that_was_asked_for_is_the_only_one(provider: Provider) -> None:
    provider.script["/device"].append(reply({"error": "unauthorized_client"}, 400))
    login = AtBrowser()
    with pytest.raises(LoginFailed, match="unauthorized_client") as caught:
        await login.open(in_browser(provider, flows=("device", "browser")), flow="device")
    assert login.visitor.prompts == []
    assert "`--flow browser` logs in with the browser instead" in caught.value.details


@pytest.mark.parametrize("flow", ["device", "browser"])
@pytest.mark.parametrize("nonce", [None, "the-provider's"])
@pytest.mark.parametrize("binding", ["dpop", "auto"])
async def test_a_login_is_bound_to_a_key_of_this_machine(
    provider: Provider, binding: str, nonce: str | None, flow: Flow
) -> None:
    provider.dpop, provider.dpop_nonce = True, nonce
    provider.metadata = {"dpop_signing_alg_values_supported": ["ES256"]}
    login = AtBrowser()
    published = in_browser(provider, flows=(flow,), binding=binding)
    tokens = await login.open(published)
    assert tokens.bound is not None
    assert tokens.bound.kind == "dpop"
    key = ProofKey.load(tokens.bound.key)
    assert read_parts(tokens.access_token)[1]["cnf"] == {"jkt": key.thumbprint}
    assert [one.get("dpop_jkt") for one in provider.requests] == ([key.thumbprint] if flow == "browser" else [])
    assert (await refresh(published, tokens)).bound == tokens.bound


@pytest.mark.parametrize("flow", ["device", "browser"])
async def test_a_provider_that_binds_nothing_is_refused_where_it_must_and_borne_where_it_may(
    provider: Provider, flow: Flow
) -> None:
    provider.metadata = {"dpop_signing_alg_values_supported": ["ES256"]}
    with pytest.raises(LoginFailed, match=r"did not tie the token .*token_type Bearer"):
        await AtBrowser().open(in_browser(provider, flows=(flow,), binding="dpop"))
    assert (await AtBrowser().open(in_browser(provider, flows=(flow,), binding="auto"))).bound is None


async def test_a_login_is_bound_by_its_nonce(provider: Provider) -> None:
    published = in_browser(provider, token="id_token", binding="nonce")
    tokens = await AtBrowser().open(published)
    assert tokens.bound is not None
    assert (tokens.bound.kind, tokens.bound.origin) == ("nonce", tokens.id_token)
    assert "dpop_jkt" not in provider.requests[0]
    assert "dpop" not in provider.headers[0]
    key, salt = ProofKey.load(tokens.bound.key), tokens.bound.salt or ""
    assert read_parts(tokens.id_token or "")[1]["nonce"] == commitment(key.thumbprint, salt) == provider.requests[0]["nonce"]
    assert len(salt) >= 43
    renewed = await refresh(published, tokens)
    assert renewed.bound == tokens.bound
    assert "nonce" not in read_parts(renewed.id_token or "")[1]


async def test_a_login_leaves_no_secret_in_the_log(provider: Provider, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    provider.dpop = True
    tokens = await AtBrowser().open(in_browser(provider, binding="dpop"))
    secrets = [tokens.access_token, tokens.refresh_token, tokens.id_token, provider.forms[0]["code_verifier"]]
    assert tokens.bound is not None
    assert not any(str(one) in caplog.text for one in [*secrets, tokens.bound.key])
