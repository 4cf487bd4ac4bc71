import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airtunnel.errors import ProtocolError, Refused
from airtunnel.model import BrowserClient, Tags
from airtunnel.wire.control import (
    MAX_BODY,
    Catalog,
    CatalogEntry,
    GrantedTarget,
    GrantReply,
    GrantRequest,
    Published,
    WorkloadIssuer,
    tags_from,
)
from airtunnel.wire.sessions import Killed, LockEntry, LockList, LockRequest, LockSet, SessionEntry, SessionList

PUBLISHED = Published(
    name="gateway.example.com",
    issuer="https://id.example.com",
    client_id="airtunnel",
    scopes=("openid", "groups"),
    flows=("device", "browser"),
    token="id_token",
    ssh_host="ssh.example.com",
    ssh_port=2222,
    host_cas=("ssh-ed25519 AAAA",),
    version="1.0",
    client_secret="not a secret",
    provider="okta",
    binding="dpop",
    browser=BrowserClient((8000, 18000), "localhost", "/back", "desktop", "no secret either"),
    request={"audience": "https://api.example.com"},
    endpoints={"token_endpoint": "https://id.example.com/token"},
    pages=("activate.example.com",),
    ca="-----BEGIN CERTIFICATE-----",
    workloads=(WorkloadIssuer("https://token.actions.example.com", "github", "airtunnel"),),
)
REQUEST = GrantRequest(("postgres-prod",), "ssh-ed25519 AAAA", Tags(dag_id="billing", try_number=1, reason="ärger"))
REPLY = GrantReply(
    session="s1",
    certificate="ssh-ed25519-cert-v01@openssh.com AAAA",
    who="ana@example.com",
    valid_before=datetime(2026, 1, 1, 12, 0, tzinfo=UTC),
    ends_at=datetime(2026, 1, 1, 13, 0, tzinfo=UTC),
    targets=(GrantedTarget("postgres-prod", "postgres", "prod-ro", "policy.yaml:3", "sales", "billing_db"),),
)
REFUSED = CatalogEntry(
    name="redis",
    protocol="tcp",
    description="the cache",
    labels={"env": "prod"},
    rule="default",
    place="policy.yaml:1",
    refusal=Refused(who="ana", target="redis", rule="default", place="policy.yaml:1", reasons=["no rule speaks of it"]),
)
CATALOG = Catalog(
    who="ana@example.com",
    issuer="https://id.example.com",
    groups=("eng",),
    targets=(CatalogEntry("postgres-prod", "postgres", "", {}, "sales", "billing_db", "prod-ro", "policy.yaml:3"), REFUSED),
)

ENTRY = SessionEntry(
    session="s1",
    who="ana@example.com",
    kind="person",
    targets=("postgres-prod",),
    since=datetime(2026, 1, 1, 12, 0, tzinfo=UTC),
    ends_at=datetime(2026, 1, 1, 13, 0, tzinfo=UTC),
    connections=2,
    bytes_up=10**12,
    bytes_down=1,
    source="10.0.0.1",
    gateway="gw@0123456789ab",
    tags=Tags(dag_id="billing", try_number=1),
)
LOCK = LockEntry("user", "ana@example.com", "laptop stolen", "ops", ENTRY.since, ENTRY.ends_at)
SESSIONS = SessionList("ana@example.com", (ENTRY, replace(ENTRY, running=False, source=None, gateway=None)), 7)
KILLED = Killed(("s1", "s2"))
LOCK_REQUEST = LockRequest("user", "ana@example.com", "laptop stolen", 7200)
LOCK_SET = LockSet(LOCK, 3)
LOCKS = LockList((LOCK, replace(LOCK, until=None)))

