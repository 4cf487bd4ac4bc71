"""A login in the browser (RFC 8252 with PKCE, RFC 7636; OpenID Connect Core 3.1), as a flow without I/O.

    client                                browser                          provider
    listens on 127.0.0.1:P
    shows or opens the address        ->  GET authorization_endpoint   ->
      redirect_uri, state, nonce,                                          a person logs in there
      code_challenge                  <-  http://127.0.0.1:P/callback  <-
    checks state and iss                    ?code&state&iss
    POST token  code, code_verifier  ------------------------------------>
    checks the ID token's nonce      <------------------------------------ tokens

The flow yields `Open` (answered with None), `Redirect` (answered with Returned) and device.Post (answered with an Answer), and
returns a TokenSet. Whoever has seen the address, or the code on its way back, has neither the verifier nor the state.
"""

import hmac
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias
from urllib.parse import parse_qsl, urlsplit

from airtunnel.errors import LoginFailed, ProtocolError, Temporary, TokenRejected
from airtunnel.identity.answer import Answer, Json, printable
from airtunnel.identity.compact import read_parts
from airtunnel.identity.login.binding import Tie, first_tokens
from airtunnel.identity.login.device import Post
from airtunnel.identity.login.refusal import again, refusal
from airtunnel.identity.login.request import asked_in_browser, token_along
from airtunnel.identity.provider import ProviderMetadata
from airtunnel.identity.tokenset import TokenSet
from airtunnel.wire.control import Published

