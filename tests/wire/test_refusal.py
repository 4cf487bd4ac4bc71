"""A refusal on its way, the second time."""

import json
from datetime import UTC, datetime

import pytest

from airtunnel.errors import ProtocolError, Refused
from airtunnel.model import Tags
from airtunnel.wire.refusal import Told


def refusal(rule: str) -> Refused:
    return Refused(who="ana@example.com", target="db", rule=rule, place="policy/prod.yaml:14", reasons=["needs group on-call"])


TOLD = Told(
    refusal("on-call"),
    datetime(2026, 11, 22, 3, 0, tzinfo=UTC),
    groups=("data-eng",),
    tags=Tags(dag_id="billing", try_number=1),
    source="10.1.2.3",
    commit="abc",
    now=refusal("later"),
)


def test_it_arrives_as_it_was_sent() -> None:
    came = Told.decode(TOLD.encode())
    assert came.as_json() == TOLD.as_json()
    assert came.now is not None
    assert (came.now.rule, came.allowed_by) == ("later", None)


def test_a_gateway_that_says_less_or_more_is_understood() -> None:
    came = Told.decode(b'{"who":"ana","at":"2026-11-22T03:00:00+00:00","news":1,"allowed_by":"engineers (p.yaml:1)"}')
    assert (came.refusal.who, came.groups, came.now, came.allowed_by) == ("ana", (), None, "engineers (p.yaml:1)")


@pytest.mark.parametrize(
    "more", [{"at": "now"}, {"at": "2026-11-22T03:00:00"}, {"at": None}, {"groups": "x"}, {"tags": {"dag_id": 1}}, {"now": "x"}]
)
def test_what_has_another_form_is_the_gateways_fault(more: dict[str, object]) -> None:
    with pytest.raises(ProtocolError):
        Told.decode(json.dumps(TOLD.as_json() | more).encode())
