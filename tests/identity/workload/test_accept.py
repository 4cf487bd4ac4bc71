from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from airtunnel.errors import LoginFailed, ProtocolError
from airtunnel.identity.workload.accept import by_provider, check_asked, check_published, check_token, taken
from airtunnel.model import BrowserClient
from airtunnel.wire.control import Published, WorkloadIssuer

from .tokens import AUDIENCE, CLUSTER, COMPANY, GITHUB, GOOGLE, gateway, made, part

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
LATER = int(NOW.timestamp()) + 600


def check(token: str, published: Published | None = None) -> None:
    check_token(token, published or gateway("kubernetes", "github"), NOW, where="/a/file", advice=("set this",))


def refused(token: str, published: Published | None = None) -> LoginFailed:
    with pytest.raises(LoginFailed) as caught:
        check(token, published)
    told = "\n".join((caught.value.message, *caught.value.details))
    assert not any(one in told for one in token.split(".") if len(one) > 5)
    assert token not in told
    return caught.value


def test_a_token_of_an_issuer_that_is_taken_for_this_gateway_passes() -> None:
    check(made(CLUSTER, AUDIENCE, exp=LATER))
    check(made(GITHUB, [AUDIENCE], exp=LATER))
    check(made(GITHUB, ["another", AUDIENCE], exp=LATER))


def test_the_api_servers_token_is_not_sent() -> None:
    for audience in ([CLUSTER], ["https://kubernetes.default.svc.cluster.local"], CLUSTER):
        error = refused(made(CLUSTER, audience, exp=LATER))
        assert f"the token in /a/file was made by {CLUSTER} for " in error.message
        assert f"not for {AUDIENCE}" in error.message
        assert error.details == ("it was not sent", "set this")


def test_a_token_that_is_for_the_gateway_and_for_something_mightier_is_not_sent() -> None:
    for issuer, other in ((CLUSTER, CLUSTER), (CLUSTER, "https://kubernetes.default.svc"), (GITHUB, "sts.amazonaws.com")):
        assert "would open more than a gateway" in refused(made(issuer, [AUDIENCE, other], exp=LATER)).message


@pytest.mark.parametrize(
    "audience",
    [
        "sts.amazonaws.com",
        "https://STS.amazonaws.com/",
        "api://AzureADTokenExchange",
        "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q",
        "https://iam.googleapis.com/projects/1",
        "https://kubernetes.default.svc.cluster.local",
        "kubernetes.default.svc",
        "https://github.com/acme",
        "sigstore",
        "pypi",
    ],
)
def test_a_gateway_that_asks_for_the_keys_to_a_cloud_gets_nothing(audience: str) -> None:
    with pytest.raises(LoginFailed, match="which would open more than a gateway"):
        check_asked(audience, gateway())
    published = replace(gateway(), workloads=(WorkloadIssuer(GITHUB, "github", audience),))
    assert "would open more than a gateway" in refused(made(GITHUB, audience, exp=LATER), published).message


def test_audiences_of_ones_own_may_be_asked_for_wherever_they_are_hosted() -> None:
    for audience in (
        AUDIENCE,
        "airtunnel",
        "api://airtunnel",
        "https://x.elb.amazonaws.com",
        "https://x.cloudapp.azure.com",
        "",
    ):
        check_asked(audience, gateway())


def test_a_token_of_another_issuer_is_not_sent_and_the_error_says_whose_are_taken() -> None:
    error = refused(made("https://evil.example.com\x1b[2J", exp=LATER))
    assert error.message == (
        f"the token in /a/file was made by https://evil.example.com[2J for {AUDIENCE}, which gateway.example.com does not take"
    )
    assert f"  {CLUSTER} for {AUDIENCE}" in error.details
    assert f"  {COMPANY}" in error.details


def test_the_audience_of_one_issuer_is_not_good_for_another() -> None:
    published = replace(
        gateway(), workloads=(WorkloadIssuer(CLUSTER, "kubernetes", "one"), WorkloadIssuer(GITHUB, "github", "two"))
    )
    check(made(CLUSTER, "one", exp=LATER), published)
    assert "not for one" in refused(made(CLUSTER, "two", exp=LATER), published).message


