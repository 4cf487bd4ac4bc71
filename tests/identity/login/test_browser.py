import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest

from airtunnel.errors import AirtunnelError, LoginFailed, ProtocolError, Temporary, Unreachable
from airtunnel.identity.answer import Answer
from airtunnel.identity.login.binding import Tie
from airtunnel.identity.login.browser import (
    BrowserPrompt,
    Drawn,
    Open,
    Redirect,
    Returned,
    authorization_url,
    belongs,
    browser_flow,
    misread,
    pasted_query,
)
from airtunnel.identity.login.device import Post
from airtunnel.identity.proof import ProofKey
from airtunnel.identity.provider import ProviderMetadata
from airtunnel.identity.tokenset import TokenSet
from airtunnel.wire.control import Published
from tests.identity.provider import CLIENT, new_key, published_by

ISSUER = "https://login.example.com"
HERE = "http://127.0.0.1:8000/callback"
NOW = datetime(2025, 11, 22, 12, tzinfo=UTC)
METADATA = ProviderMetadata(
    ISSUER, f"{ISSUER}/token", f"{ISSUER}/jwks", authorization_endpoint=f"{ISSUER}/authorize", iss_parameter=True
)
PUBLISHED = replace(published_by(ISSUER), flows=("browser",))
# RFC 7636 appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
DRAWN = Drawn("the-state", VERIFIER, "the-nonce")
BACK = {"code": "the-code", "state": "the-state", "iss": ISSUER}


def identity(**claims: object) -> str:
    from joserfc import jwt

    about = {"iss": ISSUER, "aud": CLIENT, "sub": "00u1", "nonce": "the-nonce", "exp": int(NOW.timestamp()) + 900} | claims
    return jwt.encode({"alg": "ES256"}, {name: value for name, value in about.items() if value is not None}, new_key("k"))


def granted(**changed: object) -> Answer:
    body = {"access_token": "opaque", "refresh_token": "again", "expires_in": 300, "id_token": identity()} | changed
    return answered({name: value for name, value in body.items() if value is not None})


def answered(body: object, status: int = 200) -> Answer:
    return Answer(status, {}, body if isinstance(body, bytes) else json.dumps(body).encode(), took=timedelta(seconds=1))


def query(**changed: str | None) -> str:
    return urlencode({name: value for name, value in (BACK | changed).items() if value is not None})


class Told:
    """What a flow did, and how it ended."""

    def __init__(
        self,
        returned: str,
        answers: Sequence[Answer] = (),
        *,
        published: Published = PUBLISHED,
        metadata: ProviderMetadata = METADATA,
        tie: Tie | None = None,
    ) -> None:
        self.opened: list[BrowserPrompt] = []
        self.posts: list[Post] = []
        self.tokens: TokenSet | None = None
        self.error: AirtunnelError | None = None
        left = list(answers)
        flow = browser_flow(metadata, published, redirect_uri=HERE, drawn=DRAWN, tie=tie, now=NOW, limit=timedelta(seconds=180))
        try:
            command = next(flow)
            while True:
                reply: Answer | Returned | None = None
                match command:
                    case Open(prompt):
                        self.opened.append(prompt)
                    case Redirect():
                        reply = Returned(returned, timedelta(seconds=20))
                    case Post():
                        self.posts.append(command)
                        reply = left.pop(0)
                command = flow.send(reply)
        except StopIteration as stop:
            self.tokens = stop.value
        except AirtunnelError as error:
            self.error = error
        assert left == []


def asked(told: Told) -> dict[str, str]:
    pairs = parse_qsl(urlsplit(told.opened[0].url).query)
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


def test_a_login_opens_the_page_and_changes_the_code_for_tokens() -> None:
    told = Told(query(), [granted()])
    (prompt,) = told.opened
    assert (prompt.host, prompt.redirect_uri, prompt.expires_at) == ("login.example.com", HERE, NOW + timedelta(seconds=180))
    assert prompt.url.startswith(f"{ISSUER}/authorize?")
    (post,) = told.posts
    assert post.endpoint == f"{ISSUER}/token"
    assert post.form == {
        "grant_type": "authorization_code",
        "code": "the-code",
        "redirect_uri": HERE,
        "code_verifier": VERIFIER,
    }
    assert told.tokens is not None
    assert (told.tokens.subject, told.tokens.client_id, told.tokens.bound) == ("00u1", CLIENT, None)
    assert told.tokens.expires_at == NOW + timedelta(seconds=20 + 1 + 300)


