from typing import Any

import pytest

from airtunnel.errors import TokenRejected
from airtunnel.identity.claims import ClaimMap, principal_from
from airtunnel.model import Principal, PrincipalKind

CLAIMS: dict[str, Any] = {  # Any: JSON
    "iss": "https://login.example.com",
    "sub": "00u1",
    "email": "ana@example.com",
    "groups": ["data-eng", "on-call"],
    "hd": "example.com",
}


def test_a_principal_is_known_by_issuer_and_subject_and_called_by_its_name() -> None:
    assert principal_from(CLAIMS, ClaimMap(kept=("hd", "absent"))) == Principal(
        PrincipalKind.PERSON,
        "https://login.example.com",
        "00u1",
        "ana@example.com",
        ("data-eng", "on-call"),
        {"hd": "example.com"},
    )


def test_claims_that_are_not_asked_for_are_left_behind() -> None:
    assert principal_from(CLAIMS, ClaimMap()).claims == {}


def test_the_claims_names_are_the_issuers() -> None:
    mapping = ClaimMap(name="upn", groups="roles")
    principal = principal_from(
        {"iss": "https://a", "sub": "b", "upn": "ana", "roles": "admin"}, mapping, PrincipalKind.WORKLOAD
    )
    assert (principal.name, principal.groups, principal.kind) == ("ana", ("admin",), PrincipalKind.WORKLOAD)


@pytest.mark.parametrize("groups", [None, []])
def test_nobody_must_be_in_a_group(groups: object) -> None:
    assert principal_from(CLAIMS | {"groups": groups}, ClaimMap()).groups == ()


def test_names_in_other_languages_pass() -> None:
    assert principal_from(CLAIMS | {"groups": ["données", "数据\u00a0组"]}, ClaimMap()).groups == ("données", "数据\u00a0组")


@pytest.mark.parametrize("claim", ["iss", "sub", "email"])
@pytest.mark.parametrize("value", [None, "", "  ", 7, ["a"], {"a": 1}, True])
def test_what_identifies_must_be_a_text(claim: str, value: object) -> None:
    with pytest.raises(TokenRejected, match=f"claim {claim} is missing or not a text"):
        principal_from(CLAIMS | {claim: value}, ClaimMap())


def test_a_missing_name_is_not_replaced_by_a_subject_that_its_bearer_may_have_chosen() -> None:
    claims = {name: value for name, value in CLAIMS.items() if name != "email"} | {"sub": "boss@example.com"}
    with pytest.raises(TokenRejected, match="claim email is missing"):
        principal_from(claims, ClaimMap())


@pytest.mark.parametrize("verified", [False, "false"])
def test_an_unverified_address_is_nobodys_name(verified: object) -> None:
    with pytest.raises(TokenRejected, match="not verified"):
        principal_from(CLAIMS | {"email_verified": verified}, ClaimMap())
    assert principal_from(CLAIMS | {"email_verified": verified}, ClaimMap(name="sub")).name == "00u1"


@pytest.mark.parametrize(
    "forged", ["a\nb", "a\x00b", "a\x1b[2Jb", "a\x7fb", "a\x85b", "a\u202eb", "a\u2066b", "a\u2028b", "a\ud800b"]
)
@pytest.mark.parametrize("claim", ["iss", "sub", "email", "groups", "hd"])
def test_characters_that_forge_a_line_are_rejected_everywhere(claim: str, forged: str) -> None:
    with pytest.raises(TokenRejected, match=f"claim {claim} holds control"):
        principal_from(CLAIMS | {claim: forged}, ClaimMap(kept=("hd",)))


@pytest.mark.parametrize("kept", [["x\n"], {"a": "x\n"}, {"x\n": 1}, [["x\n"]]])
def test_they_are_found_inside_kept_claims(kept: object) -> None:
    with pytest.raises(TokenRejected, match="claim hd holds control"):
        principal_from(CLAIMS | {"hd": kept}, ClaimMap(kept=("hd",)))


def test_a_kept_claim_has_a_depth() -> None:
    with pytest.raises(TokenRejected, match="nested too deeply"):
        principal_from(CLAIMS | {"hd": [[[[["x"]]]]]}, ClaimMap(kept=("hd",)))


@pytest.mark.parametrize("claim", ["sub", "email", "groups", "hd"])
def test_texts_have_a_length_in_bytes(claim: str) -> None:
    mapping = ClaimMap(kept=("hd",))
    principal_from(CLAIMS | {claim: "é" * 128}, mapping)
    with pytest.raises(TokenRejected, match=f"claim {claim} is longer than 256 bytes"):
        principal_from(CLAIMS | {claim: "é" * 128 + "a"}, mapping)


@pytest.mark.parametrize("groups", [7, {"a": 1}, [7], ["a", None], [["a"]], [""], True])
def test_groups_are_texts(groups: object) -> None:
    with pytest.raises(TokenRejected, match="claim groups is not a list of texts"):
        principal_from(CLAIMS | {"groups": groups}, ClaimMap())


def test_groups_are_counted() -> None:
    principal_from(CLAIMS | {"groups": ["g"] * 1000}, ClaimMap())
    with pytest.raises(TokenRejected, match="names 1001 groups"):
        principal_from(CLAIMS | {"groups": ["g"] * 1001}, ClaimMap())


@pytest.mark.parametrize("more", [{"_claim_names": {"groups": "src1"}}, {"hasgroups": True}])
def test_groups_that_were_left_out_for_their_number_are_not_taken_for_none(more: dict[str, object]) -> None:
    claims = {name: value for name, value in CLAIMS.items() if name != "groups"}
    with pytest.raises(TokenRejected, match="too many groups"):
        principal_from(claims | more, ClaimMap())
