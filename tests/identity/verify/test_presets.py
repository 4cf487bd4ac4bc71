"""Each recipe of the README against its provider, replayed: who a token speaks of, and which tokens are not taken."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airtunnel.config.gateway import ProviderConfig, load_gateway
from airtunnel.errors import TokenRejected, Unreachable
from airtunnel.gateway.providers import trusted
from airtunnel.identity.http import get_json, http_client
from airtunnel.identity.verify.verifier import Verifier
from airtunnel.model import KeyBinding, Principal, PrincipalKind
from tests.identity import worlds
from tests.identity.replay import Replay, replaying
from tests.readme import entry

PERSON, WORKLOAD = PrincipalKind.PERSON, PrincipalKind.WORKLOAD
JOBS = "Jobs, pods and machines"

# Recipe, which of its entries, the provider, who it is, and what must change for the token to be refused.
PEOPLE = {
    "Okta": (worlds.OKTA, "00u1a2b3c4D5e6F7g8h9", ("Everyone", "data-eng")),
    "Google Workspace": (worlds.GOOGLE, "110169484474386276334", ("data-eng", "on-call")),
    "Microsoft Entra ID": (worlds.ENTRA, "aaaaaaaa-0000-1111-2222-bbbbbbbbbbbb", ("data-eng",)),
    "Keycloak": (worlds.KEYCLOAK, "f7c1d2a3-9f3b-4a7e-8d11-0f6b6f4f2e10", ("data-eng", "on-call")),
    "Auth0": (worlds.AUTH0, "auth0|5a620d29a840170a9ef43672", ("data-eng",)),
    "Amazon Cognito": (worlds.COGNITO, "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", ("data-eng",)),
}
WORKLOADS: dict[str, tuple[Replay, str, Mapping[str, Any]]] = {  # Any: claims, JSON
    "kubernetes": (
        worlds.KUBERNETES,
        "system:serviceaccount:airflow:worker",
        {
            "kubernetes.io/namespace": "airflow",
            "kubernetes.io/serviceaccount/name": "worker",
            "kubernetes.io/pod/name": "worker-7d9c",
        },
    ),
    "github": (
        worlds.GITHUB,
        "repo:acme/shop:environment:production",
        {
            "repository": "acme/shop",
            "repository_id": "74",
            "repository_owner": "acme",
            "repository_owner_id": "65",
            "ref": "refs/heads/main",
            "environment": "production",
            "event_name": "workflow_dispatch",
            "workflow": "migrate",
            "job_workflow_ref": "acme/shop/.github/workflows/migrate.yml@refs/heads/main",
            "actor": "ana",
            "run_id": "example-run-id",
        },
    ),
    "gitlab": (
        worlds.GITLAB,
        "project_path:acme/data/export:ref_type:branch:ref:main",
        {
            "project_path": "acme/data/export",
            "project_id": "20",
            "namespace_path": "acme/data",
            "namespace_id": "72",
            "ref": "main",
            "ref_type": "branch",
            "ref_protected": "true",
            "pipeline_source": "schedule",
            "user_login": "ana",
            "job_id": "302",
        },
    ),
    "gcp": (
        worlds.GCP,
        worlds.SERVICE_ACCOUNT,
        {
            "email": worlds.SERVICE_ACCOUNT,
            "google/compute_engine/project_id": "acme-prod",
            "google/compute_engine/instance_name": "worker-1",
            "google/compute_engine/zone": "europe-west3-a",
        },
    ),
    "aws": (
        worlds.AWS,
        "arn:aws:iam::123456789012:role/airflow-worker",
        {
            "https://sts.amazonaws.com//aws_account": "123456789012",
            "https://sts.amazonaws.com//org_id": "o-abc1234567",
            "https://sts.amazonaws.com//source_region": "eu-central-1",
            "https://sts.amazonaws.com//principal_tags": {"team": "data-engineering"},
        },
    ),
}
REFUSED = [
    ("Okta", {"aud": "api://other"}, "aud"),
    ("Okta", {"cid": "0oaSomebodyElses"}, "another client"),
    ("Google Workspace", {"hd": "evil.example"}, "hd"),
    ("Google Workspace", {"hd": None, "email": "ana@gmail.com"}, "hd"),
    ("Google Workspace", {"azp": "999-other.apps.googleusercontent.com"}, "another client"),
    ("Google Workspace", {"aud": "999-other.apps.googleusercontent.com"}, "aud"),
    ("Google Workspace", {"email_verified": False}, "not verified"),
    # A machine in Google's cloud may ask for any audience, also for that of the people.
    ("Google Workspace", {"azp": "102002030430030030030", "email": worlds.SERVICE_ACCOUNT}, "another client"),
    ("Microsoft Entra ID", {"iss": "https://login.microsoftonline.com/99999999-0000/v2.0"}, "issuer is not trusted"),
    ("Microsoft Entra ID", {"aud": "00000003-0000-0000-c000-000000000000"}, "aud"),
    ("Microsoft Entra ID", {"oid": None}, "oid"),
    ("Microsoft Entra ID", {"_claim_names": {"roles": "src1"}}, "too many groups"),
    ("Keycloak", {"aud": "account"}, "aud"),
    ("Keycloak", {"azp": "wiki"}, "another client"),
    ("Keycloak", {"typ": "ID"}, "not an access_token"),
    ("Keycloak", {"email_verified": False}, "not verified"),
    ("Keycloak", {"iss": "https://sso.example.com/realms/other"}, "issuer is not trusted"),
    ("Auth0", {"iss": "https://acme.eu.auth0.com"}, "issuer is not trusted"),
    ("Auth0", {"aud": "https://acme.eu.auth0.com/userinfo"}, "aud"),
    ("Auth0", {"azp": "OtherApplication"}, "another client"),
    ("Amazon Cognito", {"aud": "2h57kf5cpq17m0eml12EXAMPLE"}, "aud"),
    ("Amazon Cognito", {"email_verified": "false"}, "not verified"),
    ("kubernetes", {"aud": ["https://kubernetes.default.svc"]}, "aud"),
    ("kubernetes", {"iss": "https://oidc.eks.eu-central-1.amazonaws.com/id/FEDC"}, "issuer is not trusted"),
    ("github", {"aud": "https://github.com/acme"}, "aud"),
    ("github", {"repository_owner": "evil"}, "repository_owner"),
    ("gitlab", {"namespace_path": "evil"}, "namespace_path"),
    ("gitlab", {"aud": "https://gitlab.com"}, "aud"),
    ("gcp", {"email": "airflow@evil.iam.gserviceaccount.com"}, "email"),
    ("gcp", {"aud": "https://other.example.com"}, "aud"),
    ("aws", {"aud": "sts.amazonaws.com"}, "aud"),
    ("aws", {"iss": "https://ffffffff.tokens.sts.global.api.aws"}, "issuer is not trusted"),
]


def recipe(directory: Path, text: str) -> tuple[ProviderConfig, ...]:
    """The README's entries, read by the gateway. Key binding has tests of its own: here a token is shown alone."""
    for name in ("gateway.pem", "gateway.key", "policy.yaml"):
        (directory / name).touch()
    (directory / "groups.yaml").write_text(
        "data-eng: [ana@example.com]\non-call: [ana@example.com, 'sub:110169484474386276334']\n"
    )
    (directory / "gateway.yaml").write_text(f"tls: {{certificate: gateway.pem, key: gateway.key}}\npolicy: policy.yaml\n{text}")
    providers = load_gateway(directory / "gateway.yaml").providers
    return tuple(replace(one, binding=KeyBinding.NONE) for one in providers)


