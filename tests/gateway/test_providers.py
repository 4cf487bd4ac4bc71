"""What clients are told of the providers, and whose tokens are accepted."""

from pathlib import Path

import pytest

from airtunnel.config.gateway import GatewayConfig, load_gateway
from airtunnel.errors import ConfigError
from airtunnel.gateway.providers import publish, trusted
from airtunnel.gateway.setup import check, create_certificate
from airtunnel.identity.verify.claims import ClaimMap
from airtunnel.model import BrowserClient, KeyBinding, PrincipalKind
from airtunnel.wire.control import Published, WorkloadIssuer
from tests.lab import Lab

ENTRIES = """\
tls: {certificate: tls/gateway.pem, key: tls/gateway.key}
policy: policy.yaml
public: {https: "gateway.example.com:443", ssh: "ssh.example.com:22"}
providers:
  - provider: keycloak
    issuer: https://sso.example.com/realms/acme
    client_id: airtunnel
    client_secret: public
    audiences: [gateway]
    clients: [legacy]
    flows: [browser, device]
    browser: {ports: [8000], client_id: desktop}
    request: {prompt: consent}
    endpoints: {jwks_uri: "https://keys.example.com/k"}
    pages: [login.example.com]
    binding: dpop
    required: {acr: gold}
    groups_file: groups.yaml
    ca: tls/ca.pem
    claims: {subject: uid, name: login, groups: roles, keep: [dept]}
  - {provider: github, audiences: [gateway, other], required: {repository_owner: acme}}
  - {issuer: "https://sso.example.com/realms/acme", audiences: [more], client_id: x}
"""


@pytest.fixture
def config(tmp_path: Path) -> GatewayConfig:
    create_certificate(tmp_path / "tls", ("gateway.example.com",))
    (tmp_path / "policy.yaml").touch()
    (tmp_path / "groups.yaml").write_text("on-call: [ana@example.com]\n")
    (tmp_path / "gateway.yaml").write_text(ENTRIES)
    return load_gateway(tmp_path / "gateway.yaml")


def test_all_that_a_login_needs_is_published(config: GatewayConfig) -> None:
    published = publish(config, ssh_port=2222, host_cas=("ssh-ed25519 AAAA",))
    assert Published.decode(published.encode()) == published
    assert published.issuer == "https://sso.example.com/realms/acme"
    assert (published.client_id, published.client_secret) == ("airtunnel", "public")
    assert (published.provider, published.binding, published.flows) == ("keycloak", "dpop", ("browser", "device"))
    assert published.browser == BrowserClient(ports=(8000,), client_id="desktop")
    assert published.request == {"prompt": "consent"}
    assert published.endpoints == {"jwks_uri": "https://keys.example.com/k"}
    assert published.pages == ("login.example.com",)
    assert published.ca is not None
    assert "BEGIN CERTIFICATE" in published.ca
    assert (published.ssh_host, published.ssh_port, published.host_cas) == ("ssh.example.com", 22, ("ssh-ed25519 AAAA",))


def test_workloads_learn_for_whom_to_ask(config: GatewayConfig) -> None:
    published = publish(config, ssh_port=2222, host_cas=())
    assert published.workloads == (WorkloadIssuer("https://token.actions.githubusercontent.com", "github", "gateway"),)


def test_all_that_a_token_must_be_is_checked(config: GatewayConfig) -> None:
    person, workload, _ = trusted(config.providers)
    assert person.client_ids == ("airtunnel", "desktop", "legacy")
    assert person.claims == ClaimMap(name="login", groups="roles", kept=("dept",), subject="uid")
    assert (person.binding, person.required) == (KeyBinding.DPOP, {"acr": ("gold",)})
    assert person.endpoints == {"jwks_uri": "https://keys.example.com/k"}
    assert person.ca == config.providers[0].ca
    assert person.groups is not None
    assert person.groups("ana@example.com", "") == ("on-call",)
    assert (workload.kind, workload.client_ids, workload.groups) == (PrincipalKind.WORKLOAD, (), None)
    assert workload.required == {"repository_owner": ("acme",)}


def test_a_broken_file_of_groups_is_told_before_the_gateway_starts(config: GatewayConfig, tmp_path: Path) -> None:
    (tmp_path / "groups.yaml").write_text("on-call: [ana\n")
    with pytest.raises(ConfigError, match=r"^groups\.yaml:2:1: not YAML"):
        trusted(config.providers)


async def test_a_running_gateway_publishes_its_provider(lab: Lab) -> None:
    async with lab.gateway() as site:
        assert site.published.provider == "oidc"
        assert site.published.browser == BrowserClient()


def test_check_reads_the_groups_too(lab: Lab) -> None:
    directory = lab.write()
    config = directory / "gateway.yaml"
    config.write_text(
        config.read_text().replace("    client_id: airtunnel\n", "    client_id: airtunnel\n    groups_file: g.yaml\n")
    )
    (directory / "g.yaml").write_text("on-call: [ana@example.com]\n")
    assert check(config).config.providers[0].groups_file == directory / "g.yaml"
    (directory / "g.yaml").write_text("on-call: [ana@example.com, ana@example.com]\n")
    with pytest.raises(ConfigError, match=r"^g\.yaml:1:10: ana@example.com stands in on-call twice"):
        check(config)
