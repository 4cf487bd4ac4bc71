"""Reads the policy from its files, and checks that its parts belong together."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path

from airtunnel.config.document import Node, Scalar, fault, read_document
from airtunnel.config.table import Table, each, likely
from airtunnel.config.values import cut
from airtunnel.errors import ConfigError
from airtunnel.model import Place, Target
from airtunnel.policy import kinds
from airtunnel.policy.cases import SUFFIX as CASES
from airtunnel.policy.conditions import covers
from airtunnel.policy.form import Faults, Form, Key, Kind
from airtunnel.policy.parse import RULE, read_rule
from airtunnel.policy.rules import ENVIRONMENT, NAME, Policy, Rule
from airtunnel.policy.target import TARGET, read_target
from airtunnel.policy.version import git_commit


def _entries(node: Node) -> tuple[tuple[Scalar, Node], ...]:
    return tuple(Table(node).entries())


def _itself(node: Node) -> Node:
    return node


_NAMED = {"type": "object", "propertyNames": {"pattern": kinds.whole(NAME.pattern)}, "additionalProperties": TARGET.schema}

TARGETS = Key("targets", Kind(_entries, _NAMED), "What can be reached, by name.")
RULES = Key("rules", Kind(each(_itself), {"type": "array", "items": RULE.schema}), "Who may reach it. The default is no.")
GROUPS = Key(
    "groups", kinds.EXACT, "The groups that your provider knows: with them, `airtunnel policy lint` finds misspelt ones."
)
FILE = Form((TARGETS, RULES, GROUPS))


def load_policy(path: Path, environment: str | None = None) -> Policy:
    """The policy in a file, or in all `*.yaml` of a directory (but `*.test.yaml`), in alphabetical order.

    With an environment, what a gateway of that environment knows of it: the targets with the label `env: {environment}`, and
    the rules that speak of them. Every target must say its environment then.

    Files are shown from where the path stands: `policy/shop.yaml:12` for the directory `policy`, `shop.yaml:12` for the file.
    Raises ConfigError: `policy/shop.yaml:12:5: ...`, or an ExceptionGroup of them if several things are wrong. Whether rules
    speak of targets that exist is asked once all targets can be read.
    """
    path = path.absolute()
    reading = _Reading(path.parent)
    files = _files(path, reading.faults)
    for file in files:
        reading.read(file)
    if reading.complete:
        reading.check_reach()
        if environment is not None:
            reading.check_environment(environment, path.name)
    reading.faults.done(f"{path.name} has {len(reading.faults.found)} faults")
    first = Place(str(files[0].relative_to(path.parent)), 1)
    policy = Policy(reading.targets, tuple(reading.rules.values()), first, git_commit(path), frozenset(reading.groups))
    return policy if environment is None else _within(policy, environment)


class _Reading:
    """What was read so far, and what was wrong with it. `complete`: no target is missing that might have been meant."""

    def __init__(self, home: Path) -> None:
        self.faults = Faults()
        self.targets: dict[str, Target] = {}
        self.rules: dict[str, Rule] = {}
        self.groups: set[str] = set()
        self.complete = True
        self._home = home
        self._nodes: dict[str, Node] = {}

    def read(self, file: Path) -> None:
        """One more file."""
        before = len(self.faults.found)
        with self.faults:
            entry = FILE.gather(read_document(file, str(file.relative_to(self._home))), self.faults)
            for key, node in entry.get(TARGETS, ()):
                with self.faults:
                    self._add(self.targets, read_target(key, node), "target", key)
            self.complete = self.complete and len(self.faults.found) == before
            for node in entry.get(RULES, ()):
                with self.faults:
                    rule = read_rule(node)
                    self._add(self.rules, rule, "rule", node)
                    self._nodes[rule.name] = node
            self.groups.update(entry.get(GROUPS, ()))
            return
        self.complete = False  # it is no table at all

    def check_reach(self) -> None:
        """A name that fits no target is a typing error: in a rule that denies it would open what it should close."""
        labels: dict[str, set[str]] = {}
        for target in self.targets.values():
            for label, value in target.labels.items():
                labels.setdefault(label, set()).add(value)
        for name, rule in self.rules.items():
            self.faults.add(*_unreached(rule, self.targets, labels, self._nodes[name]))

    def check_environment(self, environment: str, shown: str) -> None:
        """Every target stands in one environment, and some in this one."""
        known = {value for target in self.targets.values() if (value := target.labels.get(ENVIRONMENT)) is not None}
        if environment not in known:
            about = f"no target has the label {ENVIRONMENT}: {cut(environment)}"
            self.faults.add(ConfigError(f"{shown}: {about}, which this gateway is for{likely(environment, known)}"))
        for target in self.targets.values():
            if ENVIRONMENT not in target.labels:
                missing = f"has no label `{ENVIRONMENT}`, so that no gateway of an environment knows it"
                self.faults.add(ConfigError(f"{target.place}:{target.place.column}: {target.name} {missing}"))

    def _add(self, known: dict[str, Target] | dict[str, Rule], new: Target | Rule, kind: str, node: Node) -> None:
        if new.name in known:
            raise fault(node, f"there is a {kind} `{new.name}` already, at {known[new.name].place}")
        known[new.name] = new  # type: ignore[assignment]  # each dict is given its own kind


def _files(path: Path, faults: Faults) -> tuple[Path, ...]:
    """The policy's files. Raises ConfigError if there is none; one that would be passed over is a fault."""
    try:
        if not path.is_dir():
            return (path,)
        names = sorted(one for one in path.iterdir() if not one.name.startswith("."))
        inner = [one for one in names if one.is_dir() and any(_is_policy(file) for file in one.iterdir())]
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path.name}: cannot be read: {error}") from error
    # A rule that denies, in a file that is silently not read, would be an open door.
    for one in names:
        if one.suffix == ".yml":
            faults.add(ConfigError(f"{path.name}/{one.name}: would not be read", hint=f"mv {one.name} {one.stem}.yaml"))
    for one in inner:
        told = "would not be read: a policy is the files of one directory, and environments are labels"
        faults.add(ConfigError(f"{path.name}/{one.name}: {told}", hint=f"mv {one.name}/*.yaml ."))
    found = tuple(one for one in names if _is_policy(one) and one.suffix == ".yaml" and one not in inner)
    if not found and not faults.found:
        raise ConfigError(f"{path.name}: there is no *.yaml in this directory")
    return found