BODIES: list[tuple[Any, bytes, Callable[[bytes], Any]]] = [  # Any: kinds of body, each compared with itself only
    (PUBLISHED, PUBLISHED.encode(), Published.decode),
    (REQUEST, REQUEST.encode(), GrantRequest.decode),
    (REPLY, REPLY.encode(), GrantReply.decode),
    (SESSIONS, SESSIONS.encode(), SessionList.decode),
    (KILLED, KILLED.encode(), Killed.decode),
    (LOCK_REQUEST, LOCK_REQUEST.encode(), LockRequest.decode),
    (LOCK_SET, LOCK_SET.encode(), LockSet.decode),
    (LOCKS, LOCKS.encode(), LockList.decode),
    (CATALOG, CATALOG.encode(), Catalog.decode),
]
DECODERS = [decode for _, _, decode in BODIES]
KINDS = ["published", "request", "reply", "sessions", "killed", "lock request", "lock set", "locks", "catalog"]


@pytest.mark.parametrize(("body", "data", "decode"), BODIES[:-1], ids=KINDS[:-1])
def test_a_body_survives_its_way(body: object, data: bytes, decode: Callable[[bytes], object]) -> None:
    assert decode(data) == body


def test_a_catalog_survives_its_way_with_its_refusals() -> None:
    got = Catalog.decode(CATALOG.encode())
    assert (got.who, got.issuer, got.groups, got.targets[0]) == (
        CATALOG.who,
        CATALOG.issuer,
        CATALOG.groups,
        CATALOG.targets[0],
    )
    refusal = got.targets[1].refusal
    assert refusal is not None
    assert REFUSED.refusal is not None
    assert refusal.as_json() == REFUSED.refusal.as_json()
    assert Catalog.decode(got.encode()).encode() == CATALOG.encode()


@pytest.mark.parametrize(("data", "decode"), [one[1:] for one in BODIES], ids=KINDS)
def test_a_cut_body_is_a_protocol_error(data: bytes, decode: Callable[[bytes], object]) -> None:
    for cut in range(len(data)):
        with pytest.raises(ProtocolError):
            decode(data[:cut])


@pytest.mark.parametrize(("data", "decode"), [one[1:] for one in BODIES], ids=KINDS)
def test_a_tail_is_a_protocol_error(data: bytes, decode: Callable[[bytes], object]) -> None:
    with pytest.raises(ProtocolError):
        decode(data + b"x")


@pytest.mark.parametrize(("data", "decode"), [one[1:] for one in BODIES], ids=KINDS)
def test_an_unknown_field_is_ignored(data: bytes, decode: Callable[[bytes], object]) -> None:
    decode(json.dumps(json.loads(data) | {"new": [1, {"x": None}]}).encode())


SINCE_0_2 = {"provider", "binding", "browser", "request", "endpoints", "pages", "ca", "workloads"}
MAY_BE_ABSENT = {"client_secret", "tags", "left_out", "seconds"} | SINCE_0_2
FIELDS = [(decode, data, name) for _, data, decode in BODIES for name in json.loads(data)]


@pytest.mark.parametrize(("decode", "data", "name"), FIELDS)
def test_a_missing_field_is_a_protocol_error_unless_it_may_be(
    decode: Callable[[bytes], object], data: bytes, name: str
) -> None:
    body = json.loads(data)
    del body[name]
    if name in MAY_BE_ABSENT:
        decode(json.dumps(body).encode())
    else:
        with pytest.raises(ProtocolError, match=name):
            decode(json.dumps(body).encode())


@pytest.mark.parametrize("wrong", [{"x": 1}, 1.5, [1], [[]], "\0"])
@pytest.mark.parametrize(("decode", "data", "name"), FIELDS)
def test_a_field_of_another_kind_is_a_protocol_error_and_no_other(
    decode: Callable[[bytes], object], data: bytes, name: str, wrong: object
) -> None:
    body = json.loads(data) | {name: wrong}
    if isinstance(wrong, str) and isinstance(json.loads(data)[name], str):
        with suppress(ProtocolError):
            decode(json.dumps(body).encode())
    elif name not in ("tags", "browser") or wrong != {"x": 1}:  # an object with unknown members is one without any
        with pytest.raises(ProtocolError):
            decode(json.dumps(body).encode())