MAX_QUERY = 8 * 1024
"""Characters of what comes back. Entra's codes are the longest known, with less than 2 KiB."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """The randomness of one login. `verifier`: 43 to 128 characters (RFC 7636 section 4.1)."""

    state: str = field(repr=False)
    verifier: str = field(repr=False)
    nonce: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class BrowserPrompt:
    """The address at which a person logs in; `host` is whose it is. The browser ends at `redirect_uri` on its own machine."""

    url: str
    host: str
    redirect_uri: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Open:
    """Open it in a browser, or show it to the person, and do not wait for them. Answered with None."""

    prompt: BrowserPrompt


@dataclass(frozen=True, slots=True)
class Redirect:
    """Wait for the browser to come back. Answered with Returned."""


@dataclass(frozen=True, slots=True)
class Returned:
    """The query with which the browser came back, and how long that took."""

    query: str = field(repr=False)
    waited: timedelta = timedelta()


Command: TypeAlias = Open | Redirect | Post
BrowserFlow: TypeAlias = Generator[Command, Answer | Returned | None, TokenSet]


def browser_flow(
    metadata: ProviderMetadata,
    published: Published,
    *,
    redirect_uri: str,
    drawn: Drawn,
    tie: Tie | None,
    now: datetime,
    limit: timedelta,
) -> BrowserFlow:
    """The flow of one login that starts at `now` and has to be back within `limit`.

    Raises LoginFailed when it is denied, not allowed, or answered for somebody else's login; Unreachable or Temporary when the
    provider does not answer; ProtocolError when its address cannot be used.
    """
    url = authorization_url(metadata, published, redirect_uri, drawn, tie)
    yield Open(BrowserPrompt(url, urlsplit(url).netloc, redirect_uri, now + limit))
    returned = yield Redirect()
    if not isinstance(returned, Returned):
        raise TypeError("a Redirect is answered with Returned")
    code = read_redirect(returned.query, metadata, published, drawn.state)
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri, "code_verifier": drawn.verifier}
    answer = yield Post(metadata.token_endpoint, form | dict(token_along(published)))
    if not isinstance(answer, Answer):
        raise TypeError("a Post is answered with an Answer")
    body = _granted(answer, published, code)
    _check_nonce(body, published, drawn.nonce)
    return first_tokens(body, published, now + returned.waited + answer.took, tie)


def authorization_url(
    metadata: ProviderMetadata, published: Published, redirect_uri: str, drawn: Drawn, tie: Tie | None
) -> str:
    """Where the person logs in (RFC 6749 section 4.1.1). Raises LoginFailed if the provider has no such page."""
    from authlib.oauth2.rfc6749.parameters import prepare_grant_uri  # type: ignore[import-untyped]  # authlib has no types
    from authlib.oauth2.rfc7636 import create_s256_code_challenge  # type: ignore[import-untyped]  # authlib has no types

    endpoint = metadata.authorization_endpoint
    if endpoint is None:
        raise LoginFailed(f"{metadata.issuer} offers no login in the browser")
    more = dict(asked_in_browser(published))
    if "openid" in published.scopes:
        more["nonce"] = drawn.nonce
    if tie is not None and tie.proves:
        more["dpop_jkt"] = tie.key.thumbprint  # RFC 9449 section 10: a stolen code is of no use without the key
    try:
        url = prepare_grant_uri(
            endpoint,
            published.client_id,
            "code",
            redirect_uri=redirect_uri,
            scope=" ".join(published.scopes),
            state=drawn.state,
            code_challenge=create_s256_code_challenge(drawn.verifier),
            code_challenge_method="S256",
            **more,
        )
    except ValueError as error:
        raise ProtocolError("the gateway publishes parameters for the login that no address can hold") from error
    return str(url)


def belongs(query: str, state: str) -> bool:
    """Whether a query is the answer to this very login, good or bad: all else must not be able to end it."""
    fields = _fields(query)
    return _same(fields.get("state", ""), state) and ("code" in fields or "error" in fields)


def read_redirect(query: str, metadata: ProviderMetadata, published: Published, state: str) -> str:
    """The authorization code in what came back (RFC 6749 section 4.1.2).

    Raises LoginFailed if it is another login's, another provider's (RFC 9207), or a refusal; Temporary as `refusal` does.
    """
    if not belongs(query, state):
        raise LoginFailed("the browser came back with the answer to another login", hint=again(published))
    fields = _fields(query)
    issuer = fields.get("iss")
    if issuer is None and metadata.iss_parameter:
        raise LoginFailed(
            f"the browser came back without saying from where, though {metadata.issuer} always says so", hint=again(published)
        )
    if issuer is not None and issuer != metadata.issuer:
        raise LoginFailed(
            f"the browser came back from {printable(issuer)[:200]}, and not from {metadata.issuer}",
            details=("this is how a login is stolen by mixing up two providers; nothing was given away",),
            hint=again(published),
        )
    if (error := fields.get("error")) is not None:
        raise _refused(error, fields.get("error_description", ""), metadata, published)
    if not (code := fields["code"]):
        raise LoginFailed(f"{metadata.issuer} sent the browser back with an empty code", hint=again(published))
    return code


def pasted_query(text: str) -> str:
    """The query in what a person pasted: the whole address, or only the part from its `?` on."""
    # Terminals and mail programs break long addresses; no address holds a blank of its own.
    text = "".join(printable(text).split()).strip("'\"<>")
    return text.partition("?")[2].partition("#")[0] if "?" in text else text


def misread(query: str, redirect_uri: str) -> str:
    """What to say of a pasted text that is not the answer to this login."""
    fields = _fields(query)
    if "code" in fields or "error" in fields:
        return "that is the answer to another login: open the address above, log in, and paste where the browser ends"
    if "code_challenge" in fields:
        return f"that is the address to open; paste the one at which the browser ends: {redirect_uri}?code=..."
    return f"that is not where the browser ends after the login; paste the whole address: {redirect_uri}?code=..."


def _refused(error: str, description: str, metadata: ProviderMetadata, published: Published) -> LoginFailed | Temporary:
    said = printable(f"{error}: {description}" if description else error)[:200]
    if error == "access_denied":
        host = urlsplit(metadata.authorization_endpoint or metadata.issuer).netloc
        why = (f"it said: {printable(description)[:200]}",) if description else ()
        return LoginFailed(f"the login was refused at {host}", details=why, hint=again(published))
    return refusal(error, said, published, f"let {printable(published.client_id)} log in with the browser")


def _granted(answer: Answer, published: Published, secret: str) -> Json:
    """The body of a successful answer of the token endpoint. `secret` is kept out of errors."""
    if answer.trouble is not None:
        raise answer.trouble
    said = answer.said.replace(secret, "...")
    if answer.busy:
        raise Temporary(f"{published.issuer} cannot finish the login now: {said}", hint=again(published))
    body = answer.json()
    if answer.status == 200 and answer.error is None and body is not None:
        return body
    raise refusal(answer.error, said, published, "take its own code for the login")


def _check_nonce(body: Json, published: Published, nonce: str) -> None:
    """OpenID Connect Core 3.1.3.7 item 11: an ID token that was made for another login is not taken for this one's."""
    token = body.get("id_token")
    if not isinstance(token, str) or "openid" not in published.scopes:
        return
    try:
        said = read_parts(token)[1].get("nonce")
    except TokenRejected as error:
        raise LoginFailed(f"{published.issuer} gave an ID token that cannot be read: {error.message}") from error
    if not isinstance(said, str) or not _same(said, nonce):
        raise LoginFailed(f"{published.issuer} gave an ID token that was made for another login (nonce)")


def _fields(query: str) -> Mapping[str, str]:
    """The parameters; none if one comes twice (RFC 6749 section 3.1), or something else is odd about them."""
    try:
        pairs = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=50) if len(query) <= MAX_QUERY else []
    except ValueError:
        return {}
    fields = dict(pairs)
    return fields if len(fields) == len(pairs) else {}


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(errors="replace"), other.encode())
