"""The published schema and the reader, held against each other."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from airtunnel.config.document import Mapping, Node, Scalar, Sequence, Source, parse_document
from airtunnel.errors import ConfigError
from airtunnel.policy.load import load_policy
from airtunnel.policy.schema import json_schema
from tests.lab import POLICY as LAB
from tests.policy.shop import PROD, STAGING, write_policy
from tests.policy.test_load import mutate
from tests.policy.test_parse import FAULTY_RULES
from tests.policy.test_target import FAULTY_TARGETS
from tests.readme import README, blocks

SCHEMA = Draft202012Validator(json_schema())
HOME = Path(__file__).parent.parent.parent / "airtunnel"


def value(node: Node) -> Any:  # Any: JSON
    """What an editor sees in a file: YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema)."""
    match node:
        case Mapping():
            return {key.text: value(inner) for key, inner in node.entries}
        case Sequence():
            return [value(inner) for inner in node.items]
        case Scalar():
            return _scalar(node)


def _scalar(node: Scalar) -> str | int | float | bool | None:
    if not node.plain:
        return node.text
    if node.text in ("", "~", "null", "Null", "NULL"):
        return None
    if node.text in ("true", "false"):
        return node.text == "true"
    for number in (int, float):
        try:
            return number(node.text)
        except ValueError:
            pass
    return node.text


def seen(text: str) -> Any:  # Any: JSON
    return value(parse_document(text.encode(), Source("policy.yaml", Path())))


def readme() -> list[str]:
    targets = "targets:\n  postgres-prod: {protocol: tcp, address: 'db:5432'}\n"
    found = [targets + body for _, body in blocks("Connect your identity provider") if body.startswith("rules:")]
    text = README.read_text("utf-8")
    found += [body for part in text.split("```yaml\n")[1:] if (body := part.split("```")[0]).startswith("targets:")]
    return found


GOOD = [
    PROD,
    STAGING,
    LAB.format(address="db:1"),
    (HOME / "demo/skeleton/policy/shop.yaml").read_text().replace("$address", "db:1").replace("$broker", "b"),
    (HOME / "gateway/skeleton/policy.yaml").read_text(),
    *readme(),
    'targets: {one: {protocol: tcp, address: "[::1]:1", tls: off, labels: {level: 1, on: true}}}\ngroups: [a, 1]\n'
    "rules:\n- {name: r, effect: allow, who: {claims: {a: [1, true, 'x*']}}, targets: one,\n"
    "   when: {days: fri-mon, timezone: UTC},\n"
    "   limits: {duration: 1h30m, idle: 1d, connections: 5, bytes: 10GB}, require: ticket, from: ['fd00::/8', 10.0.0.1]}\n",
]

UNSEEN = (
    "stands here twice",
    "bits outside its mask",
    "there is no time zone",
    "and no target",
    "begins and ends at once",
    "speaks of no target",
)
"""What a schema cannot know."""


def test_the_schema_is_a_schema() -> None:
    Draft202012Validator.check_schema(json_schema())
    assert json.loads(json.dumps(json_schema())) == json_schema()


def test_there_are_policies_to_look_at() -> None:
    assert len(readme()) == 2


@pytest.mark.parametrize("text", GOOD)
def test_every_policy_of_ours_is_valid(tmp_path: Path, text: str) -> None:
    (tmp_path / "policy.yaml").write_text(text)
    load_policy(tmp_path / "policy.yaml")
    assert [error.message for error in SCHEMA.iter_errors(seen(text))] == []


@pytest.mark.parametrize(("text", "message"), [*FAULTY_RULES, *FAULTY_TARGETS])
def test_what_the_reader_refuses_the_schema_refuses_unless_it_cannot_see_it(text: str, message: str) -> None:
    try:
        valid = SCHEMA.is_valid(seen(text))
    except ConfigError:  # not even YAML that we take: twice the same key, nothing at all
        return
    assert not valid or any(one in message for one in UNSEEN)


@given(st.sampled_from(GOOD), st.integers(0, 2**32), st.integers(1, 3))
def test_what_the_reader_takes_the_schema_takes(
    tmp_path_factory: pytest.TempPathFactory, text: str, seed: int, times: int
) -> None:
    chance = random.Random(seed)
    for _ in range(times):
        text = mutate(text, chance)
    file = tmp_path_factory.getbasetemp() / "policy.yaml"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        load_policy(file)
    except (ConfigError, ExceptionGroup):
        return
    assert [error.message for error in SCHEMA.iter_errors(seen(text))] == []


def keys(schema: Any, at: str = "") -> list[tuple[str, Any]]:  # Any: JSON
    """Each key that the schema knows, by its path, with what is said of it."""
    found = []
    for name, inner in schema.get("properties", {}).items() if isinstance(schema, dict) else ():
        found += [(f"{at}/{name}", inner), *keys(inner, f"{at}/{name}")]
    for below in ("items", "additionalProperties"):
        found += keys(schema.get(below), at) if isinstance(schema, dict) else []
    for inner in schema.get("anyOf", ()) if isinstance(schema, dict) else ():
        found += keys(inner, at)
    return found


def test_an_editor_can_help_with_every_key() -> None:
    known = dict(keys(json_schema()))
    assert {"/targets/tls/verify", "/rules/who/claims", "/rules/when/days", "/rules/limits/bytes"} <= set(known)
    assert [path for path, inner in known.items() if "/tags/" not in path and not inner.get("description")] == []


@pytest.mark.parametrize("path", [path for path, _ in keys(json_schema()) if "/tags/" not in path])
def test_a_misspelt_key_is_refused_everywhere(path: str) -> None:
    *parents, name = path.strip("/").split("/")
    wrong: Any = {f"{name}x": "x"}  # Any: JSON
    for parent in reversed(parents):
        wrong = {parent: wrong}
    for outer in ("targets", "rules"):
        if outer in wrong:
            wrong[outer] = {"one": wrong[outer]} if outer == "targets" else [wrong[outer]]
    free = ("/targets/labels", "/rules/labels", "/rules/who/claims", "/targets/credential")
    assert not SCHEMA.is_valid(wrong) or path.startswith(free)


def test_a_file_says_where_its_schema_is_without_harm(tmp_path: Path) -> None:
    text = "# yaml-language-server: $schema=policy.schema.json\n" + PROD
    assert load_policy(write_policy(tmp_path, shop=text)).rules
