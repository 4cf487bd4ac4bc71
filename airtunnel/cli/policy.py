"""`policy schema`, `policy lint`, `policy test`: for whoever writes the policy, and for the CI that guards it."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.command import command
from airtunnel.cli.extras import need_extra
from airtunnel.cli.options import EnvironmentOption, JsonOption
from airtunnel.cli.policy_ask import diff, explain
from airtunnel.errors import UsageError

if TYPE_CHECKING:
    from airtunnel.policy.cases import Result

PathArgument = Annotated[Path, typer.Argument(help="The policy: a directory, or a file.", metavar="PATH")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    command(group)(lint)
    command(group, "test")(run_cases)
    for one in (explain, diff, schema):
        command(group)(one)

    @group.callback()
    def policy() -> None:
        """Write a policy, and know what it says before it says it.

        \b
        airtunnel policy lint policy
        airtunnel policy test policy
        airtunnel policy explain policy --as dev@example.com --group data-eng --target postgres-prod
        airtunnel policy diff main:policy policy --replay audit/audit.jsonl
        """

    app.add_typer(group, name="policy")


def schema() -> None:
    """Print the JSON Schema of policy files, for editors.

    \b
    airtunnel policy schema > policy.schema.json

    \b
    Editors with the YAML language server take it from the first line of a file:
    # yaml-language-server: $schema=policy.schema.json
    """
    need_extra("gateway")
    import json

    from airtunnel.policy.schema import json_schema

    output.data(json.dumps(json_schema(), indent=2))


def lint(
    path: PathArgument = Path("policy"),
    groups: Annotated[
        str | None, typer.Option(metavar="A,B", help="All groups that there are. Default: what the policy's `groups:` says.")
    ] = None,
    environment: EnvironmentOption = None,
    json: JsonOption = False,
) -> int:
    """Find what is wrong with a policy, and what in it has no effect.

    \b
    airtunnel policy lint policy
    airtunnel policy lint policy --groups "$(cat groups.txt)"

    Each finding is a line, `file:line:column: level: what`. Exit code 0 if there is no error among them, 1 if there is; 78 if
    the policy cannot be read: then all that is wrong with it is told.
    """
    need_extra("gateway")
    from airtunnel.policy.cases import load_cases
    from airtunnel.policy.lint import Level
    from airtunnel.policy.lint import lint as find
    from airtunnel.policy.load import load_policy

    policy = load_policy(path, environment)
    load_cases(path)
    findings = find(policy, None if groups is None else groups.replace(",", " ").split())
    errors = [one for one in findings if one.level is Level.ERROR]
    if json:
        listed = [
            {"file": one.place.file, "line": one.place.line, "column": one.place.column}
            | {"level": one.level, "about": one.about, "text": one.text}
            for one in findings
        ]
        output.document({"ok": not errors, "findings": listed})
    else:
        for one in findings:
            output.data(output.clean(f"{one.place}:{one.place.column}: {one.level}: {one.text}"))
    size = f"{len(policy.targets)} targets, {len(policy.rules)} rules"
    output.note(f"{path}: {size}; {len(errors)} errors, {len(findings) - len(errors)} warnings")
    return 1 if errors else 0


def run_cases(
    path: PathArgument = Path("policy"),
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the results there, too, as CI systems read them.", dir_okay=False)
    ] = None,
    environment: EnvironmentOption = None,
    json: JsonOption = False,
) -> int:
    """Ask a policy what its cases ask, and compare the answers.

    \b
    airtunnel policy test policy
    airtunnel policy test policy --junit policy.xml

    \b
    The cases stand beside the policy, in files called *.test.yaml:
    cases:
      - who: {name: ana@example.com, groups: [data-eng]}
        target: postgres-prod
        at: 2026-11-22T03:00 Europe/Berlin
        expect: refuse                      (allow; deny: by a rule that denies; refuse: in whatever way)
        rule: prod-is-for-on-call

    Each case that fails is a line: where it stands, what it expected, what came instead. Exit code 0 if none does, else 1.
    """
    need_extra("gateway")
    from airtunnel.policy.cases import load_cases, run_case, undecided
    from airtunnel.policy.load import load_policy

    policy = load_policy(path, environment)
    cases = load_cases(path)
    if not cases:
        # A CI that looks in the wrong place must not be content.
        raise UsageError(f"there are no cases beside {path}: no *.test.yaml", hint="airtunnel policy test --help")
    results = tuple(run_case(policy, case) for case in cases)
    failed = [one for one in results if not one.passed]
    untried = undecided(policy, results)
    if junit is not None:
        _write_junit(junit, results)
    if json:
        body = {"ok": not failed, "passed": len(results) - len(failed), "failed": len(failed), "untried_rules": list(untried)}
        output.document(body | {"cases": [_case(one) for one in results]})
    else:
        for one in failed:
            output.data(output.clean(f"{one.case.place}: {one.case.name}: {'; '.join(one.problems)}"))
    output.note(f"{len(results)} cases, {len(failed) or 'none'} failed")
    if untried:
        output.note(f"No case is about the rules: {', '.join(untried)}")
    return 1 if failed else 0


def _case(result: "Result") -> dict[str, object]:
    case, decision = result.case, result.decision
    return {
        "name": case.name,
        "place": str(case.place),
        "passed": result.passed,
        "expected": {"answer": case.expect, "rule": case.rule, "reason": case.reason},
        "got": {
            "outcome": decision.outcome,
            "rule": decision.rule,
            "place": str(decision.place),
            "reasons": list(decision.reasons),
        },
        "problems": list(result.problems),
    }


def _write_junit(path: Path, results: "tuple[Result, ...]") -> None:
    """The results in JUnit's XML. Raises UsageError if the file cannot be written."""
    from xml.etree import ElementTree as ET  # only written here, never read

    failures = sum(not one.passed for one in results)
    suite = ET.Element("testsuite", name="policy", tests=str(len(results)), failures=str(failures))
    for one in results:
        place = one.case.place
        case = ET.SubElement(suite, "testcase", classname=place.file, name=one.case.name, line=str(place.line))
        if not one.passed:
            ET.SubElement(case, "failure", message=f"{place}: {'; '.join(one.problems)}")
    try:
        ET.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
