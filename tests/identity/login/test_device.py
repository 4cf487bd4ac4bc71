import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from airtunnel.errors import AirtunnelError, LoginFailed, ProtocolError, Temporary, Unreachable
from airtunnel.identity.answer import Answer
from airtunnel.identity.login.device import GRANT, Command, DevicePrompt, Post, Show, Wait, device_flow
from airtunnel.identity.provider import ProviderMetadata
from airtunnel.identity.tokenset import TokenSet
from tests.identity.provider import published_by

ISSUER = "https://login.example.com"
NOW = datetime(2025, 11, 22, 12, tzinfo=UTC)
METADATA = ProviderMetadata(ISSUER, f"{ISSUER}/token", f"{ISSUER}/jwks", f"{ISSUER}/device")
PUBLISHED = published_by(ISSUER)
CODE = {
    "device_code": "secret-device-code",
    "user_code": "WDJB-MJHT",
    "verification_uri": f"{ISSUER}/activate",
    "expires_in": 600,
    "interval": 5,
}


def answer(body: object, status: int = 200, **headers: str) -> Answer:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, text)


STARTED = answer(CODE)
PENDING = answer({"error": "authorization_pending"}, 400)
SLOW_DOWN = answer({"error": "slow_down"}, 400)
TOKENS = answer({"access_token": "opaque", "refresh_token": "again", "expires_in": 300})
LOST = Answer(0, body=None, trouble=Unreachable("login.example.com did not answer within 10 s"), took=timedelta(seconds=10))


@dataclass
class Told:
    """What a flow did: its waits in seconds, what it posted and showed, and how it ended."""

    waits: list[float]
    posts: list[Post]
    shown: list[DevicePrompt]
    tokens: TokenSet | None = None
    error: AirtunnelError | None = None


def told(answers: Sequence[Answer], metadata: ProviderMetadata = METADATA, limit: float = 600) -> Told:
    flow = device_flow(metadata, replace(PUBLISHED, issuer=metadata.issuer), now=NOW, limit=timedelta(seconds=limit))
    told, left = Told([], [], []), list(answers)
    reply: Answer | None = None
    try:
        while True:
            command: Command = flow.send(reply) if told.posts else next(flow)
            reply = None
            match command:
                case Post():
                    told.posts.append(command)
                    reply = left.pop(0)
                case Wait(duration):
                    told.waits.append(duration.total_seconds())
                case Show(prompt):
                    told.shown.append(prompt)
    except StopIteration as stop:
        told.tokens = stop.value
    except AirtunnelError as error:
        told.error = error
    assert left == []
    return told


def begun(**changed: object) -> Told:
    """The flow whose provider's first answer differs in something from the usual."""
    code = {name: value for name, value in (CODE | changed).items() if value is not None}
    return told([answer(code), TOKENS])


def refused(**changed: object) -> AirtunnelError:
    code = {name: value for name, value in (CODE | changed).items() if value is not None}
    result = told([answer(code)])
    assert result.shown == []
    assert result.error is not None
    assert "secret-device-code" not in f"{result.error.message}{result.error.details}{result.error.hint}"
    return result.error


def test_a_login_shows_the_code_and_polls_until_there_are_tokens() -> None:
    result = told([STARTED, PENDING, PENDING, TOKENS])
    assert [post.endpoint for post in result.posts] == [f"{ISSUER}/device", *[f"{ISSUER}/token"] * 3]
    assert result.posts[0].form == {"scope": "openid email offline_access"}
    assert result.posts[1].form == {"grant_type": GRANT, "device_code": "secret-device-code"}
    assert result.shown == [
        DevicePrompt("WDJB-MJHT", f"{ISSUER}/activate", None, NOW + timedelta(seconds=600), "login.example.com")
    ]
    assert result.waits == [5, 5, 5]
    assert result.tokens is not None
    assert result.tokens.access_token == "opaque"
    assert result.tokens.expires_at == NOW + timedelta(seconds=15 + 300)


