"""A gateway whose people's tokens are bound to keys, by a provider that binds them."""

import contextlib
from collections.abc import AsyncIterator

from airtunnel.config.gateway import load_gateway
from airtunnel.gateway.serve import Gateway
from airtunnel.identity.present import Presented
from airtunnel.identity.proof import ProofKey, commitment
from airtunnel.identity.tokenset import Bound
from tests.identity.provider import AUDIENCE, CLIENT, Provider, providing
from tests.lab import Lab, Site

DPOP = f"audiences: [{AUDIENCE}]\n    binding: dpop"
NONCE = f"audiences: [{CLIENT}]\n    token: id_token\n    flows: [browser]\n    binding: nonce"


@contextlib.asynccontextmanager
async def bound_gateway(lab: Lab, kind: str = DPOP, extra: str = "") -> AsyncIterator[tuple[Site, Provider]]:
    """A gateway that takes a second provider's tokens, and that provider. kind: of its entry in the configuration."""
    with providing() as provider:
        directory = lab.write(extra=extra)
        config = directory / "gateway.yaml"
        entry = f'  - issuer: "{provider.issuer}"\n    client_id: {CLIENT}\n    {kind}\npolicy: policy\n'
        config.write_text(config.read_text().replace("policy: policy\n", entry))
        async with Gateway.open(load_gateway(config)) as gateway:
            yield Site(lab, gateway, directory), provider


def dpop_login(provider: Provider, key: ProofKey) -> Presented:
    """What a person shows whose access token names `key`."""
    return Presented(str(provider.login(key=key.thumbprint)["access_token"]), Bound("dpop", key.dump()))


def nonce_login(provider: Provider, key: ProofKey, *, renewed: bool = False) -> Presented:
    """What a person shows whose ID token, or the first one of the login, has the commitment to `key` as its nonce."""
    first = str(provider.login(nonce=commitment(key.thumbprint, "salt"))["id_token"])
    token = str(provider.login()["id_token"]) if renewed else first
    return Presented(token, Bound("nonce", key.dump(), "salt", first))
