"""The provider's pages for people: enter the code, log in, confirm (RFC 8628 section 3.3).

/device          the code, filled in already when the address carried it
/device/login    name and password
/device/confirm  "is this your code?": the one defence against a code that somebody else sent (RFC 8628 section 5.4)

Each step is remembered in a signed session cookie; each form carries that session's token.
"""

import base64
import hashlib
import re
import secrets
from collections.abc import Mapping
from importlib import resources
from urllib.parse import urlsplit

from flask import Flask, Response, make_response, redirect, render_template, request, session, url_for
from markupsafe import Markup

from airtunnel.demo.ledger import Ledger, TooManyGuesses
from airtunnel.demo.people import Person

STYLE = resources.files("airtunnel.demo").joinpath("templates/device.css").read_text("utf-8")
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; img-src data:; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",  # the address may hold a user code
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}
NOT_A_CODE = re.compile(r"[^A-Z]")


def add_pages(app: Flask, ledger: Ledger, people: Mapping[str, Person], client_id: str) -> None:
    """Adds the three pages to the app, and to all of its answers the headers that keep other sites out."""
    app.secret_key = secrets.token_bytes(32)
    app.config.update(
        # Cookies do not know ports: under Flask's own name we would meet Airflow's web server on the same host.
        SESSION_COOKIE_NAME="airtunnel_demo_provider",
        SESSION_COOKIE_SAMESITE="Strict",
    )
    app.after_request(_guarded)
    pages = _Pages(ledger, people, client_id)
    app.add_url_rule("/device", "code", pages.code, methods=["GET", "POST"])
    app.add_url_rule("/device/login", "login", pages.login, methods=["GET", "POST"])
    app.add_url_rule("/device/confirm", "confirm", pages.confirm, methods=["GET", "POST"])


def _guarded(response: Response) -> Response:
    for name, value in HEADERS.items():
        response.headers[name] = value
    return response


class _Pages:
    """The three steps. Each shows its form on GET and takes it on POST."""

    def __init__(self, ledger: Ledger, people: Mapping[str, Person], client_id: str) -> None:
        self.ledger = ledger
        self.people = people
        self.client_id = client_id

    def code(self) -> Response:
        if request.method == "GET":
            session.clear()
            return _show("code", user_code=request.args.get("user_code", "")[:32])
        if not _ours():
            return _stale()
        typed = request.form.get("user_code", "")[:32]
        letters = NOT_A_CODE.sub("", typed.upper())
        try:
            found = self.ledger.enter(f"{letters[:4]}-{letters[4:]}")
        except TooManyGuesses:
            return _show("code", 429, alert="Too many wrong codes. Wait a minute, then try again.", user_code=typed)
        if found is None:
            return _show("code", 400, alert="This code is unknown or has expired.", user_code=typed)
        session["user_code"] = found.user_code
        return _go("login")

    def login(self) -> Response:
        if "user_code" not in session:
            return _go("code")
        if request.method == "GET":
            return _show("login", people=self.people.values())
        if not _ours():
            return _stale()
        login = request.form.get("login", "")
        person = self.people.get(login)
        password = request.form.get("password", "")
        if person is None or not secrets.compare_digest(person.password.encode(), password.encode()):
            return _show("login", 401, alert="Wrong name or password.", people=self.people.values(), login=login)
        session["login"] = person.login
        return _go("confirm")

    def confirm(self) -> Response:
        if "login" not in session:
            return _go("code")
        person, user_code = self.people[session["login"]], session["user_code"]
        if request.method == "GET":
            return _show("confirm", person=person, user_code=user_code, client_id=self.client_id)
        decision = request.form.get("decision")
        if not _ours() or decision not in ("approve", "deny"):
            return _stale()
        decided = self.ledger.decide(user_code, person, approved=decision == "approve")
        session.clear()
        if not decided:
            return _show("code", 400, alert="This code has expired meanwhile. Start again in your terminal.", user_code="")
        return _show("done", approved=decision == "approve", client_id=self.client_id)


def _ours() -> bool:
    """Whether the form carries this session's token: another site's form cannot (CSRF)."""
    expected = session.get("csrf", "")
    return bool(expected) and secrets.compare_digest(expected.encode(), request.form.get("csrf", "").encode())


def _stale() -> Response:
    """For a form that is not this session's: begin again, with nothing of what was sent."""
    session.clear()
    return _show("code", 400, alert="This form is not from this visit. Please begin again.", user_code="")


def _go(endpoint: str) -> Response:
    return make_response(redirect(url_for(endpoint), 303))


def _show(step: str, status: int = 200, **values: object) -> Response:
    """One step's page. A session without a token gets one."""
    session.setdefault("csrf", secrets.token_urlsafe(18))
    host = urlsplit(request.host_url).netloc
    page = render_template("device.html", step=step, style=Markup(STYLE), csrf=session["csrf"], host=host, **values)  # noqa: S704
    return make_response(page, status)