@pytest.mark.parametrize(
    ("polls", "waits"),
    [
        ([PENDING, TOKENS], [5, 5]),
        ([answer({"error": "authorization_pending"}, 428), TOKENS], [5, 5]),
        ([answer(b"", 428), TOKENS], [5, 5]),
        ([answer({"error": "authorization_pending"}, 200), TOKENS], [5, 5]),
        ([SLOW_DOWN, TOKENS], [5, 10]),
        ([SLOW_DOWN, PENDING, SLOW_DOWN, PENDING, TOKENS], [5, 10, 10, 15, 15]),
        ([answer({"error": "slow_down"}, 429), PENDING, TOKENS], [5, 10, 10]),
        ([answer({"error": "slow_down"}, 400, retry_after="30"), PENDING, TOKENS], [5, 30, 10]),
        ([answer(b"<html>", 429), PENDING, TOKENS], [5, 10, 5]),
        ([answer(b"<html>", 503)] * 6 + [TOKENS], [5, 10, 20, 40, 60, 60, 60]),
        ([LOST, LOST, PENDING, TOKENS], [5, 10, 20, 5]),
        ([SLOW_DOWN, LOST, PENDING, TOKENS], [5, 10, 20, 10]),
        ([answer(b"", 429, retry_after="33"), PENDING, TOKENS], [5, 33, 5]),
        ([answer(b"", 503, retry_after="2"), TOKENS], [5, 10]),
        ([answer({"error": "temporarily_unavailable"}, 400), TOKENS], [5, 10]),
        ([answer({"error": "internal"}, 500), TOKENS], [5, 10]),
    ],
)
def test_it_polls_as_often_as_the_provider_bears(polls: list[Answer], waits: list[float]) -> None:
    result = told([STARTED, *polls])
    assert result.waits == waits
    assert result.tokens is not None


@pytest.mark.parametrize(
    ("interval", "waited"), [(None, 5), (1, 1), (0, 5), (-7, 5), ("8", 8), (0.5, 0.5), ("x", 5), (True, 5)]
)
def test_without_a_sensible_interval_it_is_five_seconds(interval: object, waited: float) -> None:
    assert begun(interval=interval).waits == [waited]


@pytest.mark.parametrize(
    ("last", "kind", "words"),
    [
        (answer({"error": "access_denied"}, 400), LoginFailed, "was refused at login.example.com"),
        (answer({"error": "expired_token"}, 400), LoginFailed, "has expired"),
        (answer({"error": "invalid_grant"}, 400), LoginFailed, "has expired, or was used already"),
        (answer({"error": "access_denied"}, 200), LoginFailed, "was refused"),
        (answer({"error": "invalid_client", "error_description": "no\x1b[2J"}, 401), LoginFailed, r"invalid_client: no\[2J"),
        (answer({"error": "x", "error_description": "secret-device-code"}, 400), LoginFailed, r"x: \.\.\.$"),
        (answer(b"", 400), LoginFailed, "HTTP 400 without a reason"),
        (answer(b"<html>", 302), LoginFailed, "HTTP 302 without a reason"),
        (answer(b"<html>", 200), LoginFailed, "HTTP 200 without a reason"),
        (answer({"token_type": "Bearer"}), LoginFailed, "gave no access_token"),
    ],
)
def test_a_login_that_ends_says_how(last: Answer, kind: type[AirtunnelError], words: str) -> None:
    error = told([STARTED, PENDING, last]).error
    with pytest.raises(kind, match=words):
        raise error or AssertionError
    assert error is not None
    assert "secret-device-code" not in error.message
    if "gave no" not in words:
        assert error.hint == "airtunnel login gateway.example.com"


@pytest.mark.parametrize(
    ("life", "limit", "polls", "kind", "words"),
    [
        (12, 600, [PENDING, PENDING], LoginFailed, "nobody approved the login within 12 s"),
        (600, 12, [PENDING, PENDING], LoginFailed, "nobody approved the login within 12 s"),
        (12, 600, [LOST], Unreachable, "did not answer within 10 s"),
        (40, 600, [LOST, LOST], Unreachable, "did not answer within 10 s"),  # which took 20 s of the 40
        (600, 30, [answer(b"", 429, retry_after="26")], Temporary, "too busy to finish the login: HTTP 429"),
        (4, 600, [], LoginFailed, "within 4 s"),
    ],
)
def test_it_ends_by_itself_and_never_polls_late(
    life: int, limit: int, polls: list[Answer], kind: type[AirtunnelError], words: str
) -> None:
    result = told([answer(CODE | {"expires_in": life}), *polls], limit=limit)
    assert sum(result.waits) <= min(life, limit)
    with pytest.raises(kind, match=words):
        raise result.error or AssertionError


@pytest.mark.parametrize(
    ("first", "kind", "words"),
    [
        (LOST, Unreachable, "did not answer within 10 s"),
        (answer(b"<html>", 503), Temporary, "cannot start a login now: HTTP 503"),
        (
            answer({"error": "unauthorized_client"}, 400),
            LoginFailed,
            "airtunnel-cli log in by device code: unauthorized_client",
        ),
        (answer(b"", 404), LoginFailed, "by device code: HTTP 404"),
        (answer(b"<html>", 200), LoginFailed, "by device code: HTTP 200"),
    ],
)
def test_a_login_that_cannot_begin_says_why(first: Answer, kind: type[AirtunnelError], words: str) -> None:
    result = told([first])
    assert result.shown == []
    with pytest.raises(kind, match=words):
        raise result.error or AssertionError


