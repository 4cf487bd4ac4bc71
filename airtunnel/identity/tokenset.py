"""The tokens of one login: out of a provider's answer, into the store and back."""

import json
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta

from airtunnel.errors import LoginFailed, TokenRejected
from airtunnel.identity.answer import Json, printable, seconds
from airtunnel.identity.compact import read_parts
from airtunnel.wire.control import Published

UNKNOWN_LIFE = timedelta(minutes=5)
"""Of a token whose provider does not say: short enough to be refreshed in time."""


@dataclass(frozen=True, slots=True)
class Bound:
    """The key that a login's tokens are tied to: secret, and kept as long as the login.

    kind: `dpop` or `nonce` (model.KeyBinding); key: the private key, a JWK as JSON text
    salt, origin: with `nonce`, what the nonce was made of beside the key, and the first ID token, whose nonce it is: a renewed
    ID token has none
    """

    kind: str
    key: str = field(repr=False)
    salt: str | None = field(default=None, repr=False)
    origin: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class TokenSet:
    """What a login gave. `expires_at` is of the token that the gateway takes; `name` is for people, `subject` identifies.

    access_token is empty in a set from the store whose gateway takes the ID token: only what is used is kept.
    client_id: the client that logged in, and alone may use the refresh token; empty: the published one
    """

    access_token: str = field(repr=False)
    id_token: str | None = field(repr=False)
    refresh_token: str | None = field(repr=False)
    expires_at: datetime
    subject: str
    name: str
    issuer: str
    client_id: str = ""
    bound: Bound | None = None


def presented(tokens: TokenSet, published: Published) -> str:
    """The token that this gateway takes. Raises LoginFailed if the provider gave none of that kind."""
    token = tokens.id_token if published.token == "id_token" else tokens.access_token  # noqa: S105 a kind, not a token
    if not token:
        raise LoginFailed(
            f"{tokens.issuer} gave no {published.token}, which the gateway asks for",
            details=(f"scopes that the gateway publishes: {' '.join(published.scopes)}",),
        )
    return token


def tokens_from(body: Json, published: Published, now: datetime, previous: TokenSet | None = None) -> TokenSet:
    """The tokens in a token endpoint's successful answer (RFC 6749 section 5.1), taken at `now`.

    previous: the set that was refreshed; what the answer leaves out is taken from it, but never the presented token
    Raises LoginFailed if the answer lacks the token that the gateway takes, or is about somebody else.
    """
    access, identity, refresh = (_text(body, name) for name in ("access_token", "id_token", "refresh_token"))
    if identity is not None:
        _check_identity(_claims(identity), published, previous)
    subject, name = _who(_claims(identity) or _claims(access))
    if previous is not None and identity is None:
        # Access tokens may call the same person by another subject than ID tokens do (Okta's do).
        subject, name = previous.subject, previous.name
    tokens = TokenSet(
        access_token=access or "",
        id_token=identity,
        refresh_token=refresh or (previous.refresh_token if previous else None),
        expires_at=now,
        subject=subject,
        name=name,
        issuer=published.issuer,
        client_id=previous.client_id if previous else "",
        bound=previous.bound if previous else None,
    )
    shown = presented(tokens, published)
    life = None if shown == identity else seconds(body.get("expires_in"))
    return _with_expiry(tokens, _expiry(shown, life, now))


def as_json(tokens: TokenSet, published: Published) -> str:
    """What the store keeps: the refresh token, and of the others only the one that this gateway takes.

    Each command is a process of its own. Were only the refresh token kept, each would refresh: a round trip and a write to the
    keyring per command, and with rotation a chance per command that the login dies between the provider's answer and the write.
    The presented token opens less and for a shorter time than the refresh token, and lies in the same entry.
    """
    kept = asdict(tokens) | {"expires_at": tokens.expires_at.isoformat()}
    kept |= {"access_token": "", "id_token": None} | {published.token: presented(tokens, published)}
    return json.dumps(kept, separators=(",", ":"))


def from_json(text: str) -> TokenSet | None:
    """The set that `as_json` wrote; None if the text is something else, which is then as good as no login."""
    try:
        body = json.loads(text)
        expires_at = datetime.fromisoformat(body["expires_at"])
        if expires_at.tzinfo is None:
            return None
        return TokenSet(
            access_token=str(body["access_token"]),
            id_token=_text(body, "id_token"),
            refresh_token=_text(body, "refresh_token"),
            expires_at=expires_at,
            subject=str(body["subject"]),
            name=str(body["name"]),
            issuer=str(body["issuer"]),
            client_id=_text(body, "client_id") or "",
            bound=_bound(body.get("bound")),
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None


def _bound(body: Json | None) -> Bound | None:
    if body is None:
        return None
    return Bound(str(body["kind"]), str(body["key"]), _text(body, "salt"), _text(body, "origin"))


def _with_expiry(tokens: TokenSet, expires_at: datetime) -> TokenSet:
    kept = {name: getattr(tokens, name) for name in TokenSet.__slots__}
    return TokenSet(**kept | {"expires_at": expires_at})


def _expiry(token: str, life: timedelta | None, now: datetime) -> datetime:
    """The earlier of what the answer and what the token itself says: a wrong clock here must not keep a dead token."""
    said = [] if life is None else [now + life]
    exp = _claims(token).get("exp")
    if isinstance(exp, int | float) and not isinstance(exp, bool) and 0 < exp < 253_402_300_799:  # the year 9999
        said.append(datetime.fromtimestamp(exp, UTC))
    return min(said, default=now + UNKNOWN_LIFE)


def _who(claims: Json) -> tuple[str, str]:
    """The subject, and what people call it."""
    subject = claims.get("sub")
    subject = subject if isinstance(subject, str) else ""
    names = (claims.get(claim) for claim in ("email", "preferred_username", "name"))
    name = next((one for one in names if isinstance(one, str) and one), subject)
    return subject, printable(name)[:256]


def _check_identity(claims: Json, published: Published, previous: TokenSet | None) -> None:
    """OpenID Connect Core section 3.1.3.7, items 2, 3 and 6: it came over TLS from the issuer itself, so no signature."""
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if claims.get("iss") != published.issuer or published.client_id not in audiences:
        raise LoginFailed(f"{published.issuer} gave an ID token that was made by or for somebody else")
    if previous is not None and claims.get("sub") != previous.subject:
        # Section 12.2: a refreshed login stays that of the same person.
        raise LoginFailed(f"{published.issuer} renewed the login for another person")


def _claims(token: str | None) -> Json:
    """The claims, if the token is a JWT: an access token need not be one."""
    try:
        return read_parts(token or "")[1]
    except TokenRejected:
        return {}


def _text(body: Json, name: str) -> str | None:
    value = body.get(name)
    return value if isinstance(value, str) and value else None
