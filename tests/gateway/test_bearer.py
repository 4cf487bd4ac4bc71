"""The headers that say who asks, and what a thief of some of them can do with it: nothing."""

import ipaddress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import asyncssh
import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.requests import Request

from airtunnel.config.gateway import load_gateway
from airtunnel.errors import ConfigError, LoginRequired, ProtocolError, TokenRejected
from airtunnel.gateway.bearer import Names, challenge, fingerprint, read_shown
from airtunnel.identity.http import http_client
from airtunnel.identity.present import Presented
from airtunnel.identity.proof import ProofKey, headers
from airtunnel.model import Address
from airtunnel.wire.control import GrantRequest
from tests.gateway.bound import NONCE, bound_gateway, dpop_login, nonce_login
from tests.gateway.grants import public_line
from tests.lab import Lab, Site

BOTH = 'Bearer, DPoP algs="ES256 ES384 EdDSA Ed25519"'


@pytest.fixture
def names(lab: Lab) -> Names:
    return Names(load_gateway(lab.write() / "gateway.yaml"))


def asking(*given: tuple[str, str], port: int = 8443) -> Request:
    """A request for a grant with these headers."""
    raw = [(name.lower().encode(), value.encode()) for name, value in given]
    server = ("10.0.0.1", port)
    return Request(
        {"type": "http", "method": "POST", "path": "/v1/grants", "query_string": b"", "headers": raw, "server": server}
    )


def certificate(path: Path, *names: x509.GeneralName) -> Path:
    """A certificate with these names, or with none at all."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime(2026, 1, 1, tzinfo=UTC)
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "common.example.com")])
    made = x509.CertificateBuilder().subject_name(who).issuer_name(who).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(now).not_valid_after(now.replace(year=2027))
    if names:
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
    path.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path


def test_a_gateway_is_known_by_its_public_address_and_the_names_in_its_certificate(lab: Lab, tmp_path: Path) -> None:
    config = load_gateway(lab.write() / "gateway.yaml")
    named = certificate(
        tmp_path / "named.pem",
        x509.DNSName("Gateway.Example.com"),
        x509.DNSName("*.example.com"),
        x509.IPAddress(ipaddress.ip_address("::1")),
        x509.IPAddress(ipaddress.ip_address("10.0.0.7")),
        x509.RFC822Name("ana@example.com"),
    )
    public = replace(config.public, https=Address("GW.example.com", 443))
    found = Names(replace(config, public=public, tls=replace(config.tls, certificate=named)))
    hosts = ("gw.example.com", "gateway.example.com", "[::1]", "10.0.0.7")
    assert found.at(8443) == {f"{host}:{port}" for host in hosts for port in (443, 8443)}


def test_a_port_that_the_system_chose_is_the_one_that_requests_arrive_at(names: Names) -> None:
    assert names.at(50_000) == {"127.0.0.1:50000", "localhost:50000"}


def test_a_certificate_without_names_leaves_the_public_address(lab: Lab, tmp_path: Path) -> None:
    config = load_gateway(lab.write() / "gateway.yaml")
    bare = certificate(tmp_path / "bare.pem")
    assert Names(replace(config, tls=replace(config.tls, certificate=bare))).at(1) == {"127.0.0.1:1"}
    (tmp_path / "broken.pem").write_text("x")
    for broken in ("broken.pem", "absent.pem"):
        with pytest.raises(ConfigError, match=f"{broken}: cannot be read as a certificate"):
            Names(replace(config, tls=replace(config.tls, certificate=tmp_path / broken)))


@pytest.mark.parametrize(
    "given",
    [
        (),
        (("Authorization", ""),),
        (("Authorization", "Bearer"),),
        (("Authorization", "Bearer "),),
        (("Authorization", "Basic YTpi"),),
        (("Authorization", "token"),),
        (("DPoP", "proof"),),
    ],
)
def test_without_a_token_a_login_is_asked_for(names: Names, given: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(LoginRequired, match="needs a login"):
        read_shown(asking(*given), names)


@pytest.mark.parametrize(
    ("scheme", "expected"), [("Bearer", "bearer"), ("bEARER", "bearer"), ("DPoP", "dpop"), ("dpop", "dpop")]
)
def test_a_scheme_is_known_in_any_case(names: Names, scheme: str, expected: str) -> None:
    token, shown = read_shown(asking(("Authorization", f"{scheme} token"), ("DPoP", "proof")), names)
    assert (token, shown.scheme, shown.proof, shown.method, shown.path) == ("token", expected, "proof", "POST", "/v1/grants")
    assert shown.names == names.at(8443)


@pytest.mark.parametrize("name", ["Authorization", "DPoP"])
def test_two_headers_of_which_one_would_be_enough_are_refused(names: Names, name: str) -> None:
    usual = (("Authorization", "DPoP token"), ("DPoP", "proof"))
    with pytest.raises(TokenRejected, match="more than one"):
        read_shown(asking(*usual, next(one for one in usual if one[0] == name)), names)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ((), BOTH),
        ((("Authorization", "Basic x"),), BOTH),
        ((("Authorization", "Bearer x"),), 'Bearer error="invalid_token"'),
        ((("Authorization", "DPoP x"),), 'DPoP algs="ES256 ES384 EdDSA Ed25519", error="invalid_token"'),
    ],
)
def test_who_is_turned_away_is_told_which_schemes_there_are(given: tuple[tuple[str, str], ...], expected: str) -> None:
    assert challenge(asking(*given)) == expected


def test_a_fingerprint_is_that_of_ssh_keygen() -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    assert fingerprint(public_line(key)) == key.get_fingerprint()
    for wrong in ("", "x", "ssh-ed25519 AAAA", "\ud800"):
        with pytest.raises(ProtocolError, match="not a public key"):
            fingerprint(wrong)


# --- a whole gateway ---


async def ask(
    site: Site, given: dict[str, str] | list[tuple[str, str]], body: bytes = b"", path: str = "/v1/grants"
) -> httpx2.Response:
    """One request with these headers."""
    async with http_client(ca=site.ca) as client:
        method = "POST" if path == "/v1/grants" else "GET"
        return await client.request(method, f"https://{site.address}{path}", headers=given, content=body)


def wanting(key: asyncssh.SSHKey) -> bytes:
    return GrantRequest(("warehouse",), public_line(key)).encode()


def proven(site: Site, shown: Presented, ssh: asyncssh.SSHKey | None, path: str = "/v1/grants") -> dict[str, str]:
    """The headers that an honest client sends."""
    method = "POST" if path == "/v1/grants" else "GET"
    known = None if ssh is None else ssh.get_fingerprint()
    return headers(shown, method, f"https://{site.address}{path}", datetime.now(UTC), ssh_key=known)


def stolen(shown: Presented) -> Presented:
    """The same with a thief's key."""
    assert shown.bound is not None
    return replace(shown, bound=replace(shown.bound, key=ProofKey.generate().dump()))