def test_a_provider_without_device_login_is_asked_nothing() -> None:
    result = told([], replace(METADATA, device_authorization_endpoint=None))
    assert result.posts == []
    assert isinstance(result.error, LoginFailed)
    assert "offers no login by device code" in result.error.message


@pytest.mark.parametrize(
    "changed",
    [
        {"device_code": None},
        {"device_code": ""},
        {"user_code": None},
        {"user_code": 7},
        {"user_code": "\x1b\u202e "},
        {"user_code": "A" * 65},
        {"user_code": "secret-device-code"},
        {"verification_uri": None},
        {"verification_uri": f"{ISSUER}/activate?c=secret-device-code"},
        {"expires_in": None},
        {"expires_in": 0},
        {"expires_in": "soon"},
    ],
)
def test_a_beginning_that_cannot_be_shown_is_refused(changed: dict[str, object]) -> None:
    assert isinstance(refused(**changed), ProtocolError)


@pytest.mark.parametrize("key", ["verification_uri", "verification_uri_complete"])
@pytest.mark.parametrize(
    "uri",
    [
        "http://login.example.com/activate",
        "http://127.0.0.1/activate",
        "https://evil.example/activate",
        "https://example.com/activate",
        "https://evillogin.example.com/activate",
        "https://login.example.com.evil.example/",
        "https://login.example.com@evil.example/",
        "https://evil.example\\@login.example.com/",
        "https://login.example.com/\x1b]8;;https://evil.example\x07",
        "https://login.example.com/\u202e",
        "javascript:alert(1)",
        "/activate",
    ],
)
def test_a_page_that_is_not_the_issuers_is_never_shown(key: str, uri: str) -> None:
    assert isinstance(refused(**{key: uri}), ProtocolError)


@pytest.mark.parametrize(
    ("issuer", "uri", "host"),
    [
        (ISSUER, "https://login.example.com:8443/a", "login.example.com:8443"),
        (ISSUER, "https://eu.login.example.com/a", "eu.login.example.com"),
        ("https://accounts.google.com", "https://www.google.com/device", "www.google.com"),
        ("https://login.microsoftonline.com/tenant/v2.0", "https://microsoft.com/devicelogin", "microsoft.com"),
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000/activate", "127.0.0.1:9000"),
    ],
)
def test_the_page_of_the_issuer_and_the_listed_ones_are_shown_with_their_host(issuer: str, uri: str, host: str) -> None:
    result = told([answer(CODE | {"verification_uri": uri}), TOKENS], replace(METADATA, issuer=issuer))
    assert [(prompt.verification_uri, prompt.host) for prompt in result.shown] == [(uri, host)]


def test_a_page_that_the_gateway_lists_is_shown_and_its_neighbours_are_not() -> None:
    for host, good in (("id.example.net", True), ("evil.id.example.net", False), ("example.net", False)):
        begun = answer(CODE | {"verification_uri": f"https://{host}/device"})
        published = replace(PUBLISHED, pages=("id.example.net",))
        flow = device_flow(METADATA, published, now=NOW, limit=timedelta(seconds=60))
        next(flow)
        if good:
            assert isinstance(flow.send(begun), Show)
        else:
            with pytest.raises(ProtocolError, match="which is another site"):
                flow.send(begun)


def test_googles_name_for_the_page_is_understood() -> None:
    (prompt,) = begun(verification_uri=None, verification_url=f"{ISSUER}/device").shown
    assert prompt.verification_uri == f"{ISSUER}/device"


def test_a_page_with_the_code_filled_in_is_shown_unless_it_holds_the_secret() -> None:
    complete = f"{ISSUER}/activate?user_code=WDJB-MJHT"
    assert begun(verification_uri_complete=complete).shown[0].verification_uri_complete == complete
    hidden = begun(verification_uri_complete=f"{ISSUER}/activate?c=secret-device-code")
    assert hidden.shown[0].verification_uri_complete is None


def test_control_characters_are_taken_out_of_the_code() -> None:
    assert begun(user_code=" WD\x1bJB\u202e-MJHT\n").shown[0].user_code == "WDJB-MJHT"


def test_the_device_code_stands_in_no_prompt_and_no_repr() -> None:
    result = told([STARTED, TOKENS])
    assert "secret-device-code" not in repr(result.shown) + repr(result.posts)