@pytest.mark.parametrize(
    "token",
    [
        "ya29.a0AfB_opaque",
        "opaque",
        "a.b.c",
        f"{part({'alg': 'RS256'})}.{part({'iss': CLUSTER})}.",
        f"{part({'alg': 'RS256'})}.{part(['list'])}.c2ln",
        "<html>.<body>.</html>",
        made(CLUSTER, exp=LATER) + "\r\nX-Forged: yes",
        made(CLUSTER, exp=LATER) + "\n",
        made(CLUSTER, exp=LATER).replace(".", "\x00.", 1),
        made(CLUSTER, exp=LATER, filler="x" * 20_000),
        made(CLUSTER, exp=LATER) + "é",
    ],
)
def test_what_is_no_jwt_is_not_sent_nor_shown(token: str) -> None:
    error = refused(token)
    assert error.message == "what is in /a/file is not a signed JWT"
    assert error.details[-2:] == ("it was not sent", "set this")


@pytest.mark.parametrize(
    ("late", "words"), [(31, "31 s"), (119, "119 s"), (300, "5 min"), (3 * 3600, "3 h"), (200 * 86_400, "4800 h")]
)
def test_an_expired_token_is_not_sent_and_the_file_is_named(late: int, words: str) -> None:
    error = refused(made(CLUSTER, exp=int((NOW - timedelta(seconds=late)).timestamp())))
    assert error.message == f"the token in /a/file expired {words} ago"
    assert "nothing put a new one there" in error.details[1]


def test_clocks_may_differ_by_half_a_minute() -> None:
    check(made(CLUSTER, exp=int(NOW.timestamp()) - 30))


@pytest.mark.parametrize("exp", [None, "soon", True, -1, 0, 10**30, 1e400])
def test_a_token_without_a_real_expiry_is_not_sent(exp: object) -> None:
    with pytest.raises(LoginFailed):
        check(made(CLUSTER, exp=exp))


@pytest.mark.parametrize(
    "claims", [{"iss": None}, {"iss": 7}, {"iss": [CLUSTER]}, {"aud": None}, {"aud": 7}, {"aud": [7]}, {"aud": {}}]
)
def test_claims_of_a_wrong_type_are_not_taken_for_anything(claims: dict[str, object]) -> None:
    refused(
        made(**({"issuer": claims["iss"]} if "iss" in claims else {"issuer": CLUSTER, "audience": claims["aud"]}), exp=LATER)
    )


def test_a_token_of_the_peoples_issuer_is_checked_as_far_as_the_gateway_says_for_whom_it_is() -> None:
    check(made(COMPANY, "anything", exp=LATER))
    asked = gateway(request={"audience": "api"})
    check(made(COMPANY, "api", exp=LATER), asked)
    assert "not for api" in refused(made(COMPANY, "other", exp=LATER), asked).message
    identity = gateway(token="id_token", browser=BrowserClient(client_id="second"))
    check(made(COMPANY, "airtunnel-cli", exp=LATER), identity)
    check(made(COMPANY, "second", exp=LATER), identity)
    assert "not for airtunnel-cli, second" in refused(made(COMPANY, "other", exp=LATER), identity).message


def test_an_entry_for_workloads_says_it_for_the_peoples_issuer_too() -> None:
    published = replace(gateway(), workloads=(WorkloadIssuer(COMPANY, "keycloak", AUDIENCE),))
    assert taken(published) == published.workloads
    refused(made(COMPANY, "anything", exp=LATER), published)


def test_entries_of_one_kind_are_asked_for_each_audience_once() -> None:
    first, second = WorkloadIssuer("https://a", "aws", "one"), WorkloadIssuer("https://b", "aws", "one")
    third, other = WorkloadIssuer("https://c", "aws", "two"), WorkloadIssuer(GOOGLE, "gcp", "one")
    assert by_provider(replace(gateway(), workloads=(first, other, second, third)), "aws") == (first, third)


def test_a_gateway_whose_names_move_the_cursor_is_refused() -> None:
    for issuer, audience in (("https://a\x1b[2J", "x"), ("https://a", "x\ny"), ("https://a", "x" * 1001)):
        with pytest.raises(ProtocolError, match="cannot be shown"):
            check_published(replace(gateway(), workloads=(WorkloadIssuer(issuer, "aws", audience),)))