def _is_policy(file: Path) -> bool:
    return file.suffix in (".yaml", ".yml") and not file.name.endswith(CASES) and not file.name.startswith(".")


def _unreached(rule: Rule, targets: Mapping[str, Target], labels: Mapping[str, set[str]], node: Node) -> Iterator[ConfigError]:
    table, fits = Table(node), True
    for glob in rule.targets:
        if glob not in targets and not any(fnmatchcase(name, glob) for name in targets):
            fits = False
            yield table.fault("targets", f"{rule.name} names `{cut(glob)}`, and no target fits{likely(glob, targets)}")
    for label, values in rule.labels.items():
        known = labels.get(label, set())
        for value in (one for one in values if one not in known):
            fits = False
            told = f"the label {cut(label)}: {cut(value)}"
            yield table.fault("labels", f"{rule.name} names {told}, and no target has it{likely(value, known)}")
    if fits and rule.labels and not any(covers(rule, one) for one in targets.values()):
        yield table.fault("labels", f"{rule.name} speaks of no target: none fits all of its `targets` and `labels`")


def _within(policy: Policy, environment: str) -> Policy:
    targets = {name: one for name, one in policy.targets.items() if one.labels[ENVIRONMENT] == environment}
    rules = tuple(rule for rule in policy.rules if any(covers(rule, one) for one in targets.values()))
    return Policy(targets, rules, policy.place, policy.commit, policy.groups)
