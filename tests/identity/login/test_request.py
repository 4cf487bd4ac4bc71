from dataclasses import replace

import pytest

from airtunnel.identity.login.request import RESERVED, asked_along, asked_in_browser, token_along
from tests.identity.provider import published_by

PUBLISHED = published_by("https://login.example.com")


def test_what_the_operator_wants_goes_along_and_what_the_login_says_itself_does_not() -> None:
    wanted = {"audience": "api", "resource": "https://a", "prompt": ""}
    published = replace(PUBLISHED, request=wanted | dict.fromkeys([*RESERVED, *map(str.upper, RESERVED)], "stolen"))
    assert asked_along(published) == {"audience": "api", "resource": "https://a"}
    assert token_along(published) == {"resource": "https://a"}


@pytest.mark.parametrize(
    ("provider", "scopes", "request_", "prompt"),
    [
        ("oidc", ("openid", "offline_access"), {}, "consent"),
        ("oidc", ("openid",), {}, None),
        ("oidc", ("openid", "offline_access"), {"prompt": "select_account"}, "select_account"),
        ("oidc", ("openid", "offline_access"), {"prompt": ""}, None),
        ("entra", ("openid", "offline_access"), {}, None),
    ],
)
def test_a_login_that_is_to_be_renewed_asks_for_consent_where_the_specification_wants_it(
    provider: str, scopes: tuple[str, ...], request_: dict[str, str], prompt: str | None
) -> None:
    published = replace(PUBLISHED, provider=provider, scopes=scopes, request=request_)
    assert asked_in_browser(published).get("prompt") == prompt
    assert "prompt" not in asked_along(replace(published, request={}))