async def refused(site: Site, answer: httpx2.Response, reason: str) -> None:
    """That the bearer was told nothing, and the audit everything."""
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].endswith('error="invalid_token"')
    assert answer.json()["message"] == "the gateway does not accept this login"
    record = site.records("token.rejected")[-1]
    assert reason in record["detail"]
    assert answer.json()["details"] == [f"request: {record['id']}"]


async def test_a_stolen_token_opens_nothing_without_its_key(lab: Lab) -> None:
    async with bound_gateway(lab) as (site, provider):
        key, mine = ProofKey.generate(), asyncssh.generate_private_key("ssh-ed25519")
        shown = dpop_login(provider, key)
        good = proven(site, shown, mine)
        token = shown.token
        thiefs = proven(site, stolen(shown), mine)
        assert (await ask(site, good, wanting(mine))).status_code == 201
        tries: list[tuple[dict[str, str] | list[tuple[str, str]], str]] = [
            ({"Authorization": f"Bearer {token}"}, "shown as a bearer token"),
            ({"Authorization": f"Bearer {token}", "DPoP": good["DPoP"]}, "shown as a bearer token"),
            ({"Authorization": f"DPoP {token}"}, "without a proof"),
            (thiefs, "another key than the token's"),
            (good, "shown before"),
            ([("Authorization", f"DPoP {token}"), ("DPoP", good["DPoP"]), ("DPoP", "x")], "more than one"),
        ]
        for given, reason in tries:
            await refused(site, await ask(site, given, wanting(mine)), reason)
        assert len(site.records("grant.issued")) == 1


async def test_a_request_caught_on_its_way_is_a_grant_for_nobody_elses_ssh_key(lab: Lab) -> None:
    async with bound_gateway(lab) as (site, provider):
        mine, thiefs = (asyncssh.generate_private_key("ssh-ed25519") for _ in range(2))
        shown = dpop_login(provider, ProofKey.generate())
        await refused(site, await ask(site, proven(site, shown, mine), wanting(thiefs)), "another ssh key")
        await refused(site, await ask(site, proven(site, shown, None), wanting(thiefs)), "another ssh key")
        assert site.records("grant.issued") == []


async def test_a_proof_for_another_gateway_is_none_whatever_the_request_says_of_its_host(lab: Lab) -> None:
    async with bound_gateway(lab) as (site, provider):
        shown, now = dpop_login(provider, ProofKey.generate()), datetime.now(UTC)
        for host in ("evil.example", f"localhost:{site.gateway.https_port + 1}"):
            given = headers(shown, "GET", f"https://{host}/v1/targets", now) | {"Host": host, "X-Forwarded-Host": host}
            await refused(site, await ask(site, given, path="/v1/targets"), "another address")
        given = headers(shown, "GET", f"https://localhost:{site.gateway.https_port}/v1/targets", now)
        assert (await ask(site, given, path="/v1/targets")).status_code == 200, "its other name"


async def test_an_unbound_token_of_a_provider_that_must_bind_is_refused(lab: Lab) -> None:
    async with bound_gateway(lab) as (site, provider):
        answer = await ask(site, {"Authorization": f"Bearer {provider.login()['access_token']}"}, path="/v1/targets")
        await refused(site, answer, "not bound to a key")


@pytest.mark.parametrize("renewed", [False, True])
async def test_an_id_token_is_bound_by_its_logins_nonce(lab: Lab, renewed: bool) -> None:
    async with bound_gateway(lab, NONCE) as (site, provider):
        mine, shown = asyncssh.generate_private_key("ssh-ed25519"), nonce_login(provider, ProofKey.generate(), renewed=renewed)
        assert (await ask(site, proven(site, shown, mine), wanting(mine))).status_code == 201
        await refused(site, await ask(site, proven(site, stolen(shown), mine), wanting(mine)), "another key than the proof's")
        await refused(site, await ask(site, {"Authorization": f"Bearer {shown.token}"}, wanting(mine)), "as a bearer token")


async def test_a_body_that_is_none_is_told_so_only_to_whom_the_token_belongs(lab: Lab) -> None:
    async with bound_gateway(lab) as (site, provider):
        shown = dpop_login(provider, ProofKey.generate())
        assert (await ask(site, proven(site, shown, None), b"{")).status_code == 400
        assert (await ask(site, {"Authorization": f"Bearer {shown.token}"}, b"{")).status_code == 401
