"""What is known of each kind of provider: a table, one row each, of what its users need not write.

A row holds what the provider's documentation says of it; an operator's own words win over every one of them.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from airtunnel.model import BrowserClient, PrincipalKind


class TokenKind(StrEnum):
    """Which of a provider's tokens is presented to the gateway."""

    ACCESS = "access_token"
    ID = "id_token"


class LoginFlow(StrEnum):
    """How a person logs in: RFC 8628, or RFC 8252 with PKCE."""

    DEVICE = "device"
    BROWSER = "browser"


@dataclass(frozen=True, slots=True)
class ClaimNames:
    """Which claims hold what identifies, the name that people read and the groups, and which others rules may look at.

    A name may be a path into an object: `kubernetes.io/namespace`, `realm_access/roles`.
    """

    name: str = "email"
    groups: str = "groups"
    keep: tuple[str, ...] = ()
    subject: str = "sub"


@dataclass(frozen=True, slots=True)
class Preset:
    """One kind of provider.

    issuer: its issuer, where all its customers have the same one
    short, pattern: a key that stands for the issuer (`domain`), and how the issuer is made of it
    audiences: what its access tokens say by default, if the issuer is made of `pattern`
    id_claims: the claims of its ID tokens, where they differ from those of its access tokens
    unusable: a phrase for each token or flow that it has not, or that is worth nothing to others
    exact_ports: it compares redirect addresses to the letter, port and all
    two_clients: it wants a client of its own for each flow
    asks_audience: a login must ask for the audience of its access token (parameter `audience`)
    anybody: who may have a token made for our audience, where that is more than our own people and programs
    demand: the claim that says whose a token is, as an example
    """

    name: str
    kind: PrincipalKind = PrincipalKind.PERSON
    issuer: str = ""
    short: str = ""
    pattern: str = ""
    audiences: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ("openid", "email", "offline_access")
    token: TokenKind = TokenKind.ACCESS
    flows: tuple[LoginFlow, ...] = (LoginFlow.DEVICE,)
    claims: ClaimNames = field(default_factory=ClaimNames)
    id_claims: ClaimNames | None = None
    browser: BrowserClient = field(default_factory=BrowserClient)
    pages: tuple[str, ...] = ()
    unusable: tuple[tuple[str, str], ...] = ()
    exact_ports: bool = False
    two_clients: bool = False
    asks_audience: bool = False
    anybody: str = ""
    demand: str = ""

    def claims_of(self, token: TokenKind) -> ClaimNames:
        """The claims of a kind of token."""
        return self.id_claims if self.id_claims and token is TokenKind.ID else self.claims


# Where ports must be registered one by one: two, so that another program on the first one keeps nobody out.
_REGISTERED = (8000, 18000)
_BOTH = (LoginFlow.DEVICE, LoginFlow.BROWSER)

OIDC = Preset("oidc")

# https://developer.okta.com/docs/concepts/auth-servers: only a custom authorization server's access tokens are for others.
# `sub` is there the login name, `uid` the user. An ID token that comes with an access token is "thin": no groups, no e-mail
# (https://support.okta.com/help/s/article/Okta-Groups-or-Attribute-Missing-from-Id-Token).
OKTA = Preset(
    "okta",
    short="domain",
    pattern="https://{}/oauth2/default",
    audiences=("api://default",),
    scopes=("openid", "profile", "email", "offline_access"),
    flows=_BOTH,
    claims=ClaimNames(name="sub", subject="uid"),
    id_claims=ClaimNames(name="preferred_username"),
    browser=BrowserClient(ports=_REGISTERED),
    exact_ports=True,
)

# https://developers.google.com/identity/openid-connect/openid-connect: opaque access tokens, no groups, no `offline_access`;
# https://developers.google.com/identity/protocols/oauth2/limited-input-device: device codes have a client type of their own.
GOOGLE = Preset(
    "google",
    issuer="https://accounts.google.com",
    scopes=("openid", "email"),
    token=TokenKind.ID,
    flows=(LoginFlow.BROWSER,),
    pages=("www.google.com",),
    unusable=(("access_token", "Google's access tokens can be read by Google alone: `token: id_token`"),),
    two_clients=True,
    anybody="anybody with a Google account",
    demand="hd: example.com",
)

# https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference: `oid` stays, names change; groups are GUIDs and
# missing above 200, app roles are not. Redirects: https://learn.microsoft.com/entra/identity-platform/reply-url#localhost-exceptions
ENTRA = Preset(
    "entra",
    short="tenant",
    pattern="https://login.microsoftonline.com/{}/v2.0",
    scopes=("openid", "profile", "email", "offline_access"),
    token=TokenKind.ID,
    flows=(LoginFlow.BROWSER, LoginFlow.DEVICE),
    claims=ClaimNames(name="preferred_username", groups="roles", subject="oid"),
    browser=BrowserClient(host="localhost"),
    pages=("microsoft.com", "login.microsoft.com"),
)

