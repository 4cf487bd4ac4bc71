"""A login by device code (RFC 8628), as a flow without I/O and without a clock.

    client                                    provider
    POST device_authorization  scope      ->
                                          <-  device_code (secret), user_code, verification_uri, expires_in, interval
    shows user_code and verification_uri; a person opens that page on any device and types the code
    waits `interval`
    POST token  device_code               ->
                                          <-  authorization_pending | slow_down | access_denied | expired_token | tokens
    and so on, until tokens or the end of `expires_in`

The flow yields `Post` (answered with an Answer), `Wait` and `Show` (answered with None), and returns a TokenSet.
"""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import TypeAlias

from airtunnel.errors import AirtunnelError, LoginFailed, ProtocolError, Temporary
from airtunnel.identity.answer import Answer, Json, printable, seconds
from airtunnel.identity.endpoint import is_loopback, same_site, secure_url
from airtunnel.identity.login.binding import Tie, first_tokens
from airtunnel.identity.login.refusal import again, refusal
from airtunnel.identity.login.request import asked_along, token_along
from airtunnel.identity.provider import ProviderMetadata
from airtunnel.identity.tokenset import TokenSet
from airtunnel.wire.control import Published

GRANT = "urn:ietf:params:oauth:grant-type:device_code"
LONGEST_PAUSE = timedelta(seconds=60)
SLOWER = timedelta(seconds=5)
"""RFC 8628 section 3.5: `slow_down` adds this for the rest of the login."""

# Providers whose page for the code lies on another site than their issuer, as they document it.
PAGES: Mapping[str, tuple[str, ...]] = {
    "accounts.google.com": ("www.google.com",),
    "login.microsoftonline.com": ("microsoft.com", "login.microsoft.com"),
}


@dataclass(frozen=True, slots=True)
class Post:
    """Send a form; the driver adds how the client names itself. Answered with an Answer."""

    endpoint: str
    form: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wait:
    """Let this time pass. Answered with None."""

    duration: timedelta


@dataclass(frozen=True, slots=True)
class DevicePrompt:
    """What the person needs to see. `host` is the verification page's full host: the one thing to compare against phishing."""

    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    expires_at: datetime
    host: str


@dataclass(frozen=True, slots=True)
class Show:
    """Show it to the person, and do not wait for them. Answered with None."""

    prompt: DevicePrompt


Command: TypeAlias = Post | Wait | Show
DeviceFlow: TypeAlias = Generator[Command, Answer | None, TokenSet]


class Poll(Enum):
    """What one answer to a poll means."""

    DONE = auto()
    PENDING = auto()
    SLOW_DOWN = auto()
    BUSY = auto()
    DENIED = auto()
    EXPIRED = auto()
    BROKEN = auto()


@dataclass(frozen=True, slots=True)
class _Code:
    device_code: str = field(repr=False)
    prompt: DevicePrompt
    life: timedelta
    interval: timedelta


class NotOffered(LoginFailed):
    """The provider does not let this client log in by device code at all: another flow may work."""


def device_flow(
    metadata: ProviderMetadata, published: Published, *, now: datetime, limit: timedelta, tie: Tie | None = None
) -> DeviceFlow:
    """The flow of one login that starts at `now` and polls until `limit` or the code's own end, whichever is earlier.

    tie: the key that the tokens are to be tied to, if one
    Raises LoginFailed when it is denied, expired or not offered; Unreachable or Temporary when the provider does not answer;
    ProtocolError when what it answers cannot be used or must not be shown.
    """
    code = yield from _ask(metadata, published, now)
    yield Show(code.prompt)
    end = min(code.life, limit)
    elapsed = timedelta()
    interval = pause = code.interval
    form = {"grant_type": GRANT, "device_code": code.device_code, **token_along(published)}
    answer = Answer(200)
    while elapsed + pause <= end:
        yield Wait(pause)
        answer = yield from _post(metadata.token_endpoint, form)
        elapsed += pause + answer.took
        match outcome := classify(answer):
            case Poll.DONE:
                return first_tokens(answer.json() or {}, published, now + elapsed, tie)
            case Poll.PENDING:
                pause = interval
            case Poll.SLOW_DOWN:
                interval += SLOWER
                pause = max(interval, answer.retry_after)
            case Poll.BUSY:
                # RFC 8628 section 3.5: a connection that fails halves the frequency, until an answer comes again.
                pause = max(interval, min(pause * 2, LONGEST_PAUSE), answer.retry_after)
            case Poll.DENIED | Poll.EXPIRED | Poll.BROKEN:
                raise _failed(outcome, answer, published, code)
    raise _too_late(answer, published, end)


