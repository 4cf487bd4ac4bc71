"""Which identity does this machine have? Found by what lies about here, never by asking the network."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from airtunnel.errors import LoginRequired, UsageError
from airtunnel.identity.workload import client_credentials, gcp, github, gitlab
from airtunnel.identity.workload.aws import Aws
from airtunnel.identity.workload.client_credentials import ClientCredentials
from airtunnel.identity.workload.gcp import Gcp
from airtunnel.identity.workload.github import GitHub
from airtunnel.identity.workload.gitlab import GitLab
from airtunnel.identity.workload.given import FILE, TEXT, GivenToken, TokenFile
from airtunnel.identity.workload.kubernetes import DEFAULT, PROJECTED, Kubernetes, manifest
from airtunnel.identity.workload.present import WorkloadIdentity
from airtunnel.identity.workload.source import TokenSource

Environment = Mapping[str, str]

AWS_SIGNS = (
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_EXECUTION_ENV",
)
"""Set in pods with a role, in ECS, in Lambda. Access keys alone are not a sign: they are a person's as often."""
PRODUCT = Path("sys/class/dmi/id/product_name")


def find_identity(wanted: str | None, environment: Environment = os.environ, root: Path = Path("/")) -> WorkloadIdentity | None:
    """The identity called `wanted`; of `auto` the first that this machine has; without one only a token that was given.

    wanted: auto, token, client-credentials, github, gitlab, kubernetes, aws, gcp; or None, for which None may come back
    root: where files are looked for that have a fixed place
    Raises UsageError for another name, or two tokens; LoginRequired if `auto` or `token` find nothing. Everything else that is
    missing is said when the identity is used, where the gateway's audience is known.
    """
    if wanted == "auto":
        return WorkloadIdentity(_detect(environment, root))
    if wanted is None or wanted == "token":
        if (source := _given(environment)) is None and wanted is not None:
            raise LoginRequired(f"neither {TEXT} nor {FILE} is set", hint=f"export {FILE}=/path/of/the/token")
        return None if source is None else WorkloadIdentity(source)
    if (make := _SOURCES.get(wanted)) is None:
        known = ", ".join(("auto", "token", *_SOURCES))
        raise UsageError(f"there is no identity called {wanted[:50]!a}", hint=f"--identity with one of {known}")
    return WorkloadIdentity(make(environment, root))


def _given(environment: Environment) -> TokenSource | None:
    """The token that was given. A variable that is set and empty counts: whoever set it did not mean a person's login."""
    if TEXT in environment and FILE in environment:
        raise UsageError(f"both {TEXT} and {FILE} are set: which of them?", hint=f"unset {TEXT}")
    if FILE in environment:
        path = environment[FILE].strip()
        if not path:
            raise LoginRequired(f"{FILE} is set, and empty", hint=f"export {FILE}=/path/of/the/token")
        return TokenFile(Path(path))
    return GivenToken(environment) if TEXT in environment else None


def _detect(environment: Environment, root: Path) -> TokenSource:
    if (source := _given(environment)) is not None:
        return source
    for name, make in _SOURCES.items():
        if _SIGNS[name](environment, root):
            return make(environment, root)
    raise LoginRequired(
        "this machine has no identity that could be shown to a gateway",
        details=(*_help(environment, root), *_looked()),
        hint=f"export {FILE}=/path/of/a/token",
    )


def _help(environment: Environment, root: Path) -> tuple[str, ...]:
    """What would help where this seems to be."""
    if environment.get("GITHUB_ACTIONS") == "true":
        return github.PERMISSION
    if environment.get("GITLAB_CI") == "true":
        return gitlab.job("")
    return manifest("") if (root / DEFAULT).exists() else ()


def _looked() -> tuple[str, ...]:
    return (
        "looked for",
        f"  token: {TEXT}, {FILE}",
        f"  client-credentials: {client_credentials.CLIENT} and {client_credentials.KEY}",
        f"  github: {github.URL}",
        f"  gitlab: {gitlab.VARIABLE}",
        f"  kubernetes: /{PROJECTED}",
        f"  aws: {', '.join(AWS_SIGNS)}",
        f"  gcp: {gcp.VARIABLE}, /{PRODUCT}",
    )


def _kubernetes(environment: Environment, root: Path) -> TokenSource:
    given = environment.get(FILE, "").strip()
    return Kubernetes(Path(given) if given else root / PROJECTED, root / DEFAULT)


def _in_google(environment: Environment, root: Path) -> bool:
    if environment.get(gcp.VARIABLE):
        return True
    try:
        with (root / PRODUCT).open("rb") as file:
            return file.read(64).startswith(b"Google")
    except OSError:
        return False


# In the order in which `auto` looks: what somebody set on purpose comes before what the surroundings happen to have.
_SOURCES: Mapping[str, Callable[[Environment, Path], TokenSource]] = {
    "client-credentials": lambda environment, root: ClientCredentials(environment),
    "github": lambda environment, root: GitHub(environment),
    "gitlab": lambda environment, root: GitLab(environment),
    "kubernetes": _kubernetes,
    "aws": lambda environment, root: Aws(environment),
    "gcp": lambda environment, root: Gcp(environment),
}
_SIGNS: Mapping[str, Callable[[Environment, Path], bool]] = {
    "client-credentials": lambda environment, root: bool(environment.get(client_credentials.CLIENT)),
    "github": lambda environment, root: bool(environment.get(github.URL)),
    "gitlab": lambda environment, root: bool(environment.get(gitlab.VARIABLE)),
    "kubernetes": lambda environment, root: (root / PROJECTED).exists(),
    "aws": lambda environment, root: any(environment.get(one) for one in AWS_SIGNS),
    "gcp": _in_google,
}
