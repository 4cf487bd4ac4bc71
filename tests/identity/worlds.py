"""What the providers of the README's recipes say of themselves, and what their tokens look like, as they document it."""

from typing import Any

from tests.identity.replay import Replay

Json = dict[str, Any]  # Any: JSON

OKTA = Replay(
    "https://acme.okta.com/oauth2/default",
    "https://acme.okta.com/oauth2/default/v1/keys",
    {
        "authorization_endpoint": "https://acme.okta.com/oauth2/default/v1/authorize",
        "token_endpoint": "https://acme.okta.com/oauth2/default/v1/token",
        "device_authorization_endpoint": "https://acme.okta.com/oauth2/default/v1/device/authorize",
        "revocation_endpoint": "https://acme.okta.com/oauth2/default/v1/revoke",
        "scopes_supported": ["openid", "profile", "email", "address", "phone", "offline_access", "device_sso"],
        "code_challenge_methods_supported": ["S256"],
        "dpop_signing_alg_values_supported": ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"],
    },
    header={},
    claims={
        "ver": 1,
        "jti": "AT.0mP4JKAZX1iACIT4vbEDF7LpvDVjxypPMf0D7uX39RE",
        "aud": "api://default",
        "cid": "0oa1b2c3d4E5f6G7h8i9",
        "uid": "00u1a2b3c4D5e6F7g8h9",
        "scp": ["openid", "profile", "email", "offline_access"],
        "sub": "ana@example.com",
        "groups": ["Everyone", "data-eng"],
    },
)

GOOGLE_METADATA: Json = {
    "authorization_endpoint": "https://accounts.google.com/o/oauth2/v2/auth",
    "device_authorization_endpoint": "https://oauth2.googleapis.com/device/code",
    "token_endpoint": "https://oauth2.googleapis.com/token",
    "revocation_endpoint": "https://oauth2.googleapis.com/revoke",
    "scopes_supported": ["openid", "email", "profile"],
    "code_challenge_methods_supported": ["plain", "S256"],
    "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
}
GOOGLE_KEYS = "https://www.googleapis.com/oauth2/v3/certs"
DESKTOP = "1234567890-desktop.apps.googleusercontent.com"

GOOGLE = Replay(
    "https://accounts.google.com",
    GOOGLE_KEYS,
    GOOGLE_METADATA,
    claims={
        "azp": DESKTOP,
        "aud": DESKTOP,
        "sub": "110169484474386276334",
        "hd": "example.com",
        "email": "ana@example.com",
        "email_verified": True,
        "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q",
    },
)

TENANT = "11111111-2222-3333-4444-555555555555"
ENTRA = Replay(
    f"https://login.microsoftonline.com/{TENANT}/v2.0",
    f"https://login.microsoftonline.com/{TENANT}/discovery/v2.0/keys",
    {
        "authorization_endpoint": f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/authorize",
        "token_endpoint": f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token",
        "device_authorization_endpoint": f"https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/devicecode",
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
    },
    header={"typ": "JWT", "x5t": "replayed"},
    claims={
        "ver": "2.0",
        "aud": "66666666-7777-8888-9999-000000000000",
        "sub": "pairwise-AAAAAAAAAAAAAAAAAAAAAIkzqFVrSaSaFHy782bbtaQ",
        "oid": "aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb",
        "tid": TENANT,
        "uti": "fqiBqXLPj0eQa82S-IYFAA",
        "name": "Ana",
        "preferred_username": "ana@example.com",
        "roles": ["data-eng"],
    },
)

