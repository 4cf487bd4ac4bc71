from dataclasses import replace

import pytest

from airtunnel.errors import LoginFailed
from airtunnel.identity.login.choice import Choice, Flow, after, choose_flow
from airtunnel.identity.provider import ProviderMetadata
from airtunnel.wire.control import Published
from tests.identity.provider import published_by

ISSUER = "https://login.example.com"
BOTH = ProviderMetadata(ISSUER, "t", "j", device_authorization_endpoint="d", authorization_endpoint="a")
NO_CODES = replace(BOTH, device_authorization_endpoint=None)
NO_PAGE = replace(BOTH, authorization_endpoint=None)
NEITHER = replace(NO_CODES, authorization_endpoint=None)


def published(*flows: str, binding: str = "none") -> Published:
    return replace(published_by(ISSUER), flows=flows, binding=binding)


@pytest.mark.parametrize(
    ("flows", "metadata", "local", "flow", "other", "words"),
    [
        (("device",), BOTH, True, "device", None, "the gateway offers nothing else"),
        (("device",), BOTH, False, "device", None, "the gateway offers nothing else"),
        (("browser",), BOTH, True, "browser", None, "the gateway offers nothing else"),
        (("device", "browser"), BOTH, True, "device", "browser", "names it first; --flow browser does it with the browser"),
        (("device", "browser"), BOTH, False, "device", "browser", "names it first; --flow browser"),
        (("browser", "device"), BOTH, True, "browser", "device", "names it first; --flow device does it with a code"),
        (("browser", "device"), BOTH, False, "device", "browser", "there is no browser on this machine; --flow browser"),
        (("browser",), BOTH, False, "browser", None, "there is no browser here, and the gateway offers nothing else"),
        (("browser", "device"), NO_CODES, False, "browser", None, "there is no browser here, and .* no login by device code"),
        (("browser", "device"), NO_CODES, True, "browser", None, "offers no login by device code"),
        (("device", "browser"), NO_CODES, True, "browser", None, f"{ISSUER} offers no login by device code"),
        (("browser", "device"), NO_PAGE, True, "device", None, f"{ISSUER} offers no login in the browser"),
        (("telepathy", "browser"), BOTH, True, "browser", None, "the gateway offers nothing else"),
    ],
)
def test_the_first_published_flow_that_works_here_is_chosen(
    flows: tuple[str, ...], metadata: ProviderMetadata, local: bool, flow: Flow, other: Flow | None, words: str
) -> None:
    choice = choose_flow(published(*flows), metadata, local_browser=local)
    assert (choice.flow, choice.other) == (flow, other)
    with pytest.raises(ValueError, match=words):
        raise ValueError(choice.words)
    assert choice.surprising is (choice.flow != flows[0] or "no browser" in choice.why) or flows[0] == "telepathy"


@pytest.mark.parametrize(
    ("flows", "metadata", "wanted", "words", "hint"),
    [
        (("device",), BOTH, "browser", "does not allow --flow browser: it publishes device", "--flow device"),
        (("browser",), BOTH, "device", "does not allow --flow device: it publishes browser", "--flow browser"),
        (("device", "browser"), NO_CODES, "device", "offers no login by device code", "--flow browser"),
        (("device", "browser"), NO_PAGE, "browser", "offers no login in the browser", "--flow device"),
        (("device",), NEITHER, "browser", "it publishes device", None),
        (("device",), NO_CODES, None, "offers no login by device code", None),
        (("device", "browser"), NEITHER, None, "offers no login by device code", None),
        (("telepathy",), BOTH, "device", "cannot log in as the gateway asks: telepathy", "pip install --upgrade airtunnel"),
        ((), BOTH, None, "no way at all", "pip install --upgrade airtunnel"),
    ],
)
def test_a_flow_that_is_not_there_names_what_is(
    flows: tuple[str, ...], metadata: ProviderMetadata, wanted: Flow | None, words: str, hint: str | None
) -> None:
    with pytest.raises(LoginFailed, match=words) as caught:
        choose_flow(published(*flows), metadata, wanted)
    expected = f"airtunnel login gateway.example.com {hint}" if hint and hint.startswith("--") else hint
    assert caught.value.hint == expected


def test_what_is_asked_for_is_chosen_wherever_it_can_work() -> None:
    for local in (True, False):
        assert choose_flow(published("device", "browser"), BOTH, "browser", local) == Choice(
            "browser", "--flow browser asks for it", "device"
        )


def test_a_login_that_is_bound_by_its_nonce_is_never_one_with_a_code() -> None:
    where = published("device", "browser", binding="nonce")
    assert choose_flow(where, BOTH, local_browser=False).flow == "browser"
    with pytest.raises(LoginFailed, match="a login with a code has none"):
        choose_flow(where, BOTH, "device")
    assert after("browser", "refused", where, BOTH) is None


def test_what_is_left_after_a_refusal_is_the_other_published_flow() -> None:
    assert after("device", "refused", published("device", "browser"), BOTH) == Choice("browser", "refused", surprising=True)
    assert after("device", "refused", published("device"), BOTH) is None
    assert after("device", "refused", published("device", "browser"), NO_PAGE) is None
