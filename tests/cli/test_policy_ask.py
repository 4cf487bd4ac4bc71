"""What a policy would say: to one request, and after a change."""

import json
import shutil
from pathlib import Path

import pytest

from airtunnel.model import Tags
from tests.cli.terminal import Terminal
from tests.lab import Lab
from tests.policy.shop import PROD, STAGING, write_policy
from tests.policy.test_revision import git

ANA = ("--as", "ana@example.com", "--group", "data-eng")


@pytest.fixture
def writer(terminal: Terminal) -> Terminal:
    """The terminal of somebody who writes the shop's policy."""
    write_policy(terminal.home)
    return terminal


async def test_a_refused_request_is_explained_with_what_came_near(writer: Terminal) -> None:
    ended = await writer.run(
        *("policy", "explain", "policy", *ANA, "--target", "legacy", "--tag", "dag_id=billing"),
        *("--at", "2026-11-22T03:00Z", "--from", "1.2.3.4"),
    )
    assert (ended.code, ended.err) == (77, "")
    assert ended.out.splitlines() == [
        "ana@example.com may not reach legacy at Sun 2026-11-22 03:00 UTC",
        "  rule     legacy-by-day (policy/staging.yaml:20)",
        "           only mon-fri 08:00-18:00 Europe/Berlin; it is Sun 04:00",
        "           only from 10.0.0.0/8 or fd00::/8; you come from 1.2.3.4",
        "Other rules that came near:",
        "  billing-job (policy/staging.yaml:15) would allow it, but",
        "    needs namespace airflow; yours is not known",
        "    needs a workload; you are a person",
        "    needs a login from https://kube.example; yours is from nobody in particular",
        "  engineers-reach-staging (policy/staging.yaml:11) would allow it, but",
        "    it does not speak of legacy",
    ]


async def test_an_allowed_request_is_explained_with_its_limits(writer: Terminal) -> None:
    ended = await writer.run(
        *("policy", "explain", "policy", "--as", "bo@example.com", "--group", "on-call", "--target", "postgres-prod"),
        *("--tag", "reason=pager", "--at", "2026-11-22T03:00 Europe/Berlin"),
    )
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == [
        "bo@example.com may reach postgres-prod at Sun 2026-11-22 03:00 CET",
        "  rule     prod-is-for-on-call (policy/prod.yaml:14)",
        "  limits   duration 30 min, idle 10 min, connections 20",
        "Other rules that came near:",
        "  no-contractors (policy/prod.yaml:20) would deny it, but",
        "    it is denied to group contractors",
    ]


async def test_a_workload_is_known_by_its_claims_and_its_issuer(writer: Terminal) -> None:
    words = ("policy", "explain", "policy", "--as", "worker", "--kind", "workload", "--issuer", "https://kube.example")
    ended = await writer.run(*words, "--claim", "namespace=airflow", "--target", "legacy", "--tag", "dag_id=billing", "--json")
    assert ended.code == 0
    told = json.loads(ended.out)
    assert (told["allowed"], told["rule"], told["limits"]["duration"]) == (True, "billing-job", 3600)
    ended = await writer.run(*words, "--claim", "namespace=other", "--target", "legacy", "--tag", "dag_id=billing", "--json")
    told = json.loads(ended.out)
    assert (ended.code, told["reasons"]) == (77, ["needs namespace airflow; yours is other"])
    assert told["near"][0]["verdict"] == "would allow it"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--at", "tomorrow"), "--at: `tomorrow` is not a time like 2026-11-22T03:00Z"),
        (("--at", "2026-11-22T03:00"), "--at: `2026-11-22T03:00` has no time zone"),
        (("--tag", "dag=billing"), "--tag: there is no tag `dag`; did you mean `dag_id`?"),
        (("--tag", "billing"), "--tag is NAME=VALUE, not `billing`"),
        (("--claim", "airflow"), "--claim is NAME=VALUE, not `airflow`"),
        (("--from", "home"), "--from: `home` is not an IP address"),
        (("--kind", "robot"), "--kind is person or workload, not `robot`"),
    ],
)
async def test_what_makes_no_sense_is_a_wrong_command_line(writer: Terminal, words: tuple[str, ...], told: str) -> None:
    ended = await writer.run("policy", "explain", "policy", *ANA, "--target", "legacy", *words)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"error: {told}")


