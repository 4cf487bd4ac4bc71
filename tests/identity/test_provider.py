import pytest

from airtunnel.errors import AirtunnelError, ProtocolError, Unreachable
from airtunnel.identity.http import http_client
from airtunnel.identity.provider import ProviderMetadata, fetch_metadata
from tests.identity.provider import Provider


async def metadata_of(issuer: str) -> ProviderMetadata:
    async with http_client() as client:
        return await fetch_metadata(issuer, client)


async def test_a_provider_says_where_its_doors_are(provider: Provider) -> None:
    assert await metadata_of(provider.issuer) == ProviderMetadata(
        issuer=provider.issuer,
        token_endpoint=f"{provider.issuer}/token",
        jwks_uri=f"{provider.issuer}/jwks",
        device_authorization_endpoint=f"{provider.issuer}/device",
        revocation_endpoint=f"{provider.issuer}/revoke",
        authorization_endpoint=f"{provider.issuer}/authorize",
    )


async def test_a_provider_says_what_it_can_do(provider: Provider) -> None:
    provider.metadata = {
        "dpop_signing_alg_values_supported": ["ES256", 7, "EdDSA"],
        "authorization_response_iss_parameter_supported": True,
        "token_endpoint_auth_methods_supported": ["none"],
    }
    metadata = await metadata_of(provider.issuer)
    assert (metadata.dpop_algorithms, metadata.iss_parameter, metadata.auth_methods) == (("ES256", "EdDSA"), True, ("none",))


async def test_what_the_gateway_says_of_an_endpoint_wins(provider: Provider) -> None:
    provider.metadata = {"device_authorization_endpoint": None, "jwks_uri": "https://login.example.com/wrong"}
    device, keys = f"{provider.issuer}/device/v2", f"{provider.issuer}/keys"
    async with http_client() as client:
        said = {"device_authorization_endpoint": device, "jwks_uri": keys, "issuer": "https://evil.example"}
        metadata = await fetch_metadata(provider.issuer, client, said)
    assert (metadata.device_authorization_endpoint, metadata.jwks_uri) == (device, keys)
    assert metadata.issuer == provider.issuer


async def test_what_the_gateway_says_of_an_endpoint_must_be_safe_as_well(provider: Provider) -> None:
    async with http_client() as client:
        with pytest.raises(ProtocolError, match="token_endpoint that the gateway publishes is not https"):
            await fetch_metadata(provider.issuer, client, {"token_endpoint": "http://login.example.com/token"})


async def test_device_login_and_revocation_may_be_missing(provider: Provider) -> None:
    provider.metadata = {"device_authorization_endpoint": None, "revocation_endpoint": None}
    metadata = await metadata_of(provider.issuer)
    assert (metadata.device_authorization_endpoint, metadata.revocation_endpoint) == (None, None)


async def test_a_trailing_slash_belongs_to_the_name_and_not_to_the_path(provider: Provider) -> None:
    provider.metadata = {"issuer": f"{provider.issuer}/"}
    assert (await metadata_of(f"{provider.issuer}/")).issuer == f"{provider.issuer}/"


@pytest.mark.parametrize("named", ["{0}/", "{0}/other", "https://login.example.com", None, 7])
async def test_an_issuer_that_calls_itself_otherwise_is_refused(provider: Provider, named: object) -> None:
    provider.metadata = {"issuer": named.format(provider.issuer) if isinstance(named, str) else named}
    with pytest.raises(ProtocolError, match="calls itself"):
        await metadata_of(provider.issuer)


@pytest.mark.parametrize(
    "name", ["token_endpoint", "jwks_uri", "authorization_endpoint", "device_authorization_endpoint", "revocation_endpoint"]
)
@pytest.mark.parametrize("url", ["http://login.example.com/x", "file:///etc/passwd", 7])
async def test_an_endpoint_that_is_not_safe_is_refused(provider: Provider, name: str, url: object) -> None:
    provider.metadata = {name: url}
    with pytest.raises(ProtocolError, match=name):
        await metadata_of(provider.issuer)


@pytest.mark.parametrize(
    "issuer", ["http://login.example.com", "login.example.com", "https://login.example.com/?x", "https://a/#b"]
)
async def test_an_issuer_that_is_no_safe_url_is_refused_unasked(issuer: str) -> None:
    with pytest.raises(ProtocolError):
        await metadata_of(issuer)


async def test_a_host_that_is_no_provider_is_named(provider: Provider) -> None:
    with pytest.raises(Unreachable, match=r"answered HTTP 404 for /tenant/.well-known/openid-configuration"):
        await metadata_of(f"{provider.issuer}/tenant")


async def test_every_failure_is_one_of_ours(provider: Provider) -> None:
    provider.metadata = {"token_endpoint_auth_methods_supported": "client_secret_post", "jwks_uri": []}
    with pytest.raises(AirtunnelError):
        await metadata_of(provider.issuer)


async def test_who_only_signs_needs_no_token_endpoint(provider: Provider) -> None:
    provider.metadata["token_endpoint"] = None
    async with http_client() as client:
        assert (await fetch_metadata(provider.issuer, client, login=False)).jwks_uri == f"{provider.issuer}/jwks"
        with pytest.raises(ProtocolError, match="publishes no token_endpoint"):
            await fetch_metadata(provider.issuer, client)


@pytest.mark.parametrize(
    "name", ["token_endpoint", "device_authorization_endpoint", "authorization_endpoint", "revocation_endpoint", "jwks_uri"]
)
async def test_a_gateway_cannot_send_a_login_to_another_site(provider: Provider, name: str) -> None:
    async with http_client() as client:
        with pytest.raises(ProtocolError, match=f"the {name} of {provider.issuer} is at evil.example, which is another site"):
            await fetch_metadata(provider.issuer, client, {name: "https://evil.example/x"})
