import asyncio
import hashlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from airtunnel.errors import ConfigError, Temporary, TokenRejected
from airtunnel.identity.http import http_client
from airtunnel.identity.verify.claims import ClaimMap
from airtunnel.identity.verify.proven import Proof
from airtunnel.identity.verify.verifier import TrustedIssuer, Verified, Verifier
from airtunnel.model import KeyBinding, Principal, PrincipalKind
from tests.identity.forge import (
    EC,
    KEY,
    NONCE,
    NOW,
    RSA,
    SALT,
    SECOND,
    Claims,
    bound,
    claims_of,
    days,
    identity,
    proof,
    shown,
    signed,
    verified,
)
from tests.identity.hostile import ID, KEYS
from tests.identity.hostile_proofs import NONCE_BOUND
from tests.identity.provider import AUDIENCE, CLIENT, Provider, new_key, providing, reply
from tests.identity.server import Reply


@pytest.fixture(scope="module")
def issuer() -> Iterator[Provider]:
    with providing() as provider:
        provider.keys = list(KEYS)
        yield provider


async def rejected(token: str, issuer: Provider, reason: str, /, **settings: Any) -> None:  # Any: fields of TrustedIssuer
    with pytest.raises(TokenRejected, match=reason):
        await verified(token, issuer, **settings)


async def test_a_good_token_says_who_it_is_until_when_and_by_what_name(issuer: Provider) -> None:
    assert await verified(signed(issuer, hd="example.com"), issuer, claims=ClaimMap(kept=("hd",))) == Verified(
        Principal(PrincipalKind.PERSON, issuer.issuer, "00u1", "ana@example.com", ("data-eng",), {"hd": "example.com"}),
        NOW + timedelta(hours=1),
        "token-1",
    )


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT"},
        {"typ": "jwt"},
        {"typ": "application/at+jwt"},
        {"typ": None},
        {"kid": None},
        {"x5t": "abc", "x5c": ["A" * 2000]},
        {"unheard": {"of": 1}},
    ],
)
async def test_headers_that_providers_send_are_accepted(issuer: Provider, header: Claims) -> None:
    assert (await verified(signed(issuer, header), issuer)).principal.subject == "00u1"


@pytest.mark.parametrize(
    "changed",
    [
        {"aud": [AUDIENCE, "other"]},
        {"exp": SECOND - 29},
        {"exp": SECOND + 0.5},
        {"iat": SECOND + 30},
        {"nbf": SECOND + 30},
        {"iat": SECOND - 86_400},
        {"typ": "Bearer"},
        {"sub": "ünïcode 北京"},
    ],
)
async def test_claims_within_their_limits_are_accepted(issuer: Provider, changed: Claims) -> None:
    await verified(signed(issuer, **changed), issuer)


async def test_what_the_table_of_hostile_tokens_changes_is_good_without_the_change(issuer: Provider) -> None:
    await verified(signed(issuer), issuer, algorithms=("RS256",), client_ids=("x", CLIENT))
    await verified(signed(issuer, {"alg": "PS256"}), issuer)
    await verified(signed(issuer, hd="example.com"), issuer, required={"hd": ("example.com", "example.org")})
    for changed in ({"aud": [CLIENT]}, {"azp": CLIENT}, {"aud": [CLIENT, "other"], "azp": CLIENT}):
        await verified(identity(issuer, **changed), issuer, **ID)


@pytest.mark.parametrize("claim", ["azp", "client_id", "cid", "appid"])
async def test_a_token_given_to_a_client_of_ours_is_accepted(issuer: Provider, claim: str) -> None:
    await verified(signed(issuer, **{"client_id": None, claim: CLIENT}), issuer, client_ids=("x", CLIENT))
    await rejected(signed(issuer, **{claim: [CLIENT]}), issuer, "another client", client_ids=(CLIENT,))


async def test_without_a_key_id_nothing_is_tried_out(provider: Provider) -> None:
    provider.keys = [EC, new_key("other")]
    await rejected(signed(provider, {"kid": None}, EC), provider, "does not say which key")


