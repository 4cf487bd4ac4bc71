"""A refusal told once more: to whoever was refused, and to nobody else."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from airtunnel.errors import Refused
from airtunnel.gateway.ids import new_id
from airtunnel.identity.http import http_client
from airtunnel.model import Tags
from airtunnel.policy.load import load_policy
from airtunnel.tunnel.control import Control
from tests.lab import POLICY, Lab, Site


async def ask(site: Site, path: str, login: str | None = "ana") -> httpx2.Response:
    """One request, by a person who has logged in."""
    headers = {}
    if login is not None:
        headers["Authorization"] = f"Bearer {(await (await site.account(login)).present()).token}"
    async with http_client(ca=site.ca) as client:
        return await client.get(f"https://{site.address}/v1/requests/{path}", headers=headers)


async def refuse(site: Site, login: str = "ana", target: str = "payroll") -> str:
    """The id of a request that was refused."""
    with pytest.raises(Refused) as caught:
        await (await site.account(login)).grant((target,), Tags(dag_id="billing", reason="look"))
    return caught.value.request


def told(response: httpx2.Response) -> dict[str, Any]:  # Any: JSON
    assert (response.status_code, response.headers["cache-control"]) == (200, "no-store")
    body: dict[str, Any] = response.json()  # Any: JSON
    return body


async def test_who_was_refused_is_told_once_more_and_what_holds_now(lab: Lab) -> None:
    async with lab.gateway() as site:
        number = await refuse(site)
        body = told(await ask(site, number))
        assert (body["who"], body["target"], body["request"]) == ("ana@example.com", "payroll", number)
        assert (body["rule"], body["place"]) == ("payroll-is-for-finance", "policy/policy.yaml:20")
        assert body["reasons"] == ["needs group finance; you are in: data-eng"]
        assert (body["groups"], body["tags"]) == (["data-eng"], {"dag_id": "billing", "reason": "look"})
        assert (body["source"], body["hint"]) == ("127.0.0.1", "airtunnel targets")
        assert datetime.now(UTC) - datetime.fromisoformat(body["at"]) < timedelta(minutes=1)
        assert (body["now"]["rule"], body["allowed_by"]) == ("payroll-is-for-finance", None)

        policy = site.directory / "policy" / "policy.yaml"
        policy.write_text(policy.read_text().replace("[finance]", "[finance, data-eng]"))
        site.gateway.service.policy = load_policy(policy.parent)
        body = told(await ask(site, number))
        assert (body["rule"], body["now"]) == ("payroll-is-for-finance", None)
        assert body["allowed_by"] == "payroll-is-for-finance (policy/policy.yaml:20)"
        assert body["hint"] == "airtunnel connect payroll"


async def test_another_persons_request_is_as_unknown_as_one_that_never_was(lab: Lab) -> None:
    async with lab.gateway() as site:
        number = await refuse(site)
        others = await ask(site, number, "fin")
        never = await ask(site, new_id(datetime.now(UTC)), "fin")
        assert others.status_code == never.status_code == 404
        assert others.content == never.content
        assert others.json()["message"] == "no refusal of yours is known here under this id"
        for nothing in ("nosuch", "0" * 26, "z" * 26, number.upper(), "..%2f..%2fetc"):
            assert (await ask(site, nothing)).status_code == 404


async def test_only_a_refusal_is_told(lab: Lab) -> None:
    async with lab.gateway() as site:
        await (await site.account("ana")).grant(("warehouse",), Tags())
        (granted,) = site.records("grant.issued")
        assert (await ask(site, granted["id"])).status_code == 404


async def test_without_a_login_nothing_is_told(lab: Lab) -> None:
    async with lab.gateway() as site:
        number = await refuse(site)
        assert (await ask(site, number, None)).status_code == 401


async def test_a_refusal_is_still_known_after_a_restart(lab: Lab) -> None:
    async with lab.gateway() as site:
        number = await refuse(site)
    async with lab.gateway() as site:
        account = await site.account("ana")
        found = await Control(site.address, site.ca).refusal(await account.present(), number)
        assert (found.refusal.request, found.refusal.rule) == (number, "payroll-is-for-finance")


async def test_a_target_that_never_was_is_told_as_it_was_asked_for(lab: Lab) -> None:
    async with lab.gateway(POLICY) as site:
        number = await refuse(site, target="ware house;x")
        body = told(await ask(site, number))
        assert (body["target"], body["rule"]) == ("ware house;x", "default")
        assert body["reasons"][0].startswith("there is no target `ware house;x`")
