"""Several gateways side by side."""

import json

from airtunnel.config.client import ClientConfig, Context
from airtunnel.identity.store import open_store
from airtunnel.identity.tokens import logged_in
from tests.cli.terminal import Terminal
from tests.cli.test_login import log_in
from tests.lab import Site


def two(terminal: Terminal) -> None:
    config = ClientConfig.load(terminal.config)
    config.put(Context("prod", "127.0.0.1:1", None, "file", user="ana@example.com"))
    config.put(Context("staging", "127.0.0.1:2", None, "keyring"))
    config.save()


async def test_gateways_are_listed_and_the_one_in_use_is_marked(terminal: Terminal) -> None:
    two(terminal)
    ended = await terminal.run("context")
    assert (ended.code, ended.err) == (0, "")
    assert [line.split() for line in ended.out.splitlines()] == [
        ["CONTEXT", "GATEWAY", "WHO", "KEPT", "IN"],
        ["prod", "127.0.0.1:1", "ana@example.com", "file"],
        ["*", "staging", "127.0.0.1:2", "-", "keyring"],
    ]


async def test_the_choice_is_remembered(terminal: Terminal) -> None:
    two(terminal)
    ended = await terminal.run("context", "prod")
    assert (ended.code, ended.err) == (0, "From now on: prod, at 127.0.0.1:1.\n")
    assert ClientConfig.load(terminal.config).current == "prod"
    listed = json.loads((await terminal.run("context", "--json")).out)["contexts"]
    assert [(one["name"], one["current"]) for one in listed] == [("prod", True), ("staging", False)]


async def test_an_unknown_one_is_told_with_the_likely_one(terminal: Terminal) -> None:
    two(terminal)
    ended = await terminal.run("context", "prd")
    assert (ended.code, ended.err) == (79, "error: there is no context prd; did you mean prod?\nhint: airtunnel context\n")


async def test_before_any_login_it_says_how_to(terminal: Terminal) -> None:
    ended = await terminal.run("context")
    assert (ended.code, ended.out) == (0, "")
    assert "airtunnel login HOST" in ended.err


async def test_a_project_chooses_among_the_logins_that_there_are(ana: Terminal, site: Site) -> None:
    config = ClientConfig.load(ana.config)
    config.put(Context("other", "127.0.0.1:1", None, "file"))
    config.save()
    project = ana.home / ".airtunnel.toml"
    project.write_text(f'gateway = "{site.address}"\n')
    assert json.loads((await ana.run("whoami", "--json")).out)["gateway"] == site.address
    project.unlink()
    assert (await ana.run("whoami")).code == 79


async def test_a_project_never_sends_anybody_to_log_in_elsewhere(ana: Terminal) -> None:
    project = ana.home / ".airtunnel.toml"
    project.write_text('gateway = "evil.example.com"\n')
    for words in (("targets",), ("connect", "warehouse"), ("exec", "--", "true"), ("logout",)):
        ended = await ana.run(*words)
        assert ended.code == (125 if words[0] == "exec" else 79)
        assert "this project's targets are behind evil.example.com, where you are not logged in" in ended.err
        assert str(project) in ended.err


async def test_a_project_names_the_targets_that_are_meant(ana: Terminal) -> None:
    (ana.home / ".airtunnel.toml").write_text('targets = ["warehouse"]\n')
    async with ana.start("connect", "--json") as running:
        ready = await running.event("ready")
        assert [one["name"] for one in ready["targets"]] == ["warehouse"]
    ended = await ana.run("exec", "--", "sh", "-c", "echo $AIRTUNNEL_WAREHOUSE_PORT")
    assert ended.code == 0, ended.err
    assert ended.out.strip().isdigit()


async def test_without_a_project_a_target_must_be_named(ana: Terminal) -> None:
    ended = await ana.run("connect")
    assert (ended.code, ended.err.splitlines()[-1]) == (2, "hint: airtunnel targets")


async def test_a_context_acts_as_its_own_person(terminal: Terminal, site: Site) -> None:
    options = ("--ca", str(site.ca), "--store", "file")
    for name in ("ana", "fin"):
        assert (await log_in(terminal, site.address, *options, "--context", name, login=name)).code == 0
    for name in ("ana", "fin"):
        for words in (("whoami",), ("status",), ("status", "--expires-in", "59s")):
            ended = await terminal.run(*words, "--context", name, "--json")
            assert json.loads(ended.out)["who"] == f"{name}@example.com", (words, ended.err)
    assert (await terminal.run("logout", "--context", "ana")).code == 0
    store = open_store("file", terminal.state / "tokens")
    assert logged_in(store, site.address, site.published.issuer) == ("fin",)
    assert list(ClientConfig.load(terminal.config).contexts) == ["fin"]
    assert json.loads((await terminal.run("whoami", "--json")).out)["who"] == "fin@example.com"
