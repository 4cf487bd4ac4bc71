"""What must be refused, and why: security.md's set of JWTs, and everything that can be wrong with a proof."""

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airtunnel.errors import TokenRejected
from tests.identity.forge import Attempt, bound, proof, shown, signed, verified
from tests.identity.hostile import JWTS, KEYS, Make
from tests.identity.hostile_proofs import PROOFS
from tests.identity.provider import Provider, providing


@pytest.fixture(scope="module")
def issuer() -> Iterator[Provider]:
    with providing() as provider:
        provider.keys = list(KEYS)
        yield provider


@pytest.mark.parametrize(("make", "reason"), [*JWTS.values(), *PROOFS.values()], ids=map(ascii, [*JWTS, *PROOFS]))
async def test_a_hostile_token_is_refused_for_what_is_wrong_with_it(issuer: Provider, make: Make, reason: str) -> None:
    attempt = make(issuer)
    with pytest.raises(TokenRejected, match=reason) as caught:
        await verified(attempt.token, issuer, attempt.shown, **attempt.settings)
    said = caught.value.message
    assert said.isprintable()
    assert len(said) < 500
    for secret in (attempt.token, attempt.shown.proof if attempt.shown else None):
        assert secret is None or len(secret) < 40 or secret not in said


async def test_an_issuer_that_is_not_trusted_is_not_asked(issuer: Provider) -> None:
    before = issuer.asked.copy()
    for name in ("https://evil.example", f"{issuer.issuer}/x"):
        with pytest.raises(TokenRejected):
            await verified(signed(issuer, iss=name), issuer)
    assert issuer.asked == before


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_token_with_any_character_changed_is_refused_and_nothing_else_happens(data: st.DataObject, issuer: Provider) -> None:
    with pytest.raises(TokenRejected):
        asyncio.run(verified(_changed(data, signed(issuer)), issuer))


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_proof_with_any_character_changed_is_refused_and_nothing_else_happens(data: st.DataObject, issuer: Provider) -> None:
    token = bound(issuer)
    attempt = Attempt(token, shown(_changed(data, proof(token))))
    with pytest.raises(TokenRejected):
        asyncio.run(verified(attempt.token, issuer, attempt.shown))


def _changed(data: st.DataObject, text: str) -> str:
    spot = data.draw(st.integers(0, len(text) - 2))  # the last one holds bits that belong to nothing
    other = data.draw(st.characters(max_codepoint=0x250).filter(lambda one: one != text[spot]))
    return text[:spot] + other + text[spot + 1 :]
