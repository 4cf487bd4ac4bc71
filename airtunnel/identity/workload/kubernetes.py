"""A pod's identity: a token that the kubelet projects into a file for one audience, and replaces before it expires.

https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#serviceaccount-token-volume-projection
"""

from dataclasses import dataclass
from pathlib import Path

from airtunnel.errors import LoginRequired
from airtunnel.identity.workload.accept import by_provider, taken
from airtunnel.identity.workload.file import read_secret
from airtunnel.wire.control import Published, WorkloadIssuer

PROJECTED = Path("var/run/secrets/airtunnel/token")
"""Below the root: where the lines of `advice` mount it."""
DEFAULT = Path("var/run/secrets/kubernetes.io/serviceaccount/token")
"""What every pod has, for the cluster's API server. Never sent anywhere."""


@dataclass(frozen=True, slots=True)
class Kubernetes:
    """A pod. path: the projected token's file; default: the one of the API server, whose presence says "this is a pod"."""

    path: Path
    default: Path
    name: str = "kubernetes"

    @property
    def where(self) -> str:
        return str(self.path)

    def wants(self, published: Published) -> tuple[WorkloadIssuer, ...]:
        return (by_provider(published, self.name) or taken(published))[:1]

    def advice(self, audience: str) -> tuple[str, ...]:
        return manifest(audience)

    async def token(self, wanted: WorkloadIssuer, published: Published) -> str:
        """The token as it is now. Raises LoginRequired with what belongs into the manifest; ConfigError for a bad file."""
        try:
            return read_secret(self.path, "the pod's token", private=False)
        except LoginRequired as error:
            if not self.default.exists():
                raise LoginRequired(error.message, details=("is this a pod?", *manifest(wanted.audience))) from error
            raise LoginRequired(
                "this pod has a token for the Kubernetes API only, which is not for a gateway",
                details=manifest(wanted.audience),
            ) from error


def manifest(audience: str) -> tuple[str, ...]:
    """The lines of a pod's manifest that give it a token for a gateway."""
    return (
        "in the pod's manifest:",
        "  containers:",
        "  - volumeMounts:",
        f"    - {{name: airtunnel, mountPath: /{PROJECTED.parent}, readOnly: true}}",
        "  volumes:",
        "  - name: airtunnel",
        "    projected:",
        "      sources:",
        f"      - serviceAccountToken: {{audience: {audience or 'AUDIENCE'}, expirationSeconds: 600, path: {PROJECTED.name}}}",
    )