def test_the_page_is_asked_with_pkce_state_and_nonce() -> None:
    told = Told(query(), [granted()])
    assert "code_challenge=" in told.opened[0].url  # authlib drops PKCE silently unless it is asked for in the right way
    assert asked(told) == {
        "response_type": "code",
        "client_id": CLIENT,
        "redirect_uri": HERE,
        "scope": "openid email offline_access",
        "state": "the-state",
        "nonce": "the-nonce",
        "prompt": "consent",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    assert VERIFIER not in told.opened[0].url


def test_an_endpoint_keeps_the_query_that_it_has() -> None:
    metadata = replace(METADATA, authorization_endpoint=f"{ISSUER}/authorize?tenant=a%20b")
    url = authorization_url(metadata, PUBLISHED, HERE, DRAWN, None)
    assert dict(parse_qsl(urlsplit(url).query))["tenant"] == "a b"


def test_a_parameter_that_no_address_can_hold_is_the_gateways_fault() -> None:
    told = Told("", published=replace(PUBLISHED, request={"audience": "\ud800"}))
    assert told.opened == []
    assert isinstance(told.error, ProtocolError)


def test_without_openid_there_is_no_nonce() -> None:
    told = Told(query(), [granted(id_token=None)], published=replace(PUBLISHED, scopes=("email",)))
    assert "nonce" not in asked(told)
    assert told.tokens is not None


def test_what_the_operator_wants_along_goes_along_and_replaces_nothing() -> None:
    stolen = dict.fromkeys(("state", "redirect_uri", "code_challenge", "scope", "Client_ID", "request_uri", "uri"), "stolen")
    told = Told(
        query(), [granted()], published=replace(PUBLISHED, request={"audience": "api", "resource": "https://a"} | stolen)
    )
    assert asked(told)["audience"] == "api"
    assert asked(told)["resource"] == "https://a"
    assert "stolen" not in told.opened[0].url
    assert told.posts[0].form["resource"] == "https://a"
    assert "audience" not in told.posts[0].form


def test_a_proven_login_names_its_key_before_the_code_is_made() -> None:
    tie = Tie(ProofKey.generate(), must=True)
    told = Told(query(), [granted(token_type="dpop")], tie=tie)
    assert asked(told)["dpop_jkt"] == tie.key.thumbprint
    assert told.tokens is not None
    assert told.tokens.bound is not None
    assert (told.tokens.bound.kind, told.tokens.bound.key) == ("dpop", tie.key.dump())


def test_no_secret_stands_in_a_repr() -> None:
    told = Told(query(), [granted()])
    shown = repr(told.posts) + repr(DRAWN) + repr(Returned(query()))
    assert not any(secret in shown for secret in ("the-code", "the-state", VERIFIER, "the-nonce"))


@pytest.mark.parametrize(
    "returned",
    [
        query(state="another"),
        query(state=None),
        query(state=""),
        query(state="the-stat\u00e9"),
        query() + "&state=the-state",
        query() + "&code=another",
        query(code=None),
        query() + "&x=%ff",
        "",
        "code",
        query() + "&x=" + "y" * 8192,
        "&".join(f"a{n}=1" for n in range(60)) + "&" + query(),
    ],
)
def test_the_answer_to_another_login_is_not_taken(returned: str) -> None:
    assert not belongs(returned, "the-state")
    told = Told(returned)
    assert told.posts == []
    with pytest.raises(LoginFailed, match="the answer to another login"):
        raise told.error or AssertionError


@pytest.mark.parametrize("also", [{}, {"code": None, "error": "access_denied"}])
@pytest.mark.parametrize(
    ("issuer", "words"),
    [
        (None, "without saying from where"),
        ("https://evil.example", r"came back from https://evil\.example, and not from https://login\.example\.com"),
        (f"{ISSUER}/", "and not from"),
        ("\x1b[2Jx", r"came back from \[2Jx,"),
    ],
)
def test_the_answer_of_another_provider_is_not_taken(issuer: str | None, words: str, also: dict[str, str | None]) -> None:
    told = Told(query(iss=issuer, **also))
    assert told.posts == []
    with pytest.raises(LoginFailed, match=words):
        raise told.error or AssertionError


def test_a_provider_that_never_says_its_name_may_leave_it_out() -> None:
    quiet = replace(METADATA, iss_parameter=False)
    assert Told(query(iss=None), [granted()], metadata=quiet).tokens is not None
    assert isinstance(Told(query(iss="https://evil.example"), metadata=quiet).error, LoginFailed)


@pytest.mark.parametrize(
    ("error", "kind", "words", "detail"),
    [
        ("access_denied", LoginFailed, "the login was refused at login.example.com", "no<b>way"),
        ("server_error", Temporary, "cannot do it now: server_error", ""),
        ("temporarily_unavailable", Temporary, "cannot do it now", ""),
        ("unauthorized_client", LoginFailed, "does not let airtunnel-cli log in with the browser", "`flows`"),
        ("invalid_scope", LoginFailed, "invalid_scope", "`scopes`"),
        ("invalid_target", LoginFailed, "invalid_target", "resource=https://a"),
        ("login_required", LoginFailed, "login_required", "`prompt` of none"),
        ("own\x1b[2J", LoginFailed, r"own\[2J: ", ""),
        ("", LoginFailed, "log in with the browser", ""),
    ],
)
def test_a_refusal_in_the_browser_says_what_it_means(error: str, kind: type[AirtunnelError], words: str, detail: str) -> None:
    published = replace(PUBLISHED, request={"resource": "https://a"})
    told = Told(query(code=None, error=error, error_description="no<b>way\x1b[2J\u202e\n" + "x" * 500), published=published)
    assert told.posts == []
    with pytest.raises(kind, match=words):
        raise told.error or AssertionError
    assert told.error is not None
    assert detail in "".join(told.error.details)
    assert told.error.hint == "airtunnel login gateway.example.com"
    text = told.error.message + "".join(told.error.details)
    assert text.isprintable()
    assert len(text) < 700


@pytest.mark.parametrize(
    ("nonce", "words"), [("another", "for another login"), (None, "for another login"), (7, "for another login")]
)
def test_an_id_token_of_another_login_is_not_taken(nonce: object, words: str) -> None:
    told = Told(query(), [granted(id_token=identity(nonce=nonce))])
    assert told.tokens is None
    with pytest.raises(LoginFailed, match=words):
        raise told.error or AssertionError


@pytest.mark.parametrize("token", ["no.jwt", "a.b.c", identity(iss="https://evil.example"), identity(aud="another-client")])
def test_an_id_token_that_is_not_for_us_is_not_taken(token: str) -> None:
    told = Told(query(), [granted(id_token=token)])
    assert told.tokens is None
    assert isinstance(told.error, LoginFailed)


def test_a_login_that_needs_no_id_token_does_without() -> None:
    assert Told(query(), [granted(id_token=None)]).tokens is not None


@pytest.mark.parametrize(
    ("last", "kind", "words"),
    [
        (answered({"error": "invalid_grant"}, 400), LoginFailed, "does not take its own code for the login: invalid_grant"),
        (answered({"error": "invalid_client"}, 401), LoginFailed, "invalid_client"),
        (answered({"error": "x", "error_description": "the-code"}, 400), LoginFailed, r"x: \.\.\.$"),
        (answered(b"<html>", 502), Temporary, "cannot finish the login now: HTTP 502"),
        (answered(b"<html>", 200), LoginFailed, "HTTP 200 without a reason"),
        (answered({"token_type": "Bearer"}), LoginFailed, "gave no access_token"),
        (Answer(0, body=None, trouble=Unreachable("login.example.com is gone")), Unreachable, "is gone"),
    ],
)
def test_a_code_that_is_not_changed_for_tokens_says_why(last: Answer, kind: type[AirtunnelError], words: str) -> None:
    told = Told(query(), [last])
    with pytest.raises(kind, match=words):
        raise told.error or AssertionError
    assert "the-code" not in (told.error.message if told.error else "")


def test_a_provider_without_such_a_page_is_named() -> None:
    told = Told("", metadata=replace(METADATA, authorization_endpoint=None))
    assert told.opened == []
    with pytest.raises(LoginFailed, match="offers no login in the browser"):
        raise told.error or AssertionError


@pytest.mark.parametrize(
    "text",
    [
        f"{HERE}?{query()}\n",
        f"  '{HERE}?{query()}'  ",
        f"<{HERE}?{query()}#_=_>",
        f"{HERE}?{query()}"[:40] + "\n  " + f"{HERE}?{query()}"[40:],
        f"?{query()}",
        query(),
        f"https://elsewhere.example/?{query()}",
    ],
)
def test_what_a_person_pastes_is_understood(text: str) -> None:
    assert pasted_query(text) == query()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("hello", f"paste the whole address: {HERE}"),
        (HERE, "paste the whole address"),
        (authorization_url(METADATA, PUBLISHED, HERE, DRAWN, None), "that is the address to open"),
        (f"{HERE}?{query(state='another')}", "the answer to another login"),
    ],
)
def test_what_is_no_answer_says_what_was_expected(text: str, words: str) -> None:
    assert not belongs(pasted_query(text), "the-state")
    assert words in misread(pasted_query(text), HERE)
