"""The three errors that everybody meets, word for word: not logged in, refused, gateway down."""

import re

from tests.cli.terminal import Finished, Terminal
from tests.lab import Lab, Site


def told(ended: Finished, site: Site | None = None) -> str:
    """Stderr, with what differs each time replaced."""
    text = ended.err
    if site is not None:
        text = text.replace(site.address, "GATEWAY").replace(str(site.ca), "CA.pem")
    return re.sub(r"\b[0-9a-z]{26}\b", "REQUEST", text)


async def test_not_logged_in(terminal: Terminal) -> None:
    ended = await terminal.run("connect", "warehouse")
    assert ended.code == 79
    assert (
        told(ended)
        == """\
error: not logged in to any gateway
  to log in, run this in a terminal; without a person, as in CI or on a worker, set
    AIRTUNNEL_GATEWAY=gateway.example.com, and one of
    AIRTUNNEL_TOKEN_FILE=/path/of/a/token     a token that something else keeps fresh
    AIRTUNNEL_IDENTITY=github                 or gitlab, kubernetes, gcp, aws, client-credentials, auto
hint: airtunnel login HOST
"""
    )


async def test_no_longer_logged_in(ana: Terminal, site: Site) -> None:
    for file in (ana.state / "tokens").iterdir():
        file.unlink()
    ended = await ana.run("connect", "warehouse")
    assert ended.code == 79
    assert (
        told(ended, site)
        == """\
error: nobody is logged in at GATEWAY
  to log in, run this in a terminal; without a person, as in CI or on a worker, set
    AIRTUNNEL_GATEWAY=gateway.example.com, and one of
    AIRTUNNEL_TOKEN_FILE=/path/of/a/token     a token that something else keeps fresh
    AIRTUNNEL_IDENTITY=github                 or gitlab, kubernetes, gcp, aws, client-credentials, auto
hint: airtunnel login GATEWAY
"""
    )


async def test_refused(ana: Terminal, site: Site) -> None:
    ended = await ana.run("connect", "payroll")
    assert ended.code == 77
    assert (
        told(ended, site)
        == """\
error: ana@example.com may not reach payroll
  rule: payroll-is-for-finance (policy/policy.yaml:20), needs group finance; you are in: data-eng
  request: REQUEST
hint: airtunnel targets
"""
    )


async def test_refused_inside_of_a_command(ana: Terminal, site: Site) -> None:
    ended = await ana.run("exec", "payroll", "--", "psql")
    assert ended.code == 125
    assert (
        told(ended, site)
        == """\
error: ana@example.com may not reach payroll
  rule: payroll-is-for-finance (policy/policy.yaml:20), needs group finance; you are in: data-eng
  request: REQUEST
hint: airtunnel targets
airtunnel: psql was not run: exit code 125, for 77
"""
    )


async def test_gateway_down(terminal: Terminal, lab: Lab) -> None:
    async with lab.gateway() as site:
        terminal.log_in(site, await lab.tokens("ana"))
    ended = await terminal.run("connect", "warehouse")
    assert ended.code == 69
    assert (
        told(ended, site)
        == """\
error: GATEWAY does not answer: nothing listens there
  is it up, and is this the right network or VPN?
hint: curl -v https://GATEWAY/.well-known/airtunnel
"""
    )
