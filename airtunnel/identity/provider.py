"""What an OpenID provider says of itself (OpenID Connect Discovery 1.0, section 4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from airtunnel.errors import ProtocolError
from airtunnel.identity.answer import Json
from airtunnel.identity.endpoint import is_loopback, same_site, secure_url
from airtunnel.identity.http import get_json

if TYPE_CHECKING:
    import httpx2


@dataclass(frozen=True, slots=True)
class ProviderMetadata:
    """Where a provider's doors are, and what it can do.

    auth_methods: how its token endpoint lets a client with a secret show it
    dpop_algorithms: with which keys it ties tokens to their holder (RFC 9449 section 5.1); empty: it does not
    iss_parameter: its answers in the browser always name it (RFC 9207 section 3)
    """

    issuer: str
    token_endpoint: str
    jwks_uri: str
    device_authorization_endpoint: str | None = None
    revocation_endpoint: str | None = None
    auth_methods: tuple[str, ...] = ("client_secret_basic",)
    authorization_endpoint: str | None = None
    dpop_algorithms: tuple[str, ...] = ()
    iss_parameter: bool = False


async def fetch_metadata(
    issuer: str, client: "httpx2.AsyncClient", endpoints: Mapping[str, str] | None = None, *, login: bool = True
) -> ProviderMetadata:
    """The metadata of the provider whose issuer is `issuer`.

    endpoints: by their names in the metadata; they win over what the provider says
    login: it is asked for tokens, too; those that only sign (GitHub, Kubernetes) have no token_endpoint, which is then empty
    Raises Unreachable or Temporary, naming the host, if it does not answer; ProtocolError if it calls itself by another name,
    names an endpoint that is neither https nor, for an issuer on this machine, on this machine, or if one of `endpoints` is on
    another site.
    """
    parts = secure_url(issuer, "the issuer")
    if parts.query or parts.fragment:
        raise ProtocolError(f"the issuer holds a query or fragment: {issuer[:200]!a}")
    # Section 4.1: one slash at the end is removed before the path is appended, though the name itself keeps it.
    body = await get_json(client, issuer.removesuffix("/") + "/.well-known/openid-configuration")
    if body.get("issuer") != issuer:
        # Section 4.3: the same to the byte. Else one tenant of a provider could speak for another.
        raise ProtocolError(f"the provider at {issuer} calls itself {str(body.get('issuer'))[:200]!a}")
    given = {name: url for name, url in (endpoints or {}).items() if name.endswith(("_endpoint", "_uri"))}
    _check_overrides(issuer, body, given)
    body = {**body, **given}
    loopback = is_loopback(parts.hostname or "")
    return ProviderMetadata(
        issuer=issuer,
        token_endpoint=_endpoint(body, "token_endpoint", loopback) if login else "",
        jwks_uri=_endpoint(body, "jwks_uri", loopback),
        device_authorization_endpoint=_optional(body, "device_authorization_endpoint", loopback),
        revocation_endpoint=_optional(body, "revocation_endpoint", loopback),
        auth_methods=_texts(body, "token_endpoint_auth_methods_supported") or ("client_secret_basic",),
        authorization_endpoint=_optional(body, "authorization_endpoint", loopback),
        dpop_algorithms=_texts(body, "dpop_signing_alg_values_supported"),
        iss_parameter=body.get("authorization_response_iss_parameter_supported") is True,
    )


def _check_overrides(issuer: str, body: Json, endpoints: Mapping[str, str]) -> None:
    """A gateway may say where at its provider a door is. It may not have codes and refresh tokens brought to another house."""
    home = secure_url(issuer, "the issuer").hostname or ""
    for name, url in endpoints.items():
        host = secure_url(url, f"the {name} that the gateway publishes", loopback=is_loopback(home)).hostname or ""
        if url != body.get(name) and not same_site(host, home):
            raise ProtocolError(
                f"the gateway says that the {name} of {issuer} is at {host}, which is another site",
                details=("this is how logins are stolen; tell the gateway's operator",),
            )


def _endpoint(body: Json, name: str, loopback: bool) -> str:
    url = body.get(name)
    if not isinstance(url, str):
        raise ProtocolError(f"the provider at {body['issuer']} publishes no {name}")
    secure_url(url, f"the provider's {name}", loopback=loopback)
    return url


def _optional(body: Json, name: str, loopback: bool) -> str | None:
    return None if body.get(name) is None else _endpoint(body, name, loopback)


def _texts(body: Json, name: str) -> tuple[str, ...]:
    value = body.get(name)
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()