def world_of(name: str) -> tuple[Replay, str]:
    """The replayed provider, and the recipe that speaks of it."""
    return (PEOPLE[name][0], entry(name)) if name in PEOPLE else (WORKLOADS[name][0], entry(JOBS))


async def who(world: Replay, text: str, directory: Path, monkeypatch: pytest.MonkeyPatch, **changed: object) -> Principal:
    now = datetime.now(UTC)
    world.asked.clear()
    with replaying(world, directory) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        verifier = Verifier(trusted(recipe(directory, text)), clock=lambda: now)
        return (await verifier.verify(world.token(now, **changed))).principal


@pytest.mark.parametrize("name", PEOPLE)
async def test_a_persons_token_says_who_it_is_and_in_which_groups(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, subject, groups = PEOPLE[name]
    principal = await who(world, entry(name), tmp_path, monkeypatch)
    assert principal == Principal(PERSON, world.issuer, subject, "ana@example.com", groups)
    assert world.jwks_uri in world.asked


@pytest.mark.parametrize("name", WORKLOADS)
async def test_a_workloads_token_says_what_it_is_and_where_it_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, called, claims = WORKLOADS[name]
    principal = await who(world, entry(JOBS), tmp_path, monkeypatch)
    subject = {"sub": world.claims["sub"]} if name != "gcp" else {}  # Google's is a number that nobody writes into a rule
    assert principal == Principal(WORKLOAD, world.issuer, world.claims["sub"], called, (), {**subject, **claims})


@pytest.mark.parametrize(("name", "changed", "reason"), REFUSED)
async def test_a_token_that_was_made_elsewhere_or_for_somebody_else_is_not_taken(
    name: str, changed: dict[str, object], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, text = world_of(name)
    with pytest.raises(TokenRejected, match=reason):
        await who(world, text, tmp_path, monkeypatch, **changed)


@pytest.mark.parametrize("client", ["tv", "desktop"])
async def test_both_of_googles_clients_are_taken_with_the_second_recipe(
    client: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"1234567890-{client}.apps.googleusercontent.com"
    principal = await who(worlds.GOOGLE, entry("Google Workspace", 1), tmp_path, monkeypatch, aud=name, azp=name)
    assert principal.groups == ("data-eng", "on-call")


async def test_a_worker_with_a_client_of_its_own_is_no_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = {"azp": "airflow-worker", "client_id": "airflow-worker", "email": None, "groups": None}
    principal = await who(worlds.KEYCLOAK, entry(JOBS), tmp_path, monkeypatch, **worker)
    assert (principal.kind, principal.name) == (WORKLOAD, "airflow-worker")
    person = await who(worlds.KEYCLOAK, entry(JOBS), tmp_path, monkeypatch)
    assert (person.kind, person.name) == (PERSON, "ana@example.com")
    with pytest.raises(TokenRejected, match="another client"):
        await who(worlds.KEYCLOAK, entry(JOBS), tmp_path, monkeypatch, azp="wiki")


async def test_a_provider_that_is_not_replayed_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with replaying(worlds.OKTA, tmp_path) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        async with http_client() as client:
            with pytest.raises(Unreachable, match=r"did not let us through to login\.example\.com"):
                await get_json(client, "https://login.example.com/")