KEYCLOAK = Replay(
    "https://sso.example.com/realms/acme",
    "https://sso.example.com/realms/acme/protocol/openid-connect/certs",
    {
        "authorization_endpoint": "https://sso.example.com/realms/acme/protocol/openid-connect/auth",
        "token_endpoint": "https://sso.example.com/realms/acme/protocol/openid-connect/token",
        "device_authorization_endpoint": "https://sso.example.com/realms/acme/protocol/openid-connect/auth/device",
        "revocation_endpoint": "https://sso.example.com/realms/acme/protocol/openid-connect/revoke",
        "scopes_supported": ["openid", "email", "profile", "roles", "groups", "offline_access", "basic"],
        "code_challenge_methods_supported": ["plain", "S256"],
        "dpop_signing_alg_values_supported": ["PS384", "ES384", "RS384", "ES256", "RS256", "ES512", "PS256", "EdDSA"],
        "authorization_response_iss_parameter_supported": True,
    },
    claims={
        "jti": "onrtac:5a1c0c2f-1b1f-4a5e-9d5b-2f3f1f0c0a77",
        "aud": ["airtunnel-gateway", "account"],
        "sub": "f7c1d2a3-9f3b-4a7e-8d11-0f6b6f4f2e10",
        "typ": "Bearer",
        "azp": "airtunnel",
        "scope": "openid email profile",
        "realm_access": {"roles": ["offline_access", "default-roles-acme"]},
        "email": "ana@example.com",
        "email_verified": True,
        "preferred_username": "ana",
        "groups": ["data-eng", "on-call"],
    },
)

AUTH0 = Replay(
    "https://acme.eu.auth0.com/",
    "https://acme.eu.auth0.com/.well-known/jwks.json",
    {
        "authorization_endpoint": "https://acme.eu.auth0.com/authorize",
        "token_endpoint": "https://acme.eu.auth0.com/oauth/token",
        "device_authorization_endpoint": "https://acme.eu.auth0.com/oauth/device/code",
        "revocation_endpoint": "https://acme.eu.auth0.com/oauth/revoke",
        "scopes_supported": ["openid", "profile", "offline_access", "name", "email", "email_verified"],
        "code_challenge_methods_supported": ["S256", "plain"],
    },
    claims={
        "https://airtunnel/email": "ana@example.com",
        "https://airtunnel/groups": ["data-eng"],
        "sub": "auth0|5a620d29a840170a9ef43672",
        "aud": ["https://airtunnel.example.com", "https://acme.eu.auth0.com/userinfo"],
        "scope": "openid email offline_access",
        "azp": "aBcDeFgHiJkLmNoPqRsTuVwXyZ012345",
    },
)

POOL = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI"
COGNITO = Replay(
    POOL,
    f"{POOL}/.well-known/jwks.json",
    {
        "authorization_endpoint": "https://acme.auth.eu-central-1.amazoncognito.com/oauth2/authorize",
        "token_endpoint": "https://acme.auth.eu-central-1.amazoncognito.com/oauth2/token",
        "revocation_endpoint": "https://acme.auth.eu-central-1.amazoncognito.com/oauth2/revoke",
        "scopes_supported": ["openid", "email", "phone", "profile"],
    },
    header={},
    claims={
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "cognito:groups": ["data-eng"],
        "cognito:username": "ana",
        "email": "ana@example.com",
        "email_verified": True,
        "aud": "1h57kf5cpq17m0eml12EXAMPLE",
        "event_id": "64f513be-32db-42b0-b78e-b02127b4f463",
        "token_use": "id",
        "origin_jti": "aaaaaaaa-1111-2222-3333-bbbbbbbbbbbb",
        "jti": "aaaaaaaa-2222-3333-4444-bbbbbbbbbbbb",
    },
)

# Workloads' issuers publish what verifies a token, and no endpoint.
SIGNING: Json = {"response_types_supported": ["id_token"], "subject_types_supported": ["public"]}

KUBERNETES = Replay(
    "https://oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF",
    "https://oidc.eks.eu-central-1.amazonaws.com/id/0123456789ABCDEF0123456789ABCDEF/keys",
    SIGNING | {"id_token_signing_alg_values_supported": ["RS256"]},
    header={},
    claims={
        "aud": ["airtunnel-gateway"],
        "jti": "ea28ed49-2e11-4280-9ec5-bc3d1d84661a",
        "kubernetes.io": {
            "namespace": "airflow",
            "node": {"name": "node-1", "uid": "646e7c5e-32d6-4d42-9dbd-e504e6cbe6b1"},
            "pod": {"name": "worker-7d9c", "uid": "5e0bd49b-f040-43b0-99b7-22765a53f7f3"},
            "serviceaccount": {"name": "worker", "uid": "14ee3fa4-a7e2-420f-9f9a-dbc4507c3798"},
        },
        "sub": "system:serviceaccount:airflow:worker",
    },
)

