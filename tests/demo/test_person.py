import pytest

from airtunnel.demo.person import approve, read_sheet
from airtunnel.errors import LoginFailed, Unreachable
from tests.demo.device import Device


def test_a_wrong_password_is_told_in_the_pages_words(device: Device) -> None:
    with pytest.raises(LoginFailed, match="the provider says: Wrong name or password"):
        approve(device.start(), "ana", "wrong")


def test_a_wrong_code_is_told_in_the_pages_words(device: Device) -> None:
    device.start()
    with pytest.raises(LoginFailed, match="unknown or has expired"):
        approve(f"{device.started['verification_uri']}?user_code=BBBB-BBBB", "ana", "ana")


def test_a_provider_that_is_gone_is_unreachable() -> None:
    with pytest.raises(Unreachable):
        approve("http://127.0.0.1:1/device", "ana", "ana")


def test_a_sheet_holds_what_the_form_holds_and_shows_no_password() -> None:
    sheet = read_sheet(
        '<h1>Hi <b>you</b></h1><p role="alert">no &amp; no</p><form action="/x">'
        '<input name="a" value="1"><input><button name="b" value="yes">Yes</button></form>'
    )
    assert (sheet.heading, sheet.alert, sheet.action) == ("Hi you", "no & no", "/x")
    assert (sheet.fields, sheet.buttons) == ({"a": "1"}, [("b", "yes")])
    assert "'a'" not in repr(sheet)
