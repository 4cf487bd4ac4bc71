"""What goes along with a login because the gateway's operator says so: `audience`, `resource`, `prompt` and the like."""

from collections.abc import Mapping

from airtunnel.wire.control import Published

# What a login itself says, and what would replace all of that (RFC 9101's request objects) or send the answer elsewhere.
RESERVED = frozenset(
    {
        "client_assertion",
        "client_assertion_type",
        "client_id",
        "client_secret",
        "code",
        "code_challenge",
        "code_challenge_method",
        "code_verifier",
        "device_code",
        "dpop_jkt",
        "grant_type",
        "nonce",
        "redirect_uri",
        "refresh_token",
        "request",
        "request_uri",
        "response_mode",
        "response_type",
        "scope",
        "state",
        "uri",
    }
)


def asked_along(published: Published) -> Mapping[str, str]:
    """The parameters of a request that begins a login, in the browser or by device code. Empty ones are left out."""
    return {name: value for name, value in published.request.items() if value and name.lower() not in RESERVED}


def asked_in_browser(published: Published) -> Mapping[str, str]:
    """The same for the browser, where a login that is to be renewed needs the person's consent (OpenID Connect Core 11).

    Of providers that are only known to follow that specification: Entra, for one, renews without, and would ask an
    administrator to consent.
    """
    strict = published.provider == "oidc" and "offline_access" in published.scopes and "prompt" not in published.request
    return {**asked_along(published), **({"prompt": "consent"} if strict else {})}


def token_along(published: Published) -> Mapping[str, str]:
    """The parameters of a request for tokens (RFC 8707 section 2.2: the resource is said again there)."""
    return {name: value for name, value in published.request.items() if name == "resource"}
