"""The HTTPS API, asked by hand: what it gives away, and what it refuses."""

import asyncio
import json
from typing import Any

import asyncssh
import httpx2
import pytest

from airtunnel.demo.people import PEOPLE
from airtunnel.demo.person import approve
from airtunnel.demo.provider import Provider
from airtunnel.identity.http import http_client
from airtunnel.identity.login.drive import log_in
from airtunnel.model import Tags
from airtunnel.tunnel.tunnels import Tunnels
from airtunnel.wire.control import MAX_BODY, WELL_KNOWN, GrantRequest, Published
from tests.gateway.grants import opened, public_line
from tests.lab import AUDIENCE, CLIENT_ID, Lab, Site


async def ask(site: Site, method: str, path: str, *, token: str | None = None, body: bytes = b"") -> httpx2.Response:
    """One request."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with http_client(ca=site.ca) as client:
        return await client.request(method, f"https://{site.address}{path}", headers=headers, content=body)


async def token(site: Site, login: str = "ana") -> str:
    """A good token."""
    return (await (await site.account(login)).present()).token


def problem(response: httpx2.Response) -> dict[str, Any]:  # Any: JSON
    """The body of a refusal, with what holds of all of them."""
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["cache-control"] == "no-store"
    body: dict[str, Any] = response.json()
    assert body["status"] == response.status_code
    assert body["title"] == body["message"]
    return body


def request(*targets: str, **more: object) -> bytes:
    """A grant request with a fresh key."""
    key = public_line(asyncssh.generate_private_key("ssh-ed25519"))
    return json.dumps({"targets": list(targets), "public_key": key, "tags": {}, **more}).encode()


PROTECTED = [("GET", "/v1/targets"), ("POST", "/v1/grants"), ("POST", "/v1/logout")]


@pytest.mark.parametrize(("method", "path"), PROTECTED)
async def test_without_a_token_there_is_nothing(lab: Lab, method: str, path: str) -> None:
    async with lab.gateway() as site:
        answer = await ask(site, method, path)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer, DPoP ")
        assert problem(answer)["hint"] == "airtunnel login"


@pytest.mark.parametrize(("method", "path"), PROTECTED)
async def test_a_bad_token_is_refused_and_only_the_audit_knows_why(lab: Lab, method: str, path: str) -> None:
    async with lab.gateway() as site:
        good = await token(site)
        head, body, signature = good.split(".")
        bad = ["rubbish", "a.b.c", f"{head}.{body}.{signature[::-1]}", f"{head}.{body}.", "x" * 20_000]
        answers = [await ask(site, method, path, token=one) for one in bad]
        records = site.records("token.rejected")
        said = [problem(answer) for answer in answers]
        assert [answer.status_code for answer in answers] == [401] * len(bad)
        assert len({(one["message"], one["code"]) for one in said}) == 1, "no oracle: the same words for each fault"
        assert [f"request: {record['id']}" for record in records] == [one["details"][0] for one in said]
        assert len({record["detail"] for record in records}) >= 3
        written = json.dumps(records)
        assert signature not in written
        assert site.records("grant.issued", "logout") == []


async def test_a_token_of_another_issuer_is_refused(lab: Lab) -> None:
    with Provider(PEOPLE, client_id=CLIENT_ID, audience=AUDIENCE) as other:
        pages: list[asyncio.Future[str]] = []

        def show(prompt: Any) -> None:  # Any: DevicePrompt
            pages.append(asyncio.ensure_future(asyncio.to_thread(approve, prompt.verification_uri_complete, "ana", "ana")))

        where = Published("x", other.issuer, CLIENT_ID, ("openid",), ("device",), "access_token", "", 0, (), "")
        foreign = (await log_in(where, show=show)).access_token
        await asyncio.gather(*pages)
    async with lab.gateway() as site:
        answer = await ask(site, "POST", "/v1/grants", token=foreign, body=request("warehouse"))
        assert answer.status_code == 401
        assert "issuer" not in problem(answer)["message"]
        assert "issuer is not trusted" in site.records("token.rejected")[0]["detail"]


BAD = {
    "too large": (b'{"targets": ["' + b"x" * MAX_BODY + b'"]}', "larger than"),
    "no json": (b"{", "grant request"),
    "no object": (b"[]", "not a JSON object"),
    "deep": (b"[" * 60_000, "grant request"),
    "not utf-8": (b'{"targets": ["\xff"]}', "grant request"),
    "empty": (b"", "grant request"),
    "no key": (json.dumps({"targets": ["warehouse"]}).encode(), "public_key"),
    "no targets": (request(), "1 to 32 targets"),
    "too many targets": (request(*(f"t{number}" for number in range(33))), "1 to 32 targets"),
    "a name with a newline": (request("a\nb"), "printable"),
    "a long name": (request("a" * 64), "63 printable"),
    "a wrong tag": (request("warehouse", tags={"dag_id": "\x1b[2J"}), "tag dag_id"),
    "a tag of another type": (request("warehouse", tags={"try_number": "1"}), "tag try_number"),
    "tags that are none": (request("warehouse", tags=[]), "grant request"),
    "a bad key": (json.dumps({"targets": ["warehouse"], "public_key": "ssh-rsa AAAA"}).encode(), "public_key"),
}


@pytest.mark.parametrize(("body", "said"), BAD.values(), ids=BAD.keys())
async def test_a_request_that_makes_no_sense_is_told_so(lab: Lab, body: bytes, said: str) -> None:
    async with lab.gateway() as site:
        answer = await ask(site, "POST", "/v1/grants", token=await token(site), body=body)
        assert answer.status_code == 400
        assert said in problem(answer)["message"]
        assert "Traceback" not in answer.text
        assert site.records("grant.issued") == []


async def test_an_unknown_target_is_refused_by_default_and_so_is_one_that_is_not_allowed(lab: Lab) -> None:
    async with lab.gateway() as site:
        good = await token(site)
        for names, rule in ((("nowhere",), "default"), (("warehouse", "payroll"), "payroll-is-for-finance")):
            answer = await ask(site, "POST", "/v1/grants", token=good, body=request(*names))
            assert answer.status_code == 403
            body = problem(answer)
            assert (body["code"], body["rule"], body["target"]) == ("refused", rule, names[-1])
            assert body["place"].startswith("policy/policy.yaml:") or rule == "default"
            refusal = site.records("refused")[-1]
            assert refusal["id"] == body["request"]
            assert refusal["policy"]["rule"] == rule
        assert site.records("grant.issued") == []


async def test_what_is_published_holds_no_secret_and_no_address(lab: Lab) -> None:
    async with lab.gateway() as site:
        answer = await ask(site, "GET", WELL_KNOWN)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "max-age=60"
        assert "server" not in answer.headers
        assert Published.decode(answer.content) == site.published
        catalog = await ask(site, "GET", "/v1/targets", token=await token(site))
        for secret in ("PRIVATE", lab.database.broker_password, str(lab.database.socket), "broker", "secrets/"):
            assert secret not in answer.text + catalog.text
        assert {one["name"]: one["refusal"] is None for one in catalog.json()["targets"]} == {
            "warehouse": True,
            "payroll": False,
        }
        assert site.records("refused") == [], "a look at the list is no request"


async def test_a_grant_outlives_neither_its_token_nor_its_ttl(lab: Lab) -> None:
    async with lab.gateway(extra="grants: {ttl: 90s}") as site:
        answer = await ask(site, "POST", "/v1/grants", token=await token(site), body=request("warehouse", "warehouse"))
        assert answer.status_code == 201
        reply = answer.json()
        assert [one["name"] for one in reply["targets"]] == ["warehouse"], "twice is once"
        certificate = opened(reply["certificate"])
        assert certificate._valid_before - certificate._valid_after <= 90 + 60


async def test_a_token_is_good_for_so_many_grants_at_all_gateways_together(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airtunnel.gateway.api.MAX_GRANTS", 2)
    async with lab.gateway() as site:
        anas, fins = await token(site), await token(site, "fin")
        assert (await ask(site, "POST", "/v1/grants", token=anas, body=request("warehouse"))).status_code == 201
    async with lab.gateway() as site:  # the same one, restarted
        assert (await ask(site, "POST", "/v1/grants", token=anas, body=request("warehouse"))).status_code == 201
        answer = await ask(site, "POST", "/v1/grants", token=anas, body=request("warehouse"))
        assert answer.status_code == 401
        assert "grants" not in problem(answer)["message"]
        assert "used for 2 grants already" in site.records("token.rejected")[0]["detail"]
        assert len({one["jti"] for one in site.records("grant.issued")}) == 1, "what a token was used for is in the audit"
        assert (await ask(site, "GET", "/v1/targets", token=anas)).status_code == 200
        assert (await ask(site, "POST", "/v1/grants", token=fins, body=request("warehouse"))).status_code == 201


async def test_a_draining_gateway_is_alive_but_not_ready(lab: Lab) -> None:
    async with lab.gateway() as site:
        assert (await ask(site, "GET", "/readyz")).status_code == 200
        good = await token(site)
        site.gateway.service.draining = True
        ready = await ask(site, "GET", "/readyz")
        assert ready.status_code == 503
        assert problem(ready)["code"] == "temporary"
        assert (await ask(site, "GET", "/healthz")).status_code == 200
        assert (await ask(site, "POST", "/v1/grants", token=good, body=request("warehouse"))).status_code == 503


async def test_paths_and_methods_that_do_not_exist(lab: Lab) -> None:
    async with lab.gateway() as site:
        assert (await ask(site, "GET", "/v1/grants")).status_code == 405
        assert (await ask(site, "GET", "/")).status_code == 404
        assert (await ask(site, "GET", "/docs")).status_code == 404


async def test_a_logout_ends_ones_own_sessions_and_nobody_elses(lab: Lab) -> None:
    async with lab.gateway() as site, Tunnels.open(await site.account("fin"), ["payroll"], Tags()) as fins:
        async with Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as anas:
            assert (await ask(site, "POST", "/v1/logout", token=await token(site))).status_code == 204
            await asyncio.wait_for(anas.link.over.wait(), 5)
        await fins.test("payroll")
        assert len(site.records("logout")) == 1


async def test_a_token_that_logged_out_gets_no_grant(lab: Lab) -> None:
    async with lab.gateway() as site:
        mine = await token(site)
        assert (await ask(site, "POST", "/v1/grants", token=mine, body=request("warehouse"))).status_code == 201
        assert (await ask(site, "POST", "/v1/logout", token=mine)).status_code == 204
        refused = await ask(site, "POST", "/v1/grants", token=mine, body=request("warehouse"))
        assert refused.status_code == 401
        assert "used for" in site.records("token.rejected")[0]["detail"]
        assert (
            await ask(site, "POST", "/v1/grants", token=await token(site, "fin"), body=request("payroll"))
        ).status_code == 201


def test_a_request_says_nothing_more_than_it_must() -> None:
    assert set(json.loads(GrantRequest(("a",), "k").encode())) == {"targets", "public_key", "tags"}