async def test_a_token_without_an_id_is_known_by_a_hash_that_its_bearer_cannot_change(issuer: Provider) -> None:
    token = signed(issuer, jti=None)
    found = await verified(token, issuer)
    assert found.token_id == hashlib.sha256(token.rpartition(".")[0].encode()).hexdigest()[:32]
    assert (await verified(signed(issuer, jti=None, uti="entra"), issuer)).token_id == "entra"
    assert "\n" not in (await verified(signed(issuer, jti="a\nb"), issuer)).token_id


async def test_groups_of_a_file_are_added_to_those_of_the_token(issuer: Provider) -> None:
    asked: list[tuple[str, str]] = []

    def groups(name: str, subject: str) -> tuple[str, ...]:
        asked.append((name, subject))
        return ("on-call", "data-eng")

    found = await verified(signed(issuer, oid="o-1"), issuer, groups=groups, claims=ClaimMap(subject="oid"))
    assert found.principal.groups == ("data-eng", "on-call")
    assert asked == [("ana@example.com", "o-1")]


# --- tokens that are bound to a key: the hostile ones stand in hostile.py ---


@pytest.mark.parametrize("binding", [KeyBinding.NONE, KeyBinding.AUTO, KeyBinding.DPOP])
async def test_a_bound_token_with_its_keys_proof_is_accepted(issuer: Provider, binding: KeyBinding) -> None:
    token = bound(issuer)
    found = await verified(token, issuer, shown(proof(token)), binding=binding)
    assert found.proof == Proof(KEY.thumbprint, "1", "SHA256:a")
    found.check_key("SHA256:a")


@pytest.mark.parametrize("said", ["SHA256:b", None])
async def test_a_grant_is_for_the_ssh_key_that_the_proof_names(issuer: Provider, said: str | None) -> None:
    token = bound(issuer)
    found = await verified(token, issuer, shown(proof(token, ssh_key=said)))
    with pytest.raises(TokenRejected, match="another ssh key"):
        found.check_key("SHA256:a")


@pytest.mark.parametrize("binding", [KeyBinding.NONE, KeyBinding.AUTO])
async def test_an_unbound_token_is_a_bearers(issuer: Provider, binding: KeyBinding) -> None:
    found = await verified(signed(issuer), issuer, shown(None, "bearer"), binding=binding)
    assert found.proof is None
    found.check_key("SHA256:whatever")


async def test_a_proof_is_good_once(issuer: Provider) -> None:
    verifier, token = Verifier([TrustedIssuer(issuer.issuer, (AUDIENCE,))], clock=lambda: NOW), bound(issuer)
    await verifier.verify(token, shown(proof(token)))
    with pytest.raises(TokenRejected, match="shown before"):
        await verifier.verify(token, shown(proof(token)))
    await verifier.verify(token, shown(proof(token, jti="2")))


async def test_a_proof_that_came_with_a_bad_token_is_not_remembered(issuer: Provider) -> None:
    verifier, token = Verifier([TrustedIssuer(issuer.issuer, (AUDIENCE,))], clock=lambda: NOW), bound(issuer, email=None)
    for _ in range(2):
        with pytest.raises(TokenRejected, match="claim email is missing"):
            await verifier.verify(token, shown(proof(token)))


async def test_an_id_token_is_bound_by_the_commitment_in_its_nonce(issuer: Provider) -> None:
    token = identity(issuer)
    assert (await verified(token, issuer, shown(proof(token, salt=SALT)), **NONCE_BOUND)).proof is not None


async def test_a_renewed_id_token_is_bound_by_the_first_one_of_its_login(issuer: Provider) -> None:
    token = identity(issuer, nonce=None)
    origin = identity(issuer, EC, iat=days(29.9), exp=days(29), jti="first", email=None)
    await verified(token, issuer, shown(proof(token, salt=SALT, origin=origin)), **NONCE_BOUND)


