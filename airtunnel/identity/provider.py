"""What an OpenID provider says of itself (OpenID Connect Discovery 1.0, section 4)."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airtunnel.errors import ProtocolError
from airtunnel.identity.answer import Json
from airtunnel.identity.endpoint import is_loopback, secure_url
from airtunnel.identity.http import get_json

if TYPE_CHECKING:
    import httpx2


@dataclass(frozen=True, slots=True)
class ProviderMetadata:
    """Where a provider's doors are. `auth_methods`: how its token endpoint lets a client with a secret show it."""

    issuer: str
    token_endpoint: str
    jwks_uri: str
    device_authorization_endpoint: str | None = None
    revocation_endpoint: str | None = None
    auth_methods: tuple[str, ...] = ("client_secret_basic",)


async def fetch_metadata(issuer: str, client: "httpx2.AsyncClient") -> ProviderMetadata:
    """The metadata of the provider whose issuer is `issuer`.

    Raises Unreachable or Temporary, naming the host, if it does not answer; ProtocolError if it calls itself by another name,
    or names an endpoint that is neither https nor, for an issuer on this machine, on this machine.
    """
    parts = secure_url(issuer, "the issuer")
    if parts.query or parts.fragment:
        raise ProtocolError(f"the issuer holds a query or fragment: {issuer[:200]!a}")
    # Section 4.1: one slash at the end is removed before the path is appended, though the name itself keeps it.
    body = await get_json(client, issuer.removesuffix("/") + "/.well-known/openid-configuration")
    if body.get("issuer") != issuer:
        # Section 4.3: the same to the byte. Else one tenant of a provider could speak for another.
        raise ProtocolError(f"the provider at {issuer} calls itself {str(body.get('issuer'))[:200]!a}")
    loopback = is_loopback(parts.hostname or "")
    methods = body.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    return ProviderMetadata(
        issuer=issuer,
        token_endpoint=_endpoint(body, "token_endpoint", loopback),
        jwks_uri=_endpoint(body, "jwks_uri", loopback),
        device_authorization_endpoint=_optional(body, "device_authorization_endpoint", loopback),
        revocation_endpoint=_optional(body, "revocation_endpoint", loopback),
        auth_methods=tuple(str(one) for one in methods) if isinstance(methods, list) else ("client_secret_basic",),
    )


def _endpoint(body: Json, name: str, loopback: bool) -> str:
    url = body.get(name)
    if not isinstance(url, str):
        raise ProtocolError(f"the provider at {body['issuer']} publishes no {name}")
    secure_url(url, f"the provider's {name}", loopback=loopback)
    return url


def _optional(body: Json, name: str, loopback: bool) -> str | None:
    return None if body.get(name) is None else _endpoint(body, name, loopback)
