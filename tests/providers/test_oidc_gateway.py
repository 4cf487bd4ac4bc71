"""The whole way: a gateway whose provider others wrote, `airtunnel` in a terminal, and a person at a browser."""

import json
import re
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airtunnel.config.gateway import load_gateway
from airtunnel.errors import LoginRequired
from airtunnel.gateway.serve import Gateway
from airtunnel.identity.login.drive import refresh
from airtunnel.identity.store import open_store
from airtunnel.identity.tokens import load_tokens
from airtunnel.identity.tokenset import TokenSet
from tests.cli.terminal import Screen, Terminal, screen
from tests.lab import POLICY, Lab, Site
from tests.providers import pages
from tests.providers.chromium import Chromium
from tests.providers.oidc import OidcProvider

if TYPE_CHECKING:
    from playwright.sync_api import Page

CONFIG = """\
name: test
listen: {{https: "127.0.0.1:0", ssh: "127.0.0.1:0"}}
tls: {{certificate: tls/gateway.pem, key: tls/gateway.key}}
policy: policy
providers:
  - issuer: "{provider.issuer}"
    ca: "{provider.ca}"
    client_id: airtunnel
    audiences: [airtunnel-gateway]
    scopes: [openid, email, groups, offline_access]
    flows: [device, browser]
    binding: dpop
  - issuer: "{provider.issuer}"
    ca: "{provider.ca}"
    kind: workload
    clients: [worker]
    audiences: [airtunnel-gateway]
"""
WORKERS = """\
  - name: workers
    effect: allow
    who: {{groups: [workers]}}
    targets: [payroll]
"""
ASK = """
import psycopg
with psycopg.connect("") as database:
    print(database.execute("SELECT current_database() || ' ' || current_user").fetchone()[0])
"""


@pytest.fixture
async def site(lab: Lab, oidc: OidcProvider) -> AsyncIterator[Site]:
    """A gateway that takes oidc-provider's people and workloads."""
    directory = lab.write(POLICY + WORKERS)
    (directory / "gateway.yaml").write_text(CONFIG.format(provider=oidc))
    async with Gateway.open(load_gateway(directory / "gateway.yaml")) as gateway:
        yield Site(lab, gateway, directory)


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """A terminal of somebody who is not logged in anywhere."""
    home = tmp_path / "person"
    home.mkdir()
    return Terminal(home)


@pytest.fixture
def login(terminal: Terminal, site: Site, request: pytest.FixtureRequest) -> Iterator[Screen]:
    """`airtunnel login` with the flow that the test is given."""
    with screen(terminal, "login", site.address, "--ca", str(site.ca), "--store", "file", "--flow", request.param) as shown:
        yield shown


def kept(terminal: Terminal, site: Site) -> TokenSet:
    """The login in the file that the command wrote."""
    tokens = load_tokens(open_store("file", terminal.state / "tokens"), site.address, site.published.issuer)
    assert tokens is not None
    return tokens


async def be_somebody_and_leave(terminal: Terminal, site: Site) -> None:
    """Everything that `ana` does after a login, until that is over everywhere."""
    ended = await terminal.run("whoami", "--json")
    assert ended.code == 0, ended.err
    said = json.loads(ended.out)
    assert (said["who"], said["groups"], said["issuer"]) == ("ana@example.com", ["data-eng"], site.published.issuer)
    assert (said["renews"], said["bound"]) == (True, True)
    ended = await terminal.run("targets")
    assert ended.code == 0, ended.err
    assert "warehouse" in ended.out
    ended = await terminal.run("exec", "warehouse", "--", sys.executable, "-c", ASK)
    assert (ended.code, ended.out) == (0, "shop shop_rw\n"), ended.err
    tokens = kept(terminal, site)
    ended = await terminal.run("logout")
    assert (ended.code, ended.err) == (0, f"Logged out of {site.address}.\n")
    assert list((terminal.state / "tokens").iterdir()) == []
    with pytest.raises(LoginRequired, match="has ended"):
        await refresh(site.published, tokens)


@pytest.mark.parametrize("login", ["device"], indirect=True)
async def test_a_person_logs_in_by_code_works_and_logs_out(
    terminal: Terminal, site: Site, login: Screen, chromium: Chromium
) -> None:
    text = await login.shows("Waiting")
    address, code = re.search(r"  (https://\S+)\n.*code  (\S+)", text, re.DOTALL).groups()  # type: ignore[union-attr]  # else it fails

    def compare_and_approve(page: "Page") -> None:
        assert page.locator("code").inner_text() == code
        pages.approve_device(page)

    await chromium.visit(address, compare_and_approve)
    assert await login.end() == 0, login.text
    assert "You are ana@example.com" in login.text
    assert "You may reach: warehouse" in login.text
    await be_somebody_and_leave(terminal, site)


@pytest.mark.parametrize("login", ["browser"], indirect=True)
async def test_a_person_logs_in_with_the_browser_works_and_logs_out(
    terminal: Terminal, site: Site, login: Screen, chromium: Chromium
) -> None:
    await login.shows("https://", "paste")
    address = next(line.strip() for line in login.text.splitlines() if line.startswith("  https://"))
    await chromium.visit(address, pages.approve_browser)
    assert await login.end() == 0, login.text
    assert "You are ana@example.com" in login.text
    await be_somebody_and_leave(terminal, site)


async def test_a_worker_shows_that_it_has_its_key(terminal: Terminal, site: Site, oidc: OidcProvider) -> None:
    terminal.variables = {
        "AIRTUNNEL_GATEWAY": site.address,
        "AIRTUNNEL_CA": str(site.ca),
        "AIRTUNNEL_IDENTITY": "client-credentials",
        "AIRTUNNEL_CLIENT_ID": "worker",
        "AIRTUNNEL_CLIENT_KEY_FILE": str(oidc.worker_key),
    }
    ended = await terminal.run("whoami", "--json")
    assert ended.code == 0, ended.err
    said = json.loads(ended.out)
    assert (said["who"], said["groups"], said["identity"]) == ("worker@example.com", ["workers"], "client-credentials")
    ended = await terminal.run("exec", "payroll", "--", sys.executable, "-c", ASK)
    assert (ended.code, ended.out) == (0, "payroll payroll_ro\n"), ended.err
    assert {one["workload"]["name"] for one in site.records("connection.opened")} == {"worker@example.com"}
