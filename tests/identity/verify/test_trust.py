from pathlib import Path
from typing import Any

import pytest

from airtunnel.errors import ConfigError, TokenRejected
from airtunnel.identity.verify.trust import TrustedIssuer, by_issuer, choose, keys_at
from airtunnel.model import KeyBinding

ISSUER = "https://login.example.com"


def entry(*audiences: str, **settings: Any) -> TrustedIssuer:  # Any: fields of TrustedIssuer
    return TrustedIssuer(ISSUER, audiences, **settings)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"audiences": ()}, "audiences is empty"),
        ({"audiences": ("",)}, "audiences is empty"),
        ({"issuer": "http://login.example.com"}, "is not https"),
        ({"endpoints": {"jwks_uri": "http://login.example.com/jwks"}}, "jwks_uri is not https"),
        ({"token": "refresh_token"}, "neither access_token nor id_token"),
        ({"algorithms": ()}, "algorithms must be among"),
        ({"algorithms": ("HS256",)}, "algorithms must be among"),
        ({"algorithms": ("RS256", "none")}, "algorithms must be among"),
        ({"binding": KeyBinding.DPOP, "token": "id_token"}, "binding dpop is of an access_token, and token is id_token"),
        ({"binding": KeyBinding.NONCE}, "binding nonce is of an id_token, and token is access_token"),
        ({"required": {"hd": ()}}, "required claim hd has no list of values"),
        ({"required": {"hd": "example.com"}}, "required claim hd has no list of values"),
    ],
)
def test_a_trust_that_would_accept_too_much_or_nothing_is_no_configuration(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        TrustedIssuer(**{"issuer": ISSUER, "audiences": ("api",)} | changed)


@pytest.mark.parametrize(
    ("one", "other", "good"),
    [
        (entry("a"), entry("b"), True),
        (entry("a"), entry("a"), False),
        (entry("a", "b"), entry("b", "c"), False),
        (entry("a", client_ids=("x",)), entry("a"), False),
        (entry("a", client_ids=("x",)), entry("a", client_ids=("x", "y")), False),
        (entry("a", client_ids=("x",)), entry("a", client_ids=("y",)), True),
        (entry("a", token="id_token"), entry("a", client_ids=("y",)), True),
        (entry("a", token="id_token"), entry("a", client_ids=("a",)), False),
        (entry("a"), TrustedIssuer("https://other.example.com", ("a",)), True),
    ],
)
def test_one_issuer_may_stand_there_twice_if_no_token_can_be_meant_for_both(
    one: TrustedIssuer, other: TrustedIssuer, good: bool
) -> None:
    if good:
        assert {each for several in by_issuer([one, other]).values() for each in map(id, several)} == {id(one), id(other)}
    else:
        with pytest.raises(ConfigError, match=f"issuer {ISSUER} stands there twice"):
            by_issuer([one, other])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"endpoints": {"jwks_uri": f"{ISSUER}/a"}}, {"endpoints": {"jwks_uri": f"{ISSUER}/b"}}),
        ({"ca": Path("a.pem")}, {"ca": Path("b.pem")}),
    ],
)
def test_the_keys_of_one_issuer_are_in_one_place(one: dict[str, Any], other: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="two different jwks_uri or ca"):
        by_issuer([entry("a", **one), entry("b", **other)])
    by_issuer([entry("a", **one), entry("b", **one)])
    found = keys_at([entry("a", **one), entry("b")])
    assert found in ((f"{ISSUER}/a", None), (None, Path("a.pem")))


def test_a_token_for_two_entries_is_for_none() -> None:
    several = (entry("a"), entry("b"))
    assert choose(several, {"aud": "b"}) is several[1]
    assert choose(several, {"aud": ["c", "a"]}) is several[0]
    with pytest.raises(TokenRejected, match="audiences of two entries"):
        choose(several, {"aud": ["a", "b"]})


@pytest.mark.parametrize("audience", [None, 7, "c", ["c"], [7], {"a": 1}, "a\nb"])
def test_a_token_for_no_entry_is_refused_unless_there_is_one_that_will_say_so(audience: object) -> None:
    with pytest.raises(TokenRejected, match=r"for somebody else \(aud\)") as caught:
        choose((entry("a"), entry("b")), {"aud": audience})
    assert caught.value.message.isprintable()
    choose((entry("a"),), {"aud": audience})
