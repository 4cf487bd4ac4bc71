from dataclasses import replace

import pytest

from airtunnel.errors import LoginFailed, Temporary
from airtunnel.identity.login.refusal import refusal
from tests.identity.provider import published_by

PUBLISHED = replace(published_by("https://login.example.com"), request={"resource": "https://a"})


@pytest.mark.parametrize(
    ("code", "detail"),
    [
        ("invalid_client", "the provider does not know client airtunnel-cli, or its secret (`client_id, client_secret` of"),
        ("unauthorized_client", "(`flows` of its `providers` in gateway.yaml)"),
        ("unsupported_grant_type", "(`flows` of"),
        ("invalid_scope", "may not ask for all of: openid email offline_access (`scopes` of"),
        ("invalid_target", "asked for: resource=https://a (`request` of"),
        ("consent_required", "a `prompt` of none"),
        ("invalid_dpop_proof", "is this machine's clock right?"),
    ],
)
def test_a_refusal_names_what_to_look_at(code: str, detail: str) -> None:
    error = refusal(code, f"{code}: because", PUBLISHED, "renew your login")
    assert type(error) is LoginFailed
    assert error.message == f"https://login.example.com does not renew your login: {code}: because"
    assert detail in error.details[0]
    assert error.hint == "airtunnel login gateway.example.com"


@pytest.mark.parametrize("code", ["temporarily_unavailable", "server_error"])
def test_what_passes_is_no_failure(code: str) -> None:
    assert type(refusal(code, code, PUBLISHED, "renew your login")) is Temporary


@pytest.mark.parametrize("code", [None, "something_new"])
def test_what_nobody_knows_is_said_as_it_came(code: str | None) -> None:
    assert refusal(code, "HTTP 418", PUBLISHED, "x").details == ()
