"""Is this token meant for this gateway? Asked before it is sent, because a token is all that its thief needs. Pure.

Every pod has a token for its cluster's API server, and every machine in a cloud one for the cloud. Sent to a gateway by
mistake, they would be in the hands of whoever reads along there. So nothing leaves that does not say: made by an issuer that
the gateway takes, for that gateway. The signature is the gateway's business.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from airtunnel.errors import LoginFailed, ProtocolError, TokenRejected
from airtunnel.identity.answer import Json, printable
from airtunnel.identity.compact import read_parts
from airtunnel.identity.powerful import is_powerful
from airtunnel.wire.control import Published, WorkloadIssuer

LEEWAY = timedelta(seconds=30)
"""By which two clocks may differ."""

MAX_NAME = 1000
"""Characters of an issuer or audience: AWS takes no longer one, and nobody else's is as long."""

# RFC 7515 section 7.1. The signature is not decoded here, and a line break in it would become one in a header of HTTP.
_COMPACT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


def taken(published: Published) -> tuple[WorkloadIssuer, ...]:
    """Whose tokens the gateway takes, and for whom they must be made: workloads' issuers, then that of the people.

    The audience of people's access tokens is published only where a login has to ask for it; elsewhere it is empty here.
    """
    if published.token == "id_token":  # noqa: S105 a kind, not a token
        audiences = [published.client_id, published.browser.client_id or ""]
    else:
        audiences = [published.request.get("audience", ""), published.request.get("resource", "")]
    known = [one for one in dict.fromkeys(audiences) if one]
    if not known and all(one.issuer != published.issuer for one in published.workloads):
        known = [""]
    return published.workloads + tuple(WorkloadIssuer(published.issuer, published.provider, one) for one in known)


def by_provider(published: Published, provider: str) -> tuple[WorkloadIssuer, ...]:
    """The workloads' issuers of one kind, each audience once."""
    found = {one.audience: one for one in reversed(published.workloads) if one.provider == provider}
    return tuple(reversed(found.values()))


def check_published(published: Published) -> None:
    """Raises ProtocolError if the gateway publishes names that cannot be shown: they stand in the errors and advice here."""
    for shown in (text for one in taken(published) for text in (one.issuer, one.provider, one.audience)):
        if shown != printable(shown) or len(shown) > MAX_NAME:
            raise ProtocolError(f"the gateway publishes an issuer or audience that cannot be shown: {shown[:50]!a}")


def check_asked(audience: str, published: Published) -> None:
    """Raises LoginFailed if the gateway wants tokens that are worth much elsewhere."""
    if is_powerful(audience):
        raise LoginFailed(
            f"{published.name} asks for tokens made for {_shown(audience)}, which would open more than a gateway",
            details=("no token was sent; the gateway must have an audience of its own", "gateway.yaml: providers, audiences"),
        )


def check_token(token: str, published: Published, now: datetime, *, where: str, advice: Sequence[str] = ()) -> None:
    """Raises LoginFailed if the token from `where` is not one to show to this gateway, with what it is and what to set.

    advice: how to get the right one
    """
    claims = _claims(token, where, advice)
    issuer, audiences = _text(claims, "iss"), _audiences(claims)
    found = f"the token in {where} was made by {_shown(issuer)} for {', '.join(map(_shown, audiences[:5])) or 'nobody'}"
    entries = [one for one in taken(published) if one.issuer == issuer]
    if not entries:
        known = [f"{_shown(one.issuer)}{f' for {_shown(one.audience)}' if one.audience else ''}" for one in taken(published)]
        raise LoginFailed(f"{found}, which {published.name} does not take", details=(*_lines(known), *advice))
    if not any(one.audience in ("", *audiences) for one in entries):
        right = ", ".join(_shown(one.audience) for one in entries)
        raise LoginFailed(f"{found}, and not for {right}, as {published.name} needs it", details=("it was not sent", *advice))
    # The audience of a cluster's API server is the issuer's name, unless it is told another.
    if issuer in audiences or any(map(is_powerful, audiences)):
        raise LoginFailed(f"{found}, which would open more than a gateway", details=("it was not sent", *advice))
    _check_time(claims, now, where)


def _claims(token: str, where: str, advice: Sequence[str]) -> Json:
    reason = "it does not have three parts of base64url"
    if _COMPACT.fullmatch(token):
        try:
            return read_parts(token)[1]
        except TokenRejected as error:
            reason = error.message
    raise LoginFailed(f"what is in {where} is not a signed JWT", details=(reason, "it was not sent", *advice))


def _check_time(claims: Json, now: datetime, where: str) -> None:
    exp = claims.get("exp")
    if isinstance(exp, bool) or not isinstance(exp, int | float) or not 0 < exp < 253_402_300_799:  # the year 9999
        raise LoginFailed(f"the token in {where} has no expiry (exp), and no gateway takes such a token")
    if (late := now - datetime.fromtimestamp(exp, UTC)) > LEEWAY:
        raise LoginFailed(
            f"the token in {where} expired {_span(late)} ago",
            details=("it was not sent", "nothing put a new one there, or the clock here is wrong"),
        )


def _audiences(claims: Json) -> list[str]:
    aud = claims.get("aud")
    return [one for one in (aud if isinstance(aud, list) else [aud]) if isinstance(one, str)]


def _text(claims: Json, name: str) -> str:
    value = claims.get(name)
    return value if isinstance(value, str) else ""


def _shown(text: str) -> str:
    """A stranger's text, safe to print."""
    return printable(text)[:120] or "nobody"


def _lines(known: Sequence[str]) -> tuple[str, ...]:
    return ("it was not sent; the gateway takes tokens that are made by", *(f"  {one}" for one in known[:5]))


def _span(late: timedelta) -> str:
    if late < timedelta(minutes=2):
        return f"{late.total_seconds():.0f} s"
    return f"{late // timedelta(minutes=1)} min" if late < timedelta(hours=2) else f"{late // timedelta(hours=1)} h"