GITHUB = Replay(
    "https://token.actions.githubusercontent.com",
    "https://token.actions.githubusercontent.com/.well-known/jwks",
    SIGNING | {"id_token_signing_alg_values_supported": ["RS256"], "scopes_supported": ["openid"]},
    header={"typ": "JWT", "x5t": "replayed"},
    claims={
        "jti": "example-id",
        "sub": "repo:acme/shop:environment:production",
        "environment": "production",
        "aud": "airtunnel-gateway",
        "ref": "refs/heads/main",
        "sha": "example-sha",
        "repository": "acme/shop",
        "repository_owner": "acme",
        "actor_id": "12",
        "repository_visibility": "private",
        "repository_id": "74",
        "repository_owner_id": "65",
        "run_id": "example-run-id",
        "run_number": "10",
        "run_attempt": "2",
        "runner_environment": "github-hosted",
        "actor": "ana",
        "workflow": "migrate",
        "head_ref": "",
        "base_ref": "",
        "event_name": "workflow_dispatch",
        "ref_type": "branch",
        "job_workflow_ref": "acme/shop/.github/workflows/migrate.yml@refs/heads/main",
    },
)

GITLAB = Replay(
    "https://gitlab.com",
    "https://gitlab.com/oauth/discovery/keys",
    {
        "authorization_endpoint": "https://gitlab.com/oauth/authorize",
        "token_endpoint": "https://gitlab.com/oauth/token",
        "scopes_supported": ["api", "read_user", "openid", "profile", "email"],
    },
    claims={
        "aud": "airtunnel-gateway",
        "sub": "project_path:acme/data/export:ref_type:branch:ref:main",
        "jti": "235b3a54-b797-45c7-ae9a-f72d7bc6ef5b",
        "namespace_id": "72",
        "namespace_path": "acme/data",
        "project_id": "20",
        "project_path": "acme/data/export",
        "user_id": "1",
        "user_login": "ana",
        "user_email": "ana@example.com",
        "pipeline_id": "574",
        "pipeline_source": "schedule",
        "job_id": "302",
        "ref": "main",
        "ref_type": "branch",
        "ref_path": "refs/heads/main",
        "ref_protected": "true",
        "runner_id": 1,
        "runner_environment": "gitlab-hosted",
        "ci_config_ref_uri": "gitlab.com/acme/data/export//.gitlab-ci.yml@refs/heads/main",
    },
)

SERVICE_ACCOUNT = "airflow@acme-prod.iam.gserviceaccount.com"
GCP = Replay(
    "https://accounts.google.com",
    GOOGLE_KEYS,
    GOOGLE_METADATA,
    claims={
        "aud": "airtunnel-gateway",
        "azp": "102002030430030030030",
        "sub": "102002030430030030030",
        "email": SERVICE_ACCOUNT,
        "email_verified": True,
        "google": {
            "compute_engine": {
                "instance_creation_timestamp": 1484684880,
                "instance_id": "152986662232938449",
                "instance_name": "worker-1",
                "project_id": "acme-prod",
                "project_number": 739419398126,
                "zone": "europe-west3-a",
            }
        },
    },
)

AWS = Replay(
    "https://0a1b2c3d-1111-2222-3333-444455556666.tokens.sts.global.api.aws",
    "https://0a1b2c3d-1111-2222-3333-444455556666.tokens.sts.global.api.aws/.well-known/jwks.json",
    SIGNING | {"id_token_signing_alg_values_supported": ["ES384", "RS256"]},
    algorithm="ES384",
    claims={
        "aud": "airtunnel-gateway",
        "sub": "arn:aws:iam::123456789012:role/airflow-worker",
        "jti": "xyz123-def456-ghi789-jkl012",
        "https://sts.amazonaws.com/": {
            "aws_account": "123456789012",
            "source_region": "eu-central-1",
            "org_id": "o-abc1234567",
            "principal_tags": {"team": "data-engineering"},
        },
    },
)
