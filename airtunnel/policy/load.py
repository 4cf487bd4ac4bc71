"""Reads the policy from its files, and checks that its parts belong together."""

from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from airtunnel.config.document import Node, Scalar, fault, read_document
from airtunnel.config.table import Table, each, likely
from airtunnel.config.values import cut
from airtunnel.errors import ConfigError
from airtunnel.model import Place, Target
from airtunnel.policy.conditions import covers
from airtunnel.policy.parse import read_rule, read_target
from airtunnel.policy.rules import Policy, Rule
from airtunnel.policy.version import git_commit


def load_policy(path: Path) -> Policy:
    """The policy in a file, or in all `*.yaml` of a directory, in alphabetical order.

    Files are shown from where the path stands: `policy/shop.yaml:12` for the directory `policy`, `shop.yaml:12` for the file.
    Raises ConfigError: `policy/shop.yaml:12:5: ...`.
    """
    path = path.absolute()
    targets: dict[str, Target] = {}
    rules: dict[str, Rule] = {}
    nodes: list[tuple[Rule, Node]] = []
    files = list(_files(path))
    for file in files:
        table = Table(read_document(file, str(file.relative_to(path.parent))))
        for key, node in table.take("targets", _entries, ()):
            _add(targets, read_target(key, node), "target", key)
        for node in table.take("rules", each(lambda node: node), ()):
            rule = read_rule(node)
            _add(rules, rule, "rule", node)
            nodes.append((rule, node))
        table.done()
    labels = _labels(targets.values())
    for rule, node in nodes:
        _check_reach(rule, targets, labels, node)
    first = str(files[0].relative_to(path.parent))
    return Policy(targets, tuple(rules.values()), Place(first, 1), git_commit(path))


def _files(path: Path) -> Iterator[Path]:
    try:
        if not path.is_dir():
            yield path
            return
        names = sorted(one for one in path.iterdir() if not one.name.startswith("."))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path.name}: cannot be read: {error}") from error
    for one in names:
        # A rule that denies, in a file that is silently not read, would be an open door.
        if one.suffix == ".yml":
            raise ConfigError(f"{path.name}/{one.name}: would not be read", hint=f"mv {one.name} {one.stem}.yaml")
    found = [one for one in names if one.suffix == ".yaml"]
    if not found:
        raise ConfigError(f"{path.name}: there is no *.yaml in this directory")
    yield from found


def _entries(node: Node) -> tuple[tuple[Scalar, Node], ...]:
    return tuple(Table(node).entries())


def _add(known: dict[str, Target] | dict[str, Rule], new: Target | Rule, kind: str, node: Node) -> None:
    if new.name in known:
        raise fault(node, f"there is a {kind} `{new.name}` already, at {known[new.name].place}")
    known[new.name] = new  # type: ignore[assignment]  # each dict is given its own kind


def _check_reach(rule: Rule, targets: Mapping[str, Target], labels: Mapping[str, set[str]], node: Node) -> None:
    """A name that fits no target is a typing error: in a rule that denies it would open what it should close."""
    table = Table(node)
    for glob in rule.targets:
        if glob not in targets and not any(fnmatchcase(name, glob) for name in targets):
            raise table.fault("targets", f"{rule.name} names `{cut(glob)}`, and no target fits{likely(glob, targets)}")
    for label, values in rule.labels.items():
        known = labels.get(label, set())
        for value in values:
            if value not in known:
                told = f"the label {cut(label)}: {cut(value)}"
                raise table.fault("labels", f"{rule.name} names {told}, and no target has it{likely(value, known)}")
    # One selector alone was checked above.
    if rule.labels and len(rule.labels) + len(rule.targets) > 1 and not any(covers(rule, one) for one in targets.values()):
        raise table.fault("labels", f"{rule.name} speaks of no target: none fits all of its `targets` and `labels`")


def _labels(targets: Iterable[Target]) -> Mapping[str, set[str]]:
    labels: dict[str, set[str]] = {}
    for target in targets:
        for label, value in target.labels.items():
            labels.setdefault(label, set()).add(value)
    return labels