async def test_a_nonce_counts_for_nothing_where_nothing_is_bound_by_it(issuer: Provider) -> None:
    assert (await verified(identity(issuer), issuer, **ID)).proof is None


# --- several kinds of tokens of one issuer ---


def entries(issuer: Provider) -> list[TrustedIssuer]:
    workload = ClaimMap(name="sub")
    return [
        TrustedIssuer(issuer.issuer, (CLIENT,), token="id_token", binding=KeyBinding.NONCE),
        TrustedIssuer(issuer.issuer, (AUDIENCE,), ("worker",), claims=workload, kind=PrincipalKind.WORKLOAD),
        TrustedIssuer(issuer.issuer, (AUDIENCE,), ("scheduler",), kind=PrincipalKind.WORKLOAD, required={"env": ("prod",)}),
    ]


async def test_people_and_workloads_of_one_issuer_are_told_apart_by_audience_and_client(issuer: Provider) -> None:
    verifier = Verifier(entries(issuer), clock=lambda: NOW)
    token = identity(issuer)
    assert (await verifier.verify(token, shown(proof(token, salt=SALT)))).principal.kind is PrincipalKind.PERSON
    worker = await verifier.verify(signed(issuer, client_id="worker", sub="dags", email=None))
    assert (worker.principal.kind, worker.principal.name) == (PrincipalKind.WORKLOAD, "dags")
    assert (await verifier.verify(signed(issuer, client_id="scheduler", env="prod"))).principal.name == "ana@example.com"


async def test_an_origin_is_of_the_same_kind_as_the_token_that_it_vouches_for(issuer: Provider) -> None:
    verifier, token = Verifier(entries(issuer), clock=lambda: NOW), identity(issuer, nonce=None)
    origin = signed(issuer, aud=CLIENT, nonce=NONCE)
    with pytest.raises(TokenRejected, match="origin's typ is not that of an id_token"):
        await verifier.verify(token, shown(proof(token, salt=SALT, origin=origin)))
    await verifier.verify(token, shown(proof(token, salt=SALT, origin=identity(issuer))))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"client_id": "scheduler"}, "claim env does not have"),
        ({"client_id": "other"}, "another client"),
        ({"client_id": None}, "another client"),
        ({"client_id": "worker", "aud": "other"}, "aud"),
        ({"client_id": "worker", "aud": CLIENT}, "typ is not that of an id_token"),
        ({"client_id": None, "azp": CLIENT, "aud": [CLIENT, AUDIENCE]}, "typ is not that of an id_token"),
    ],
)
async def test_a_token_that_fits_none_is_refused_by_the_nearest(issuer: Provider, changed: Claims, reason: str) -> None:
    with pytest.raises(TokenRejected, match=reason):
        await Verifier(entries(issuer), clock=lambda: NOW).verify(signed(issuer, **changed))


async def test_an_entry_takes_its_own_algorithms_only(issuer: Provider) -> None:
    trusted = [
        TrustedIssuer(issuer.issuer, (AUDIENCE,), algorithms=("RS256",)),
        TrustedIssuer(issuer.issuer, ("other",), algorithms=("ES256",)),
    ]
    verifier = Verifier(trusted, clock=lambda: NOW)
    await verifier.verify(signed(issuer, None, EC, aud="other"))
    for token in (signed(issuer, None, EC), signed(issuer, None, RSA, aud="other"), signed(issuer, {"alg": "PS256"})):
        with pytest.raises(TokenRejected, match="algorithm is not accepted"):
            await verifier.verify(token)


async def test_one_issuer_has_one_set_of_keys(provider: Provider) -> None:
    trusted = [TrustedIssuer(provider.issuer, (one,)) for one in (AUDIENCE, "other")]
    verifier = Verifier(trusted, clock=lambda: NOW)
    for audience in (AUDIENCE, "other"):
        await verifier.verify(provider.sign(claims_of(provider, aud=audience)))
    assert provider.asked["/jwks"] == 1