@pytest.mark.parametrize("decode", DECODERS, ids=KINDS)
@pytest.mark.parametrize(
    "data",
    [b"", b"null", b"[]", b"1", b'"x"', b"{}", b"\xff", b"[" * 100_000, b"1" * 10_000, b'{"a":' * 10_000, b"NaN", b"\0"],
    ids=lambda data: repr(data[:8]),
)
def test_what_is_no_such_body_is_a_protocol_error(decode: Callable[[bytes], object], data: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(data)


@pytest.mark.parametrize("decode", DECODERS, ids=KINDS)
def test_a_body_too_large_is_not_even_parsed(decode: Callable[[bytes], object]) -> None:
    with pytest.raises(ProtocolError, match="too large"):
        decode(b" " * (MAX_BODY * 16 + 1))


def test_a_time_without_zone_is_a_protocol_error() -> None:
    body = json.loads(REPLY.encode()) | {"ends_at": "2026-01-01T13:00:00"}
    with pytest.raises(ProtocolError, match="time zone"):
        GrantReply.decode(json.dumps(body).encode())


@pytest.mark.parametrize(
    "said",
    [
        {"dag_id": "x" * 257},
        {"dag_id": "a\nb"},
        {"reason": "\x1b[31m"},
        {"reason": "\u202e"},
        {"ticket": "\ud800"},
        {"task_id": 1},
        {"run_id": ["x"]},
        {"try_number": "1"},
        {"try_number": True},
        {"map_index": 1.0},
    ],
)
def test_a_tag_that_could_disturb_a_log_is_a_protocol_error(said: dict[str, object]) -> None:
    with pytest.raises(ProtocolError, match=next(iter(said))):
        tags_from(said)


@pytest.mark.parametrize("name", ["session", "who", "kind", "targets", "since", "ends_at"])
def test_a_session_that_lacks_what_tells_it_from_others_is_a_protocol_error(name: str) -> None:
    body = json.loads(SESSIONS.encode())
    del body["sessions"][0][name]
    with pytest.raises(ProtocolError, match=name):
        SessionList.decode(json.dumps(body).encode())


def test_a_session_of_a_gateway_that_counts_nothing_is_understood() -> None:
    known = {name: json.loads(SESSIONS.encode())["sessions"][0][name] for name in ("session", "who", "kind", "targets")}
    entry = known | {"since": "2026-01-01T12:00:00+00:00", "ends_at": "2026-01-01T13:00:00+00:00", "new": 1}
    (got,) = SessionList.decode(json.dumps({"who": "ana", "sessions": [entry]}).encode()).sessions
    assert got == SessionEntry("s1", "ana@example.com", "person", ("postgres-prod",), ENTRY.since, ENTRY.ends_at)


def test_tags_that_are_absent_or_unknown_are_none() -> None:
    assert tags_from({"dag_id": None, "colour": "red"}) == Tags()
    assert tags_from({"dag_id": "x" * 256, "map_index": -1}) == Tags(dag_id="x" * 256, map_index=-1)


json_values: st.SearchStrategy[object] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


@pytest.mark.parametrize(("data", "decode"), [one[1:] for one in BODIES], ids=KINDS)
@given(values=st.data())
def test_any_json_in_any_field_is_understood_or_a_protocol_error(
    data: bytes, decode: Callable[[bytes], object], values: st.DataObject
) -> None:
    body = json.loads(data)
    body[values.draw(st.sampled_from(sorted(body)))] = values.draw(json_values)
    with suppress(ProtocolError):
        decode(json.dumps(body).encode())


@given(st.binary(max_size=99))
def test_any_bytes_are_a_protocol_error(data: bytes) -> None:
    for decode in DECODERS:
        with pytest.raises(ProtocolError):
            decode(data)


@pytest.mark.parametrize("session", ["s\n  ProxyCommand sh", "a b", "50%h", 'a"b', "a" * 65, "", "../x", "\u0661"])
def test_what_a_gateway_calls_a_session_is_no_configuration_of_ssh(session: str) -> None:
    body = json.loads(REPLY.encode()) | {"session": session}
    with pytest.raises(ProtocolError, match="session"):
        GrantReply.decode(json.dumps(body).encode())
