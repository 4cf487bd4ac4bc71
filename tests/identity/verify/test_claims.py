from typing import Any

import pytest

from airtunnel.errors import TokenRejected
from airtunnel.identity.verify.claims import ClaimMap, check_required, find_claim, principal_from
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


KUBERNETES: dict[str, Any] = {  # Any: JSON
    "iss": "https://kubernetes.default.svc",
    "sub": "system:serviceaccount:airflow:worker",
    "kubernetes.io": {
        "namespace": "airflow",
        "serviceaccount": {"name": "worker", "uid": "u-1"},
        "pod": {"name": "task-1", "uid": "u-2"},
    },
    "realm_access": {"roles": ["data-eng"]},
    "https://example.com/groups": ["on-call"],
    "https://example.com/app": {"roles": {"a/b": 1}},
    "null": None,
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("sub", "system:serviceaccount:airflow:worker"),
        ("kubernetes.io/namespace", "airflow"),
        ("kubernetes.io/serviceaccount/name", "worker"),
        ("kubernetes.io/pod", {"name": "task-1", "uid": "u-2"}),
        ("realm_access/roles", ["data-eng"]),
        ("https://example.com/groups", ["on-call"]),
        ("https://example.com/app/roles/a/b", 1),
        ("kubernetes.io/namespace/x", None),
        ("kubernetes.io/", None),
        ("kubernetes.io/absent", None),
        ("realm_access/roles/0", None),
        ("sub/x", None),
        ("null", None),
        ("null/x", None),
        ("absent", None),
        ("absent/x", None),
        ("/sub", None),
        ("/", None),
        ("", None),
    ],
)
def test_a_claim_is_found_by_its_path(path: str, found: object) -> None:
    assert find_claim(KUBERNETES, path) == found


def test_an_exact_name_comes_before_a_path_and_a_longer_one_before_a_shorter() -> None:
    claims = {"a": {"b": {"c": 1}, "b/c": 2}, "a/b": {"c": 3}, "a/b/c": 4}
    assert find_claim(claims, "a/b/c") == 4
    assert find_claim({name: value for name, value in claims.items() if name != "a/b/c"}, "a/b/c") == 3
    assert find_claim({"a": claims["a"]}, "a/b/c") == 2
    assert find_claim({"a": {"b": {"c": 1}}, "a/b": "no object"}, "a/b/c") is None, "nothing else is tried"


def test_a_principal_is_made_of_claims_at_paths() -> None:
    mapping = ClaimMap(
        name="kubernetes.io/serviceaccount/name",
        subject="kubernetes.io/serviceaccount/uid",
        groups="realm_access/roles",
        kept=("kubernetes.io/namespace", "kubernetes.io/pod", "kubernetes.io/node", "null"),
    )
    principal = principal_from(KUBERNETES, mapping, PrincipalKind.WORKLOAD)
    assert (principal.name, principal.subject, principal.groups) == ("worker", "u-1", ("data-eng",))
    assert principal.claims == {
        "kubernetes.io/namespace": "airflow",
        "kubernetes.io/pod": {"name": "task-1", "uid": "u-2"},
    }


@pytest.mark.parametrize("claim", ["name", "subject", "groups", "kept"])
def test_what_stands_at_a_path_is_looked_at_like_any_other_claim(claim: str) -> None:
    claims = CLAIMS | {"a": {"b": "x\n"}}
    with pytest.raises(TokenRejected, match="claim a/b holds control"):
        principal_from(claims, ClaimMap(**{claim: ("a/b",) if claim == "kept" else "a/b"}))  # type: ignore[arg-type] # by field


def test_the_claim_that_identifies_must_be_there() -> None:
    assert principal_from(CLAIMS | {"oid": "o-1"}, ClaimMap(subject="oid")).subject == "o-1"
    with pytest.raises(TokenRejected, match="claim oid is missing"):
        principal_from(CLAIMS, ClaimMap(subject="oid"))


@pytest.mark.parametrize(
    ("path", "more"),
    [
        ("realm_access/roles", {"hasgroups": True}),
        ("https://example.com/groups", {"_claim_names": {"https://example.com/groups": "src1"}}),
        ("realm_access/roles", {"_claim_names": {"realm_access": "src1"}}),
    ],
)
def test_groups_left_out_for_their_number_are_missed_at_a_path_too(path: str, more: dict[str, object]) -> None:
    with pytest.raises(TokenRejected, match="too many groups"):
        principal_from(CLAIMS | more, ClaimMap(groups=path))


@pytest.mark.parametrize(
    ("claims", "good"),
    [
        ({"hd": "example.com"}, True),
        ({"hd": "example.org"}, True),
        ({"hd": ["x", "example.com"]}, True),
        ({"hd": "Example.com"}, False),
        ({"hd": "example.com.evil"}, False),
        ({"hd": ["x"]}, False),
        ({"hd": []}, False),
        ({"hd": [["example.com"]]}, False),
        ({"hd": {"example.com": 1}}, False),
        ({"hd": None}, False),
        ({"hd": 7}, False),
        ({}, False),
    ],
)
def test_a_required_claim_has_one_of_its_texts(claims: dict[str, object], good: bool) -> None:
    required = {"hd": ("example.com", "example.org")}
    if good:
        check_required(claims, required)
    else:
        with pytest.raises(TokenRejected, match="claim hd does not have a value that is required") as caught:
            check_required(claims, required)
        assert "example.com" not in caught.value.message


def test_every_required_claim_counts_also_at_a_path_and_as_true() -> None:
    required = {"kubernetes.io/namespace": ("airflow",), "email_verified": ("true",)}
    check_required(KUBERNETES | {"email_verified": True}, required)
    for claims in (KUBERNETES, KUBERNETES | {"email_verified": False}, {"email_verified": True}):
        with pytest.raises(TokenRejected):
            check_required(claims, required)


@pytest.mark.parametrize("said", [False, "false", "False", "FALSE", "0", "no", None, [], 0, "yes"])
def test_an_address_is_verified_only_if_that_is_said_in_so_many_words(said: object) -> None:
    with pytest.raises(TokenRejected, match="not verified"):
        principal_from(CLAIMS | {"email_verified": said}, ClaimMap())


@pytest.mark.parametrize("name", ["a\u200bna@example.com", "ana\u00ad@example.com", "\ufeffana@example.com"])
def test_a_name_with_something_invisible_in_it_is_nobody(name: str) -> None:
    with pytest.raises(TokenRejected, match="invisible"):
        principal_from(CLAIMS | {"email": name}, ClaimMap())


def test_groups_that_are_left_out_are_not_known_and_an_empty_list_is() -> None:
    without = {name: value for name, value in CLAIMS.items() if name != "groups"}
    assert not principal_from(without, ClaimMap()).groups_known
    assert principal_from(without | {"groups": []}, ClaimMap()).groups_known
    assert principal_from(without, ClaimMap(), PrincipalKind.WORKLOAD).groups_known
