"""A GitLab CI job's identity: GitLab puts the token into a variable that the job names.

https://docs.gitlab.com/ci/secrets/id_token_authentication/
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from airtunnel.errors import LoginRequired
from airtunnel.identity.workload.accept import by_provider, taken
from airtunnel.wire.control import Published, WorkloadIssuer

VARIABLE = "AIRTUNNEL_ID_TOKEN"


@dataclass(frozen=True, slots=True)
class GitLab:
    """A job of GitLab CI."""

    environment: Mapping[str, str] = field(repr=False)
    name: str = "gitlab"
    where: str = VARIABLE

    def wants(self, published: Published) -> tuple[WorkloadIssuer, ...]:
        return (by_provider(published, self.name) or taken(published))[:1]

    def advice(self, audience: str) -> tuple[str, ...]:
        return job(audience)

    async def token(self, wanted: WorkloadIssuer, published: Published) -> str:
        """The token. Raises LoginRequired with what belongs into .gitlab-ci.yml."""
        if token := self.environment.get(VARIABLE, "").strip():
            return token
        inside = self.environment.get("GITLAB_CI") == "true"
        why = "this job has no identity for a gateway" if inside else "this is no job of GitLab CI"
        raise LoginRequired(f"{why}: {VARIABLE} is not set", details=job(wanted.audience))


def job(audience: str) -> tuple[str, ...]:
    """The lines of a job that give it a token for a gateway."""
    return (
        "in .gitlab-ci.yml, for the job:",
        "  id_tokens:",
        f"    {VARIABLE}:",
        f"      aud: {audience or 'AUDIENCE'}",
    )
