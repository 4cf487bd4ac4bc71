"""What a person does on oidc-provider's pages: code, confirmation, login, consent, done."""

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from playwright.sync_api import Page

Act: TypeAlias = Callable[["Page"], object]


def confirm(page: "Page") -> None:
    """Yes, this is the code that my device shows."""
    page.get_by_role("heading", name="Confirm Device").wait_for()
    page.get_by_role("button", name="Continue").click()


def log_in(page: "Page", login: str) -> None:
    """Any password will do."""
    page.get_by_placeholder("Enter any login").fill(login)
    page.get_by_placeholder("and password").fill("secret")
    page.get_by_role("button", name="Sign-in").click()


def consent(page: "Page") -> None:
    """Yes, airtunnel may know that."""
    page.get_by_role("heading", name="Authorize").wait_for()
    page.get_by_role("button", name="Continue").click()


def approve_device(page: "Page", login: str = "ana") -> None:
    """All five pages of a login by code, the first of which submits itself."""
    confirm(page)
    log_in(page, login)
    consent(page)
    page.get_by_role("heading", name="Sign-in Success").wait_for()


def abort_device(page: "Page") -> None:
    """No, I did not ask for this."""
    page.get_by_role("heading", name="Confirm Device").wait_for()
    page.get_by_role("button", name="[ Abort ]").click()
    page.get_by_text("The Sign-in request was interrupted").wait_for()


def cancel_device(page: "Page") -> None:
    """No, at the login page."""
    confirm(page)
    page.get_by_role("link", name="[ Cancel ]").click()
    page.get_by_text("The Sign-in request was interrupted").wait_for()


def approve_browser(page: "Page", login: str = "ana") -> None:
    """Login and consent, and then back on one's own machine."""
    log_in(page, login)
    consent(page)
    page.get_by_role("heading", name="You are logged in").wait_for()


def cancel_browser(page: "Page") -> None:
    """No, at the login page."""
    page.get_by_role("link", name="[ Cancel ]").click()
    page.get_by_role("heading", name="You are not logged in").wait_for()