async def test_a_change_since_a_git_revision_is_told_by_who_notices_it(writer: Terminal) -> None:
    if shutil.which("git") is None:
        pytest.skip("git is not installed")
    git(writer.home, "init", "-q")
    git(writer.home, "add", ".")
    git(writer.home, "commit", "-q", "-m", "first")
    assert (await writer.run("policy", "diff", "HEAD:policy/", "policy")).code == 0

    (writer.home / "policy" / "staging.yaml").write_text(STAGING.replace("[data-eng, on-call]", "[data-eng]"))
    (writer.home / "policy" / "prod.yaml").write_text(PROD.replace("duration: 30m", "duration: 20m"))
    ended = await writer.run("policy", "diff", "HEAD:policy/", "policy")
    assert ended.code == 1
    assert ended.out.splitlines() == [
        "would be refused: somebody (on-call) to postgres-staging; for example Wed 2026-01-07 12:00 UTC",
        "  old: allow by engineers-reach-staging (policy/staging.yaml:11)",
        "  new: refuse by engineers-reach-staging (policy/staging.yaml:11): needs group data-eng; you are in: on-call",
        "would have other limits: somebody (on-call) to postgres-prod; for example Wed 2026-01-07 12:00 UTC, reason=something",
        "  old: allow by prod-is-for-on-call (policy/prod.yaml:14): duration 30 min, idle 10 min, connections 20",
        "  new: allow by prod-is-for-on-call (policy/prod.yaml:14): duration 20 min, idle 10 min, connections 20",
    ]
    assert ended.err.endswith(" made-up requests: 1 would be refused, 1 would have other limits\n")
    told = json.loads((await writer.run("policy", "diff", "HEAD:policy/", "policy", "--json")).out)
    assert [(one["kind"], one["target"], one["count"]) for one in told["differences"]] == [
        ("refused", "postgres-staging", None),
        ("limits", "postgres-prod", None),
    ]
    assert told["differences"][0]["old"]["commit"] == git(writer.home, "rev-parse", "HEAD")


async def test_without_git_a_revision_is_told_to_need_it(writer: Terminal) -> None:
    writer.variables["PATH"] = "/nonexistent"
    ended = await writer.run("policy", "diff", "HEAD~1:policy/", "policy")
    assert ended.code == 2
    assert ended.err == (
        "error: `HEAD~1:policy/` is a git revision, and git is not installed\nhint: name a file or a directory\n"
    )


async def test_a_change_is_replayed_over_what_was_asked_of_a_gateway(terminal: Terminal, lab: Lab) -> None:
    async with lab.gateway() as site:
        terminal.log_in(site, await lab.tokens("ana"))
        for _ in range(2):
            assert (await terminal.run("connect", "payroll", "--reason", "look")).code == 77
        terminal.log_in(site, await lab.tokens("fin"))
        account = await site.account("fin")
        await account.grant(("warehouse", "payroll"), Tags(dag_id="billing"))
    old = site.directory / "policy"
    new = Path(shutil.copytree(old, site.directory / "new" / "policy"))
    text = (new / "policy.yaml").read_text()
    (new / "policy.yaml").write_text(
        text.replace("[finance]", "[data-eng]").replace("groups: [data-eng]}", "groups: [ops]}", 1)
    )
    words = ("policy", "diff", str(old), str(new), "--replay", str(site.directory / "audit"))
    ended = await terminal.run(*words)
    assert ended.code == 1
    lines = ended.out.splitlines()
    assert [line.partition(";")[0] for line in lines if not line.startswith(" ")] == [
        "would be refused: fin@example.com (finance, data-eng) to warehouse",
        "would be allowed: ana@example.com (data-eng) to payroll",
    ]
    assert "; once, " in lines[0]
    assert lines[0].endswith(" UTC, dag_id=billing, from 127.0.0.1")
    assert "; 2 times, " in lines[3]
    assert ended.err == "4 recorded requests: 1 would be refused, 2 would be allowed\n"

    told = json.loads((await terminal.run(*words, "--json")).out)
    assert [(one["who"], one["count"], one["tags"]) for one in told["differences"]] == [
        ("fin@example.com", 1, {"dag_id": "billing"}),
        ("ana@example.com", 2, {"reason": "look"}),
    ]
    assert (await terminal.run(*words[:3], str(old), *words[4:])).code == 0


async def test_a_damaged_audit_is_not_replayed_as_if_nothing_were_missing(writer: Terminal) -> None:
    (writer.home / "audit.jsonl").write_text("{}\n")
    ended = await writer.run("policy", "diff", "policy", "policy", "--replay", "audit.jsonl")
    assert ended.code == 78
    assert ended.err.startswith("error: audit.jsonl:1: not a record of the audit\nhint: airtunnel audit verify audit.jsonl")


async def test_an_environment_knows_its_own_targets_only(terminal: Terminal) -> None:
    where = terminal.home / "policy"
    where.mkdir()
    target = "  {name}: {{protocol: tcp, address: 'db:1', labels: {{env: {env}}}}}\n"
    rule = "rules:\n  - {name: all, effect: allow, who: {groups: [data-eng]}, labels: {env: [prod, staging]}}\n"
    targets = target.format(name="one", env="prod") + target.format(name="two", env="staging")
    (where / "p.yaml").write_text(f"targets:\n{targets}{rule}")
    for environment, code in (((), 0), (("--environment", "prod"), 0), (("--environment", "staging"), 77)):
        ended = await terminal.run("policy", "explain", "policy", *ANA, "--target", "one", *environment)
        assert ended.code == code, ended.err + ended.out
    assert (await terminal.run("policy", "lint", "policy", "--environment", "staging")).code == 0
