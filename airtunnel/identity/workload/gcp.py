"""The identity of a machine, container or function in Google Cloud, from the metadata server beside it.

GET http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/identity?audience=...&format=full
    Metadata-Flavor: Google                         -> Metadata-Flavor: Google, and the JWT as text
https://cloud.google.com/compute/docs/instances/verifying-instance-identity
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

from airtunnel.errors import ConfigError, LoginRequired, Unreachable
from airtunnel.identity.answer import Answer
from airtunnel.identity.http import not_found, send
from airtunnel.identity.workload.accept import by_provider
from airtunnel.identity.workload.source import LIMIT
from airtunnel.wire.control import Published, WorkloadIssuer

if TYPE_CHECKING:
    import httpx2

HOST = "metadata.google.internal"
VARIABLE = "GCE_METADATA_HOST"
"""Google's own libraries obey it, too: a host, or host:port."""
PATH = "/computeMetadata/v1/instance/service-accounts/default/identity"
CONNECT = 1.0
"""Seconds: the server is on the same machine as the hypervisor."""

_PLACE = re.compile(r"(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?")


@dataclass(frozen=True, slots=True)
class Gcp:
    """A workload in Google Cloud: Compute Engine, GKE with workload identity, Cloud Run, Cloud Functions."""

    environment: Mapping[str, str] = field(repr=False)
    name: str = "gcp"
    where: str = "the metadata server's answer"

    def wants(self, published: Published) -> tuple[WorkloadIssuer, ...]:
        return by_provider(published, self.name)

    def advice(self, audience: str) -> tuple[str, ...]:
        return ()

    async def token(self, wanted: WorkloadIssuer, published: Published) -> str:
        """A token of the service account. Raises LoginRequired if there is none, ConfigError, Unreachable, Temporary."""
        host = self.environment.get(VARIABLE) or HOST
        if not _PLACE.fullmatch(host):
            raise ConfigError(f"{VARIABLE} is not a host or host:port: {host[:100]!a}")
        # Plain http is right here and nowhere else: the answer comes from the machine itself, and has no name to certify.
        url = f"http://{host}{PATH}?audience={quote(wanted.audience, safe='')}&format=full"
        async with _client() as client:
            answer = await send(client, "GET", url, timeout=LIMIT)
        return _read(url, host, answer)


def _read(url: str, host: str, answer: Answer) -> str:
    if answer.headers.get("metadata-flavor") != "Google":
        # Google's own advice: a network that answers every name has something else there.
        raise Unreachable(f"what answers at {host} is not Google's metadata server", hint=f"export {VARIABLE}=169.254.169.254")
    if answer.status in (403, 404):
        raise LoginRequired(
            f"this machine has no service account of Google Cloud: its metadata server answered HTTP {answer.status}",
            details=("attach one to the machine; on GKE: switch on workload identity, and bind the pod's service account",),
        )
    if answer.status != 200:
        raise not_found(url, answer)
    return (answer.body or b"").decode("ascii", "replace").strip()


def _client() -> "httpx2.AsyncClient":
    import httpx2

    return httpx2.AsyncClient(
        # Not the environment's proxy: it would be asked for its own machine's identity, and reads along.
        trust_env=False,
        follow_redirects=False,
        timeout=httpx2.Timeout(LIMIT.total_seconds(), connect=CONNECT),
        headers={"Metadata-Flavor": "Google", "Accept-Encoding": "identity", "User-Agent": "airtunnel"},
    )