def classify(answer: Answer) -> Poll:
    """What an answer of the token endpoint says about a login that is under way."""
    match answer.error:
        case "authorization_pending":
            return Poll.PENDING
        case "slow_down":
            return Poll.SLOW_DOWN
        case "access_denied":
            return Poll.DENIED
        # Auth0 says expired_token once and invalid_grant from then on: if the first answer was lost, only this is left.
        case "expired_token" | "invalid_grant":
            return Poll.EXPIRED
    if answer.busy:
        return Poll.BUSY
    if answer.status == 428:  # Google's status for pending
        return Poll.PENDING
    if answer.status == 200 and answer.error is None and answer.json() is not None:
        return Poll.DONE
    return Poll.BROKEN


def _ask(metadata: ProviderMetadata, published: Published, now: datetime) -> Generator[Command, Answer | None, _Code]:
    endpoint = metadata.device_authorization_endpoint
    if endpoint is None:
        raise NotOffered(
            f"{published.issuer} offers no login by device code",
            details=("its administrator can allow it, or the gateway's can name another provider",),
        )
    answer = yield from _post(endpoint, {"scope": " ".join(published.scopes), **asked_along(published)})
    if answer.trouble is not None:
        raise answer.trouble
    body = answer.json()
    if answer.busy:
        raise Temporary(f"{published.issuer} cannot start a login now: {answer.said}", hint=again(published))
    if answer.status != 200 or body is None or answer.error is not None:
        raise _not_begun(answer, published)
    return _read_code(body, metadata, published, now + answer.took)


def _not_begun(answer: Answer, published: Published) -> LoginFailed | Temporary:
    """What a refused beginning means. With other scopes or resources than these the browser would fare no better."""
    error = refusal(answer.error, answer.said, published, f"let {printable(published.client_id)} log in by device code")
    if isinstance(error, Temporary) or answer.error in ("invalid_scope", "invalid_target"):
        return error
    details = error.details or ("the provider's administrator must allow the device flow for this client",)
    return NotOffered(error.message, details=details, hint=error.hint)


def _read_code(body: Json, metadata: ProviderMetadata, published: Published, now: datetime) -> _Code:
    """RFC 8628 section 3.2. Google calls verification_uri verification_url."""
    device_code, user_code = body.get("device_code"), body.get("user_code")
    uri = body.get("verification_uri", body.get("verification_url"))
    life, interval = seconds(body.get("expires_in")), seconds(body.get("interval", 5))
    if not isinstance(device_code, str) or not isinstance(user_code, str) or not isinstance(uri, str) or not device_code:
        raise ProtocolError(f"{metadata.issuer} began a device login without its code or its page")
    if not life:
        raise ProtocolError(f"{metadata.issuer} began a device login without saying how long its code lives")
    shown = printable(user_code).strip()
    if not shown or len(shown) > 64 or device_code in shown:
        raise ProtocolError(f"{metadata.issuer} began a device login with a code that cannot be shown")
    host = _page(uri, metadata.issuer, published.pages)
    complete = body.get("verification_uri_complete")
    if isinstance(complete, str) and device_code not in complete:
        _page(complete, metadata.issuer, published.pages)
    else:
        complete = None
    if device_code in uri:
        raise ProtocolError(f"{metadata.issuer} puts the secret device code into the page to be shown")
    return _Code(device_code, DevicePrompt(shown, uri, complete, now + life, host), life, interval or timedelta(seconds=5))


def _page(uri: str, issuer: str, pages: Sequence[str]) -> str:
    """The host of a verification page that may be shown: https, on the issuer's site or listed. Raises ProtocolError."""
    home = secure_url(issuer, "the issuer").hostname or ""
    parts = secure_url(uri, "the page for the login code", loopback=is_loopback(home))
    host = parts.hostname or ""
    if not same_site(host, home) and host not in (*PAGES.get(home, ()), *pages):
        raise ProtocolError(
            f"{issuer} sends you to {host} to type the login code, which is another site",
            details=("this is how people are tricked into approving a stranger's login; do not go there",),
        )
    return parts.netloc


def _post(endpoint: str, form: Mapping[str, str]) -> Generator[Command, Answer | None, Answer]:
    answer = yield Post(endpoint, form)
    if answer is None:
        raise TypeError("a Post is answered with an Answer")
    return answer


def _failed(outcome: Poll, answer: Answer, published: Published, code: _Code) -> LoginFailed | Temporary:
    if outcome is Poll.DENIED:
        return LoginFailed(f"the login was refused at {code.prompt.host}", hint=again(published))
    if outcome is Poll.EXPIRED:
        return LoginFailed("the login code has expired, or was used already", hint=again(published))
    said = answer.said.replace(code.device_code, "...")
    return refusal(answer.error, said, published, "finish the login")


def _too_late(answer: Answer, published: Published, end: timedelta) -> AirtunnelError:
    if answer.trouble is not None:
        return answer.trouble
    if answer.busy:
        return Temporary(f"{published.issuer} was too busy to finish the login: {answer.said}", hint=again(published))
    return LoginFailed(f"nobody approved the login within {end.total_seconds():g} s", hint=again(published))
