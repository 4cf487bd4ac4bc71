"""What `gateway check --provider` finds at providers as they are, and at those that are set up wrong."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airtunnel.config.gateway import LoginFlow, ProviderConfig, TokenKind
from airtunnel.errors import ConfigError
from airtunnel.gateway.probe import Mark, Probed, probe
from airtunnel.model import BrowserClient, KeyBinding, PrincipalKind
from tests.identity import worlds
from tests.identity.provider import Provider, new_key, providing
from tests.identity.replay import Replay, replaying
from tests.identity.server import Reply
from tests.identity.verify.test_presets import JOBS, PEOPLE, WORKLOADS, recipe
from tests.readme import entry

Json = dict[str, Any]  # Any: JSON


@pytest.fixture
def provider() -> Iterator[Provider]:
    with providing() as provider:
        yield provider


def config_of(provider: Provider, /, **changed: Any) -> ProviderConfig:  # Any: fields of ProviderConfig
    fields = {"issuer": provider.issuer, "audiences": ("gateway",), "client_id": "airtunnel", "scopes": ("openid",)}
    return ProviderConfig(**fields | changed)


async def found(config: ProviderConfig, mark: Mark) -> str:
    probed = await probe(config)
    return "\n".join(one.text for one in probed.findings if one.mark is mark)


@contextmanager
def world(replay: Replay, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with replaying(replay, directory) as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield


@pytest.mark.parametrize("name", PEOPLE)
async def test_no_recipe_for_people_has_a_fault(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with world(PEOPLE[name][0], tmp_path, monkeypatch):
        probed = await probe(recipe(tmp_path, entry(name))[0])
    assert probed.works, probed.findings
    assert "keys: 1 to verify tokens with (RS256)" in [one.text for one in probed.findings]


@pytest.mark.parametrize("name", WORKLOADS)
async def test_no_recipe_for_workloads_has_a_fault(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = next(one for one in recipe(tmp_path, entry(JOBS)) if one.provider == name)
    with world(WORKLOADS[name][0], tmp_path, monkeypatch):
        probed = await probe(config)
    assert probed.works, probed.findings
    assert [one.mark for one in probed.findings] == [Mark.GOOD, Mark.GOOD]


async def test_an_issuer_must_be_spelled_as_the_provider_spells_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = recipe(tmp_path, entry("Auth0"))[0]
    with world(worlds.AUTH0, tmp_path, monkeypatch):
        said = await found(replace(config, issuer="https://acme.eu.auth0.com"), Mark.FAULT)
    assert said == (
        "it calls itself 'https://acme.eu.auth0.com/': `issuer` must be the same to the letter, also a slash at its end"
    )


@pytest.mark.parametrize(
    ("metadata", "changed", "reason"),
    [
        ({"device_authorization_endpoint": None}, {}, "it offers no device flow: take `device` out of `flows`"),
        (
            {"authorization_endpoint": None},
            {"flows": (LoginFlow.BROWSER,)},
            "it offers no login in the browser: take `browser` out of `flows`",
        ),
        ({"token_endpoint": None}, {}, "it has no token endpoint, so nobody can log in"),
        (
            {"authorization_endpoint": "https://a.example.com", "code_challenge_methods_supported": ["plain"]},
            {"flows": (LoginFlow.BROWSER,)},
            "it does not know PKCE with S256",
        ),
        ({}, {"binding": KeyBinding.DPOP}, "binding: it does not list DPoP with ES256"),
        ({"dpop_signing_alg_values_supported": ["RS256"]}, {"binding": KeyBinding.DPOP}, "does not list DPoP with ES256"),
        ({"jwks_uri": "http://keys.example.com"}, {}, "the provider's jwks_uri is not https"),
    ],
)
async def test_what_must_fail_is_a_fault(provider: Provider, metadata: Json, changed: Json, reason: str) -> None:
    provider.metadata = metadata
    assert reason in await found(config_of(provider, **changed), Mark.FAULT)


@pytest.mark.parametrize(
    ("metadata", "changed", "reason"),
    [
        (
            {"scopes_supported": ["openid"]},
            {"scopes": ("openid", "groups")},
            "scopes: it does not list groups; it lists openid",
        ),
        (
            {"authorization_endpoint": "https://a.example.com"},
            {"flows": (LoginFlow.BROWSER,)},
            "it does not say that it knows PKCE with S256",
        ),
        ({}, {"binding": KeyBinding.AUTO}, "binding is `auto`, and it offers no DPoP: tokens are not tied to a machine"),
        ({"dpop_signing_alg_values_supported": ["ES256"]}, {}, "with `binding: dpop` a stolen token would be worth nothing"),
    ],
)
async def test_what_may_fail_is_a_doubt(provider: Provider, metadata: Json, changed: Json, reason: str) -> None:
    provider.metadata = metadata
    config = config_of(provider, **changed)
    assert reason in await found(config, Mark.DOUBT)
    assert (await probe(config)).works


async def test_where_a_login_comes_back_to_is_spelled_out(provider: Provider) -> None:
    provider.metadata = {"authorization_endpoint": "https://a.example.com", "code_challenge_methods_supported": ["S256"]}
    browser = BrowserClient(ports=(0, 8000), host="::1", path="/back")
    good = await found(config_of(provider, flows=(LoginFlow.BROWSER,), browser=browser), Mark.GOOD)
    assert "http://[::1]:ANY-PORT/back or http://[::1]:8000/back" in good


@pytest.mark.parametrize(("binding", "token"), [(KeyBinding.DPOP, TokenKind.ACCESS), (KeyBinding.NONCE, TokenKind.ID)])
async def test_a_binding_that_holds_is_said(provider: Provider, binding: KeyBinding, token: TokenKind) -> None:
    provider.metadata = {"dpop_signing_alg_values_supported": ["ES256"]}
    assert "tied to the machine that logged in" in await found(config_of(provider, binding=binding, token=token), Mark.GOOD)


async def test_keys_that_verify_nothing_are_a_fault(provider: Provider) -> None:
    provider.keys = []
    assert "can verify a token" in await found(config_of(provider), Mark.FAULT)


async def test_keys_that_cannot_be_had_are_a_fault_with_what_to_type(provider: Provider) -> None:
    provider.script["/jwks"].append(Reply(403))
    probed = await probe(config_of(provider))
    assert not probed.works
    assert probed.hint == f"curl -v {provider.issuer}/jwks"


async def test_a_provider_that_does_not_answer_is_a_fault_and_not_an_error() -> None:
    probed = await probe(ProviderConfig("http://127.0.0.1:9", ("gateway",), "airtunnel"))
    assert [one.mark for one in probed.findings] == [Mark.FAULT, Mark.DOUBT]
    assert "nothing listens there" in probed.findings[0].text
    assert "/.well-known/openid-configuration" in probed.findings[1].text


async def test_a_cluster_that_tells_its_keys_to_nobody_is_explained(provider: Provider) -> None:
    provider.script["/jwks"].append(Reply(403))
    config = config_of(provider, provider="kubernetes", kind=PrincipalKind.WORKLOAD)
    assert "system:service-account-issuer-discovery" in await found(config, Mark.DOUBT)


async def test_a_workloads_keys_may_be_somewhere_that_only_the_configuration_names(provider: Provider) -> None:
    provider.keys.append(new_key("second"))
    config = config_of(
        provider,
        issuer="https://kubernetes.default.svc.cluster.local",
        kind=PrincipalKind.WORKLOAD,
        endpoints={"jwks_uri": f"{provider.issuer}/jwks"},
    )
    probed: Probed = await probe(config)
    assert [(one.mark, one.text) for one in probed.findings] == [(Mark.GOOD, "keys: 2 to verify tokens with (EC)")]


async def test_authorities_of_no_use_are_a_mistake_in_the_file(provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(ConfigError, match=r"ca\.pem"):
        await probe(config_of(provider, ca=tmp_path / "ca.pem"))
