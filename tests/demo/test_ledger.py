from datetime import timedelta

import pytest

from airtunnel.demo.ledger import DeviceCode, Ledger, Login
from airtunnel.demo.people import PEOPLE
from tests.demo.device import HandClock

ANA = PEOPLE[0]


@pytest.fixture
def ledger(clock: HandClock) -> Ledger:
    return Ledger(clock)


@pytest.fixture
def login(clock: HandClock) -> Login:
    return Login(ANA, "airtunnel", "openid offline_access", clock.now)


def code(clock: HandClock, name: str = "device-secret") -> DeviceCode:
    return DeviceCode(name, "BCDF-GHJK", "airtunnel", "openid", clock.now + timedelta(minutes=10), 1, clock)


def test_of_two_that_found_a_refresh_token_one_spends_it_and_the_login_ends(ledger: Ledger, login: Login) -> None:
    _, token = ledger.issue(login)
    first, second = ledger.refresh(token), ledger.refresh(token)
    assert first is not None
    assert second is not None
    assert ledger.spend(first)
    assert not ledger.spend(second)
    assert not login.alive


def test_a_refresh_token_of_a_revoked_login_is_not_spent(ledger: Ledger, login: Login) -> None:
    _, token = ledger.issue(login)
    found = ledger.refresh(token)
    assert found is not None
    ledger.revoke(login)
    assert not ledger.spend(found)


def test_a_decision_stands(ledger: Ledger, clock: HandClock) -> None:
    ledger.add_code(code(clock))
    assert ledger.decide("BCDF-GHJK", ANA, approved=False)
    assert not ledger.decide("BCDF-GHJK", ANA, approved=True)
    assert ledger.redeem("BCDF-GHJK") == (None, False)


def test_codes_that_are_long_over_are_forgotten(ledger: Ledger, clock: HandClock) -> None:
    ledger.add_code(code(clock, "old"))
    clock.advance(2 * 3600)
    assert ledger.device("old") is not None
    ledger.add_code(code(clock, "new"))
    assert ledger.device("old") is None


def test_a_device_code_is_in_no_repr(clock: HandClock) -> None:
    assert "device-secret" not in repr(code(clock))
