from dataclasses import replace
from datetime import UTC, datetime

import pytest

from airtunnel.errors import LoginFailed
from airtunnel.identity.login.binding import choose_tie, first_tokens, next_tokens
from airtunnel.identity.login.choice import Flow
from airtunnel.identity.proof import ProofKey, commitment
from airtunnel.identity.provider import ProviderMetadata
from airtunnel.identity.tokenset import Bound
from airtunnel.wire.control import Published
from tests.identity.provider import published_by

ISSUER = "https://login.example.com"
NOW = datetime(2025, 11, 22, 12, tzinfo=UTC)
DPOP = ProviderMetadata(ISSUER, "t", "j", dpop_algorithms=("RS256", "ES256"))
PLAIN = ProviderMetadata(ISSUER, "t", "j")


def asking(binding: str, token: str = "access_token") -> Published:
    return replace(published_by(ISSUER, token), binding=binding)


@pytest.mark.parametrize("flow", ["device", "browser"])
@pytest.mark.parametrize(
    ("binding", "token", "metadata", "tied", "must"),
    [
        ("none", "access_token", DPOP, False, False),
        ("auto", "access_token", DPOP, True, False),
        ("auto", "access_token", PLAIN, False, False),
        ("auto", "access_token", replace(PLAIN, dpop_algorithms=("EdDSA",)), False, False),
        ("auto", "id_token", DPOP, False, False),
        ("dpop", "access_token", DPOP, True, True),
        ("dpop", "access_token", PLAIN, True, True),
    ],
)
def test_a_login_is_tied_to_a_key_as_the_gateway_asks_and_the_provider_can(
    binding: str, token: str, metadata: ProviderMetadata, tied: bool, must: bool, flow: Flow
) -> None:
    tie = choose_tie(asking(binding, token), metadata, flow, "salt")
    assert (tie is not None) is tied
    if tie is not None:
        assert (tie.must, tie.proves, tie.nonce) == (must, True, None)
        other = choose_tie(asking(binding, token), metadata, flow, "salt")
        assert other is not None
        assert other.key.thumbprint != tie.key.thumbprint


def test_a_nonce_commits_to_the_key() -> None:
    tie = choose_tie(asking("nonce", "id_token"), PLAIN, "browser", "salt")
    assert tie is not None
    assert (tie.nonce, tie.proves) == (commitment(tie.key.thumbprint, "salt"), False)
    assert "salt" not in repr(tie).replace("salt=", "")


@pytest.mark.parametrize(
    ("binding", "token", "flow", "words"),
    [
        ("nonce", "id_token", "device", "only an ID token from the browser flow holds"),
        ("nonce", "access_token", "browser", "only an ID token from the browser flow holds"),
        ("dpop", "id_token", "browser", "by DPoP, which no ID token can be"),
        ("retina", "access_token", "browser", "as the gateway asks: retina"),
    ],
)
def test_what_cannot_tie_a_login_is_said_before_it(binding: str, token: str, flow: Flow, words: str) -> None:
    with pytest.raises(LoginFailed, match=words):
        choose_tie(asking(binding, token), DPOP, flow, "salt")


@pytest.mark.parametrize(
    ("binding", "kind", "bound"),
    [
        ("dpop", "DPoP", True),
        ("dpop", "dpop", True),
        ("auto", "DPOP", True),
        ("auto", "Bearer", False),
        ("auto", None, False),
        ("dpop", "Bearer", None),
        ("dpop", None, None),
        ("dpop", 7, None),
    ],
)
def test_tokens_are_tied_if_the_answer_says_so(binding: str, kind: object, bound: bool | None) -> None:
    published = asking(binding)
    tie = choose_tie(published, DPOP, "device", "salt")
    assert tie is not None
    body = {"access_token": "opaque", "token_type": kind}
    held = Bound("dpop", tie.key.dump())
    previous = replace(first_tokens({"access_token": "opaque"}, asking("none"), NOW, None), bound=held)
    if bound is None:
        with pytest.raises(LoginFailed, match="did not tie the token to this machine's key") as caught:
            first_tokens(body, published, NOW, tie)
        assert "`binding` of its `providers`" in caught.value.details[0]
        with pytest.raises(LoginFailed, match="did not tie"):
            next_tokens(body, published, NOW, previous)
        return
    assert first_tokens(body, published, NOW, tie).bound == (held if bound else None)
    assert next_tokens(body, published, NOW, previous).bound == (held if bound else None)


def test_a_renewed_login_keeps_what_its_nonce_was_made_of() -> None:
    held = Bound("nonce", ProofKey.generate().dump(), "salt", "the first ID token")
    published = asking("nonce")
    previous = replace(first_tokens({"access_token": "opaque"}, published, NOW, None), bound=held)
    assert next_tokens({"access_token": "new", "token_type": "Bearer"}, published, NOW, previous).bound == held