# https://www.keycloak.org/docs/latest/server_admin/#_oidc_clients; audience and groups each need a mapper.
KEYCLOAK = Preset("keycloak", flows=_BOTH)

# https://auth0.com/docs/secure/tokens/json-web-tokens/create-custom-claims: `groups` and `roles` are reserved, so claims of an
# Action have a namespace. The issuer ends in a slash. https://auth0.com/docs/get-started/applications/application-settings
AUTH0 = Preset(
    "auth0",
    short="domain",
    pattern="https://{}/",
    flows=_BOTH,
    claims=ClaimNames(name="https://airtunnel/email", groups="https://airtunnel/groups"),
    id_claims=ClaimNames(groups="https://airtunnel/groups"),
    browser=BrowserClient(ports=_REGISTERED),
    exact_ports=True,
    asks_audience=True,
)

# https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-the-id-token.html, and
# .../cognito-user-pools-app-idp-settings.html: http redirects to localhost only. It refuses scopes that it does not know.
COGNITO = Preset(
    "cognito",
    scopes=("openid", "email", "profile"),
    token=TokenKind.ID,
    flows=(LoginFlow.BROWSER,),
    claims=ClaimNames(groups="cognito:groups"),
    browser=BrowserClient(ports=_REGISTERED, host="localhost"),
    unusable=(
        ("access_token", "Cognito's access tokens name no audience: `token: id_token`"),
        ("device", "Cognito has no device flow: `flows: [browser]`"),
    ),
    exact_ports=True,
)

# https://kubernetes.io/docs/tasks/configure-pod-container/configure-service-account/#service-account-issuer-discovery
KUBERNETES = Preset(
    "kubernetes",
    PrincipalKind.WORKLOAD,
    claims=ClaimNames(
        name="sub",
        keep=("sub", "kubernetes.io/namespace", "kubernetes.io/serviceaccount/name", "kubernetes.io/pod/name"),
    ),
)

# https://docs.github.com/actions/reference/security/oidc; the ids stay with a repository, its name can be given to another.
GITHUB = Preset(
    "github",
    PrincipalKind.WORKLOAD,
    issuer="https://token.actions.githubusercontent.com",
    claims=ClaimNames(
        name="sub",
        keep=(
            *("sub", "repository", "repository_id", "repository_owner", "repository_owner_id", "ref", "environment"),
            *("event_name", "workflow", "job_workflow_ref", "actor", "run_id"),
        ),
    ),
    anybody="every workflow on GitHub",
    demand="repository_owner: YOUR-ORGANISATION",
)

# https://docs.gitlab.com/ci/secrets/id_token_authentication/#token-payload
GITLAB = Preset(
    "gitlab",
    PrincipalKind.WORKLOAD,
    issuer="https://gitlab.com",
    claims=ClaimNames(
        name="sub",
        keep=(
            *("sub", "project_path", "project_id", "namespace_path", "namespace_id", "ref", "ref_type", "ref_protected"),
            *("environment", "environment_protected", "pipeline_source", "user_login", "job_id"),
        ),
    ),
    anybody="every pipeline on gitlab.com",
    demand="namespace_path: YOUR-GROUP",
)

# https://docs.cloud.google.com/compute/docs/instances/verifying-instance-identity: the second part only with format=full.
GCP = Preset(
    "gcp",
    PrincipalKind.WORKLOAD,
    issuer="https://accounts.google.com",
    claims=ClaimNames(
        keep=("email", "google/compute_engine/project_id", "google/compute_engine/instance_name", "google/compute_engine/zone")
    ),
    anybody="every service account of every customer of Google Cloud",
    demand="email: NAME@PROJECT.iam.gserviceaccount.com",
)

# https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles_providers_outbound_token_claims.html: an issuer for each account.
AWS = Preset(
    "aws",
    PrincipalKind.WORKLOAD,
    claims=ClaimNames(
        name="sub",
        keep=(
            "sub",
            *(f"https://sts.amazonaws.com//{one}" for one in ("aws_account", "org_id", "source_region", "principal_tags")),
        ),
    ),
)

PRESETS = {one.name: one for one in (OIDC, OKTA, GOOGLE, ENTRA, KEYCLOAK, AUTH0, COGNITO, KUBERNETES, GITHUB, GITLAB, GCP, AWS)}
