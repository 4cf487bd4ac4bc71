"""How a login's tokens are tied to a key that only this machine has: chosen before the login, checked in its answer."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from airtunnel.errors import LoginFailed
from airtunnel.identity.answer import Json, printable
from airtunnel.identity.login.choice import Flow
from airtunnel.identity.login.refusal import operator
from airtunnel.identity.provider import ProviderMetadata
from airtunnel.identity.tokenset import Bound, TokenSet, tokens_from
from airtunnel.model import KeyBinding
from airtunnel.wire.control import Published

if TYPE_CHECKING:
    from airtunnel.identity.proof import ProofKey


@dataclass(frozen=True, slots=True)
class Tie:
    """A new key for a login. `salt` is set where the ID token's nonce is to name the key, and not the access token."""

    key: "ProofKey" = field(repr=False)
    must: bool
    salt: str | None = field(default=None, repr=False)

    @property
    def nonce(self) -> str | None:
        """The nonce that the browser flow has to use."""
        from airtunnel.identity.proof import commitment

        return None if self.salt is None else commitment(self.key.thumbprint, self.salt)

    @property
    def proves(self) -> bool:
        """Whether requests for tokens carry a proof (RFC 9449 section 5)."""
        return self.salt is None


def choose_tie(published: Published, metadata: ProviderMetadata, flow: Flow, salt: str) -> Tie | None:
    """What ties this login, as the gateway asks and the provider can; None: nothing. `salt`: fresh randomness.

    Raises LoginFailed if the gateway asks for what this flow, this provider or this version cannot do.
    """
    from airtunnel.identity.proof import ALGORITHM, ProofKey

    match published.binding:
        case KeyBinding.NONE:
            return None
        case KeyBinding.AUTO:
            # An ID token never names a key, so DPoP would tie nothing that the gateway sees.
            usable = ALGORITHM in metadata.dpop_algorithms and published.token == "access_token"  # noqa: S105 a kind
            return Tie(ProofKey.generate(), must=False) if usable else None
        case KeyBinding.DPOP if published.token != "access_token":  # noqa: S105 a kind
            raise LoginFailed(
                "the gateway ties logins to a key by DPoP, which no ID token can be",
                details=(operator("binding", "`dpop` goes with `token: access_token`"),),
            )
        case KeyBinding.DPOP:
            return Tie(ProofKey.generate(), must=True)
        case KeyBinding.NONCE if flow == "browser" and published.token == "id_token":  # noqa: S105 a kind
            return Tie(ProofKey.generate(), must=True, salt=salt)
        case KeyBinding.NONCE:
            raise LoginFailed(
                "the gateway ties logins to a key by their nonce, which only an ID token from the browser flow holds",
                details=(operator("binding", "`nonce` goes with `token: id_token` and `flows: [browser]`"),),
            )
    raise LoginFailed(
        f"this version cannot tie a login to a key as the gateway asks: {printable(published.binding)[:40]}",
        hint="pip install --upgrade airtunnel",
    )


def first_tokens(body: Json, published: Published, now: datetime, tie: Tie | None) -> TokenSet:
    """The tokens of a successful first answer, taken at `now`, with the key that they are tied to.

    Raises LoginFailed as `tokens_from` does, and if they had to be tied and are not.
    """
    tokens = replace(tokens_from(body, published, now), client_id=published.client_id)
    if tie is None:
        return tokens
    if tie.salt is not None:
        return replace(tokens, bound=Bound(KeyBinding.NONCE.value, tie.key.dump(), tie.salt, tokens.id_token))
    if not _is_dpop(body):
        if tie.must:
            raise _unbound(published, body)
        return tokens
    return replace(tokens, bound=Bound(KeyBinding.DPOP.value, tie.key.dump()))


def next_tokens(body: Json, published: Published, now: datetime, previous: TokenSet) -> TokenSet:
    """The tokens of a successful renewal of `previous`, tied as those were. Raises as `first_tokens` does."""
    tokens = tokens_from(body, published, now, previous=previous)
    bound = previous.bound
    if bound is None or bound.kind != KeyBinding.DPOP or _is_dpop(body):
        return tokens
    if published.binding == KeyBinding.DPOP:
        raise _unbound(published, body)
    return replace(tokens, bound=None)


def _is_dpop(body: Json) -> bool:
    """RFC 9449 section 5: the answer's token_type says whether the access token is tied to the key."""
    kind = body.get("token_type")
    return isinstance(kind, str) and kind.lower() == "dpop"


def _unbound(published: Published, body: Json) -> LoginFailed:
    kind = printable(str(body.get("token_type")))[:40]
    client = printable(published.client_id)
    return LoginFailed(
        f"{published.issuer} did not tie the token to this machine's key, which the gateway asks for (token_type {kind})",
        details=(operator("binding", f"the provider must allow DPoP for client {client}, or `auto` do without"),),
    )
