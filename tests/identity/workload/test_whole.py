"""The whole path: a token in a file, a gateway that trusts its issuer, a rule that is about workloads."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from airtunnel.config.gateway import load_gateway
from airtunnel.errors import LoginFailed, LoginRequired, Refused
from airtunnel.gateway.serve import Gateway
from airtunnel.identity.workload import find_identity
from airtunnel.model import Tags
from airtunnel.tunnel.account import Account
from tests.identity.provider import Provider, new_key, providing
from tests.lab import Lab, Site

from .tokens import AUDIENCE

POLICY = """\
targets:
  warehouse: {{protocol: postgres, address: {address}, database: shop}}
  payroll: {{protocol: postgres, address: {address}, database: payroll}}
rules:
  - name: nightly-jobs
    effect: allow
    who: {{kind: workload, claims: {{repository: [acme/shop]}}}}
    targets: [warehouse]
  - name: people-only
    effect: allow
    who: {{kind: person, groups: [finance]}}
    targets: [payroll]
"""


@pytest.fixture
def machines() -> Iterator[Provider]:
    """The issuer of the workloads; people have another one."""
    with providing() as provider:
        yield provider


@asynccontextmanager
async def gateway(lab: Lab, machines: Provider) -> AsyncIterator[Site]:
    directory = lab.write(POLICY)
    config = directory / "gateway.yaml"
    entry = (
        f'  - issuer: "{machines.issuer}"\n'
        "    kind: workload\n"
        f'    audiences: ["{AUDIENCE}"]\n'
        "    claims: {name: sub, keep: [repository]}\n"
    )
    config.write_text(config.read_text().replace("policy: policy\n", f"{entry}policy: policy\n"))
    async with Gateway.open(load_gateway(config)) as running:
        yield Site(lab, running, directory)


def job(machines: Provider, **more: object) -> str:
    now = int(time.time())
    claims = {"iss": machines.issuer, "sub": "repo:acme/shop", "aud": AUDIENCE, "iat": now, "exp": now + 300}
    return machines.sign(claims | {"repository": "acme/shop"} | more, {"typ": "JWT"})


def account(site: Site, file: Path) -> Account:
    identity = find_identity(None, {"AIRTUNNEL_TOKEN_FILE": str(file)})
    assert identity is not None
    return Account(site.address, site.published, identity, site.ca)


async def test_a_workload_reaches_what_the_policy_gives_to_workloads(lab: Lab, machines: Provider, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(job(machines))
    async with gateway(lab, machines) as site:
        job_account = account(site, file)
        catalog = await job_account.catalog()
        assert (catalog.who, catalog.issuer) == ("repo:acme/shop", machines.issuer)
        assert {one.name: one.refusal is None for one in catalog.targets} == {"warehouse": True, "payroll": False}
        granted = await job_account.grant(("warehouse",), Tags())
        assert granted.reply.who == "repo:acme/shop"
        with pytest.raises(Refused):
            await job_account.grant(("payroll",), Tags())


async def test_another_repositorys_workload_is_known_and_refused(lab: Lab, machines: Provider, tmp_path: Path) -> None:
    file = tmp_path / "token"
    async with gateway(lab, machines) as site:
        job_account = account(site, file)
        file.write_text(job(machines, repository="evil/shop", sub="repo:evil/shop"))
        with pytest.raises(Refused, match="repo:evil/shop may not reach warehouse"):
            await job_account.grant(("warehouse",), Tags())
        file.write_text(job(machines))  # and the file is read again
        await job_account.grant(("warehouse",), Tags())


async def test_a_token_that_is_not_for_the_gateway_never_reaches_it(lab: Lab, machines: Provider, tmp_path: Path) -> None:
    file = tmp_path / "token"
    async with gateway(lab, machines) as site:
        before = site.records()
        for token in (job(machines, aud="https://kubernetes.default.svc"), job(machines, iss="https://other.example.com")):
            file.write_text(token)
            with pytest.raises(LoginFailed):
                await account(site, file).catalog()
        assert site.records() == before
        file.write_text(job(machines, aud=AUDIENCE, iat=1))  # what the gateway does see, it writes down
        with pytest.raises(LoginRequired):
            await account(site, file).catalog()
        assert len(site.records()) > len(before)


async def test_a_forged_token_passes_here_and_not_at_the_gateway(lab: Lab, machines: Provider, tmp_path: Path) -> None:
    """What is checked before sending is for whom a token is, not whether it is true."""
    file = tmp_path / "token"
    stolen = new_key("first")
    assert stolen.kid == machines.keys[0].kid
    honest, machines.keys = machines.keys, [stolen]
    file.write_text(job(machines))
    machines.keys = honest
    async with gateway(lab, machines) as site:
        with pytest.raises(LoginRequired) as caught:
            await account(site, file).catalog()
    assert not isinstance(caught.value, LoginFailed)
