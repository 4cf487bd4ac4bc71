"""A GitHub Actions job's identity.

GET $ACTIONS_ID_TOKEN_REQUEST_URL&audience=...   Authorization: Bearer $ACTIONS_ID_TOKEN_REQUEST_TOKEN   -> {"value": JWT}
https://docs.github.com/en/actions/reference/security/oidc
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from airtunnel.errors import ConfigError, LoginFailed, LoginRequired, ProtocolError, Unreachable
from airtunnel.identity.endpoint import secure_url
from airtunnel.identity.http import http_client, not_found, send
from airtunnel.identity.workload.accept import by_provider
from airtunnel.identity.workload.source import LIMIT
from airtunnel.wire.control import Published, WorkloadIssuer

URL, KEY = "ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"
PERMISSION = ("in the workflow, for the job:", "  permissions:", "    id-token: write")


@dataclass(frozen=True, slots=True)
class GitHub:
    """A job of GitHub Actions, or of a GitHub Enterprise Server."""

    environment: Mapping[str, str] = field(repr=False)
    name: str = "github"
    where: str = "GitHub's answer"

    def wants(self, published: Published) -> tuple[WorkloadIssuer, ...]:
        return by_provider(published, self.name)

    def advice(self, audience: str) -> tuple[str, ...]:
        return ()

    async def token(self, wanted: WorkloadIssuer, published: Published) -> str:
        """A new token. Raises LoginRequired if the job may have none, LoginFailed if GitHub says no, Unreachable, Temporary."""
        url, key = self.environment.get(URL, ""), self.environment.get(KEY, "")
        if not url or not key:
            inside = self.environment.get("GITHUB_ACTIONS") == "true"
            why = "this job may not ask GitHub for an identity" if inside else "this is no job of GitHub Actions"
            # Jobs that a fork's pull request starts get no such permission, whatever the workflow says.
            more = ("a pull request from a fork never has it",) if inside else ()
            raise LoginRequired(f"{why}: {URL if not url else KEY} is not set", details=(*PERMISSION, *more))
        _check(url, key)
        asked = f"{url}{'&' if '?' in url else '?'}audience={quote(wanted.audience, safe='')}"
        async with http_client(timeout=LIMIT) as client:
            answer = await send(client, "GET", asked, bearer=key, timeout=LIMIT)
        if answer.status in (401, 403):
            raise LoginFailed(f"GitHub refuses this job an identity: HTTP {answer.status}", details=PERMISSION)
        body = answer.json()
        if answer.status != 200 or body is None:
            raise not_found(asked, answer)
        value = body.get("value")
        if not isinstance(value, str):
            raise Unreachable("GitHub's answer holds no token")
        return value


def _check(url: str, key: str) -> None:
    """That the job's own key goes to GitHub only, and to nobody who reads along."""
    try:
        secure_url(url, URL)
    except ProtocolError as error:
        raise ConfigError(error.message) from error
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"{KEY} holds characters that no key has")
