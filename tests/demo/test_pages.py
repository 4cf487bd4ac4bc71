import re
from collections.abc import Iterator

import httpx2
import pytest

from airtunnel.demo.person import Sheet, approve, read_sheet
from airtunnel.demo.provider import Provider
from airtunnel.errors import LoginFailed
from tests.demo.device import Device, HandClock


class Visitor:
    """A browser with cookies that shows one page at a time and sends its form with what is said."""

    def __init__(self, http: httpx2.Client) -> None:
        self.http = http
        self.page: httpx2.Response
        self.sheet = Sheet()

    def open(self, address: str) -> None:
        self._show(self.http.get(address))

    def send(self, **said: str) -> None:
        assert self.sheet.action is not None
        self._show(self.http.post(self.page.url.join(self.sheet.action), data=self.sheet.fields | said))

    def _show(self, page: httpx2.Response) -> None:
        self.page, self.sheet = page, read_sheet(page.text)


@pytest.fixture
def visitor(provider: Provider) -> Iterator[Visitor]:
    with httpx2.Client(trust_env=False, follow_redirects=True, base_url=provider.issuer) as http:
        yield Visitor(http)


def test_a_code_is_eight_consonants_in_two_halves(device: Device) -> None:
    device.start()
    assert re.fullmatch("[BCDFGHJKLMNPQRSTVWXZ]{4}-[BCDFGHJKLMNPQRSTVWXZ]{4}", device.started["user_code"])


def test_the_complete_address_fills_in_the_code(device: Device, visitor: Visitor) -> None:
    visitor.open(device.start())
    assert visitor.sheet.fields["user_code"] == device.started["user_code"]


def test_the_person_sees_code_client_and_account_before_saying_yes(device: Device, visitor: Visitor) -> None:
    visitor.open(device.start())
    visitor.send()
    visitor.send(login="ana", password="ana")
    assert visitor.sheet.heading == "Is this your code?"
    for shown in (device.started["user_code"], "airtunnel</strong> asks", "ana@example.com"):
        assert shown in visitor.page.text
    assert [value for _, value in visitor.sheet.buttons] == ["approve", "deny"]
    assert device.poll()["error"] == "authorization_pending"


@pytest.mark.parametrize("change", [str.lower, lambda code: code.replace("-", ""), lambda code: f" {code.replace('-', ' ')} "])
def test_a_code_may_be_typed_as_people_type(device: Device, visitor: Visitor, change: type[str]) -> None:
    device.start()
    visitor.open("/device")
    visitor.send(user_code=change(device.started["user_code"]))
    assert visitor.sheet.heading == "Log in"


def test_a_wrong_code_leads_nowhere(device: Device, visitor: Visitor) -> None:
    device.start()
    visitor.open("/device")
    visitor.send(user_code="BBBB-BBBB")
    assert (visitor.page.status_code, visitor.sheet.alert) == (400, "This code is unknown or has expired.")
    visitor.open("/device/login")
    assert visitor.sheet.heading == "Enter your code"


def test_guessing_codes_is_stopped_for_a_minute_even_with_new_cookies(
    device: Device, visitor: Visitor, clock: HandClock
) -> None:
    device.start()
    for _ in range(10):
        visitor.http.cookies.clear()
        visitor.open("/device")
        visitor.send(user_code="BBBB-BBBB")
    visitor.open("/device")
    visitor.send(user_code=device.started["user_code"])
    assert visitor.page.status_code == 429
    clock.advance(60)
    visitor.send()
    assert visitor.sheet.heading == "Log in"


def test_a_wrong_password_does_not_log_in(device: Device, visitor: Visitor) -> None:
    visitor.open(device.start())
    visitor.send()
    visitor.send(login="ana", password="fin")
    assert (visitor.page.status_code, visitor.sheet.alert) == (401, "Wrong name or password.")
    visitor.open("/device/confirm")
    assert visitor.sheet.heading == "Enter your code"


def test_nobody_confirms_without_a_login(device: Device, visitor: Visitor) -> None:
    visitor.open(device.start())
    visitor.send()
    visitor.sheet.action = "/device/confirm"
    visitor.send(decision="approve")
    assert visitor.sheet.heading == "Enter your code"
    assert device.poll()["error"] == "authorization_pending"


@pytest.mark.parametrize("token", ["", "forged"])
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_a_form_without_its_sessions_token_does_nothing(device: Device, visitor: Visitor, steps: int, token: str) -> None:
    said = [{}, {"login": "ana", "password": "ana"}, {"decision": "approve"}]
    visitor.open(device.start())
    for one in said[:steps]:
        visitor.send(**one)
    visitor.send(**said[steps], csrf=token)
    assert visitor.page.status_code == 400
    assert visitor.sheet.alert == "This form is not from this visit. Please begin again."
    assert device.poll()["error"] == "authorization_pending"


def test_another_sessions_token_is_not_enough(device: Device, visitor: Visitor) -> None:
    address = device.start()
    visitor.open(address)
    other = visitor.sheet.fields["csrf"]
    visitor.http.cookies.clear()
    visitor.open(address)
    visitor.send(csrf=other)
    assert visitor.page.status_code == 400


def test_a_decision_without_a_button_is_none(device: Device, visitor: Visitor) -> None:
    visitor.open(device.start())
    visitor.send()
    visitor.send(login="ana", password="ana")
    visitor.send()
    assert visitor.page.status_code == 400
    assert device.poll()["error"] == "authorization_pending"


def test_a_code_that_expires_while_its_person_thinks_is_not_approved(
    device: Device, visitor: Visitor, clock: HandClock
) -> None:
    visitor.open(device.start())
    visitor.send()
    visitor.send(login="ana", password="ana")
    clock.advance(600)
    visitor.send(decision="approve")
    assert "expired" in visitor.sheet.alert
    assert device.poll()["error"] == "expired_token"


def test_a_code_is_decided_once(device: Device) -> None:
    address = device.start()
    approve(address, "ana", "ana", deny=True)
    with pytest.raises(LoginFailed, match="unknown or has expired"):
        approve(address, "ana", "ana")
    assert device.poll()["error"] == "access_denied"


def test_what_a_visitor_typed_comes_back_as_text_only(visitor: Visitor) -> None:
    visitor.open("/device?user_code=%22%3E%3Cscript%3E")
    assert "<script" not in visitor.page.text
    assert visitor.sheet.fields["user_code"] == '"><script>'


def test_pages_run_no_script_and_stand_in_no_frame(visitor: Visitor) -> None:
    visitor.open("/device")
    rules = visitor.page.headers["Content-Security-Policy"]
    assert rules.startswith("default-src 'none'; style-src 'sha256-")
    assert "frame-ancestors 'none'" in rules
    assert visitor.page.headers["Referrer-Policy"] == "no-referrer"
    cookie = visitor.page.headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
