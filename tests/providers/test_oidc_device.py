"""A login by code at a provider that others wrote, approved and refused on its own pages."""

from datetime import UTC, datetime, timedelta

import pytest

from airtunnel.errors import LoginFailed
from airtunnel.identity.login.drive import log_in
from airtunnel.identity.verify.verifier import TrustedIssuer, Verifier
from tests.providers import pages
from tests.providers.chromium import Chromium
from tests.providers.oidc import AUDIENCE, OidcProvider
from tests.providers.person import log_in_by_code


async def test_who_approves_it_in_a_browser_is_logged_in_and_the_gateway_takes_the_token(
    oidc: OidcProvider, chromium: Chromium
) -> None:
    tokens = await log_in_by_code(chromium, oidc.published())
    assert (tokens.subject, tokens.name, tokens.issuer) == ("ana", "ana@example.com", oidc.issuer)
    assert tokens.refresh_token
    assert timedelta(minutes=55) < tokens.expires_at - datetime.now(UTC) <= timedelta(hours=1)
    verifier = Verifier([TrustedIssuer(oidc.issuer, (AUDIENCE,), ("airtunnel",), ca=oidc.ca)])
    principal = (await verifier.verify(tokens.access_token)).principal
    assert (principal.name, principal.subject, principal.groups) == ("ana@example.com", "ana", ("data-eng",))


async def test_the_id_token_does_as_well(oidc: OidcProvider, chromium: Chromium) -> None:
    tokens = await log_in_by_code(chromium, oidc.published(token="id_token"), lambda page: pages.approve_device(page, "fin"))
    verifier = Verifier([TrustedIssuer(oidc.issuer, ("airtunnel",), token="id_token", ca=oidc.ca)])
    assert tokens.id_token is not None
    principal = (await verifier.verify(tokens.id_token)).principal
    assert (principal.name, principal.groups) == ("fin@example.com", ("finance", "data-eng"))


@pytest.mark.parametrize("act", [pages.abort_device, pages.cancel_device])
async def test_who_says_no_on_any_of_the_pages_is_told_that_it_was_refused(
    oidc: OidcProvider, chromium: Chromium, act: pages.Act
) -> None:
    with pytest.raises(LoginFailed, match=f"the login was refused at 127.0.0.1:{oidc.port}") as caught:
        await log_in_by_code(chromium, oidc.published(), act)
    assert caught.value.hint == "airtunnel login gateway.example.com"


async def test_a_code_that_nobody_types_in_time_has_expired(oidc: OidcProvider) -> None:
    with pytest.raises(LoginFailed, match="the login code has expired") as caught:
        await log_in(oidc.published("hasty"), show=lambda prompt: None, flow="device")
    assert caught.value.hint == "airtunnel login gateway.example.com"
    assert {"event": "grant.error", "reason": "device code is expired"}.items() <= oidc.events("grant.error")[-1].items()