async def test_two_issuers_have_keys_and_rules_of_their_own(provider: Provider, issuer: Provider) -> None:
    provider.keys = [new_key("ec")]
    trusted = [TrustedIssuer(issuer.issuer, (AUDIENCE,)), TrustedIssuer(provider.issuer, ("other",))]
    verifier = Verifier(trusted, clock=lambda: NOW)
    await verifier.verify(signed(issuer, None, EC))
    await verifier.verify(provider.sign(claims_of(provider, aud="other")))
    with pytest.raises(TokenRejected, match="signature is not valid"):
        await verifier.verify(provider.sign(claims_of(issuer)))
    with pytest.raises(TokenRejected, match="aud"):
        await verifier.verify(provider.sign(claims_of(provider)))


def test_entries_that_one_token_could_be_meant_for_are_no_configuration(issuer: Provider) -> None:
    with pytest.raises(ConfigError, match="one token could be meant for both"):
        Verifier([*entries(issuer), TrustedIssuer(issuer.issuer, (AUDIENCE,))])


# --- the provider and its keys ---


async def test_a_provider_that_was_never_reached_is_an_outage_and_no_rejection(provider: Provider) -> None:
    provider.script["/jwks"].append(Reply(503))
    with pytest.raises(Temporary, match=f"the keys of {provider.issuer} cannot be fetched"):
        await verified(provider.sign(claims_of(provider)), provider)


async def test_a_provider_that_calls_itself_otherwise_gives_no_keys(provider: Provider) -> None:
    token = provider.sign(claims_of(provider))
    provider.metadata = {"issuer": "https://evil.example"}
    with pytest.raises(Temporary):
        await verified(token, provider)


async def test_keys_may_be_elsewhere_than_the_metadata_says_or_without_any(provider: Provider) -> None:
    provider.metadata = {"jwks_uri": f"{provider.issuer}/nowhere"}
    token = provider.sign(claims_of(provider))
    with pytest.raises(Temporary):
        await verified(token, provider)
    before = provider.asked["/.well-known/openid-configuration"]
    await verified(token, provider, endpoints={"jwks_uri": f"{provider.issuer}/jwks"})
    assert provider.asked["/.well-known/openid-configuration"] == before


async def test_keys_rotate_under_a_running_gateway(provider: Provider) -> None:
    now = [NOW]
    verifier = Verifier([TrustedIssuer(provider.issuer, (AUDIENCE,))], clock=lambda: now[0])
    old, new = provider.keys[0], new_key("second")
    await verifier.verify(provider.sign(claims_of(provider), key=old))
    provider.keys = [new]
    now[0] += timedelta(seconds=30)
    await verifier.verify(provider.sign(claims_of(provider), key=new))
    with pytest.raises(TokenRejected, match="unknown key"):
        await verifier.verify(provider.sign(claims_of(provider), key=old))
    assert provider.asked["/jwks"] == 2


async def test_a_client_that_is_given_is_used(provider: Provider) -> None:
    async with http_client() as client:
        verifier = Verifier([TrustedIssuer(provider.issuer, (AUDIENCE,))], client=client, clock=lambda: NOW)
        assert (await verifier.verify(provider.sign(claims_of(provider)))).principal.name == "ana@example.com"
        assert not client.is_closed


async def test_a_key_set_that_is_none_is_an_outage(provider: Provider) -> None:
    provider.script["/jwks"].append(reply({"keys": "x"}))
    with pytest.raises(Temporary):
        await verified(provider.sign(claims_of(provider)), provider)


async def test_many_tokens_at_once_are_each_their_own(issuer: Provider) -> None:
    verifier = Verifier([TrustedIssuer(issuer.issuer, (AUDIENCE,))], clock=lambda: NOW)
    tokens = [signed(issuer, sub=f"u{number}") for number in range(20)]
    found = await asyncio.gather(*(verifier.verify(token) for token in tokens))
    assert [one.principal.subject for one in found] == [f"u{number}" for number in range(20)]
