"""What goes along with a login because the gateway's operator says so: `audience`, `resource`, `prompt` and the like."""

from collections.abc import Mapping

from airtunnel.model import RESERVED as RESERVED
from airtunnel.wire.control import Published


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
