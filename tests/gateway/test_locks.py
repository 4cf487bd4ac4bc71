"""Locks: whom they are about, and until when."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from airtunnel.errors import ProtocolError
from airtunnel.gateway.locks import MAX_WORDS, Lock, LockKind, check_lock, find_lock
from airtunnel.gateway.store import Store
from airtunnel.model import PrincipalKind
from tests.gateway.grants import ANA

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
LOCK = Lock(LockKind.USER, "ana@example.com", "laptop stolen", "ops", NOW)
JOB = replace(ANA, kind=PrincipalKind.WORKLOAD, subject="job", name="repo:acme/etl", groups=())


@pytest.mark.parametrize(
    ("kind", "name", "ana", "job"),
    [
        ("user", "ana@example.com", True, False),
        ("user", "Ana@Example.COM", True, False),
        ("user", "ana", True, False),
        ("user", "an", False, False),
        ("user", "repo:acme/etl", False, False),
        ("workload", "repo:acme/etl", False, True),
        ("workload", "JOB", False, True),
        ("workload", "ana@example.com", False, False),
        ("group", "Data-Eng", True, False),
        ("group", "data", False, False),
        ("target", "Warehouse", True, True),
        ("target", "ware", False, False),
    ],
)
def test_a_lock_is_about_its_own_and_case_lets_nobody_through(kind: str, name: str, ana: bool, job: bool) -> None:
    lock = replace(LOCK, kind=LockKind(kind), name=name)
    assert (lock.holds(ANA, ("warehouse",)), lock.holds(JOB, ("payroll", "warehouse"))) == (ana, job)
    assert find_lock([replace(LOCK, name="x"), lock], ANA, ("warehouse",)) == (lock if ana else None)


def test_who_is_locked_is_told_why_and_until_when_and_not_by_whom() -> None:
    assert LOCK.because == "user ana@example.com is locked: laptop stolen"
    assert replace(LOCK, until=NOW).because == "user ana@example.com is locked until 2026-11-22 12:00 UTC: laptop stolen"


@pytest.mark.parametrize(
    ("kind", "name", "reason"),
    [
        ("usr", "ana", "x"),
        ("user", "", "x"),
        ("user", " ", "x"),
        ("user", "ana\n", "x"),
        ("user", "ana", "\x1b[2J"),
        ("user", "ana", ""),
        ("user", "ana", "x" * (MAX_WORDS + 1)),
        ("user", "a" * (MAX_WORDS + 1), "x"),
    ],
)
def test_what_is_no_lock_is_not_set(kind: str, name: str, reason: str) -> None:
    with pytest.raises(ProtocolError, match="a lock"):
        check_lock(kind, name, reason)


async def test_a_lock_holds_until_its_time_is_over(any_store: Store) -> None:
    short = replace(LOCK, name="bob", until=NOW + HOUR)
    await any_store.locks.put(LOCK)
    await any_store.locks.put(short)
    assert set(await any_store.locks.held(NOW)) == {LOCK, short}
    assert await any_store.locks.held(NOW + HOUR) == (LOCK,)
    await any_store.prune(NOW + HOUR)
    assert await any_store.locks.held(NOW) == (LOCK,)


async def test_a_second_lock_on_the_same_replaces_the_first_and_one_lift_is_enough(any_store: Store) -> None:
    later = replace(LOCK, name="ANA@example.com", reason="again", until=NOW + HOUR)
    await any_store.locks.put(LOCK)
    await any_store.locks.put(later)
    assert await any_store.locks.held(NOW) == (later,)
    assert not await any_store.locks.lift(LockKind.GROUP, "ana@example.com")
    assert await any_store.locks.lift(LockKind.USER, "Ana@example.com")
    assert not await any_store.locks.lift(LockKind.USER, "Ana@example.com")
    assert await any_store.locks.held(NOW) == ()
