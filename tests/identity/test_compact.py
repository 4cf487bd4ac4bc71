import base64

import pytest

from airtunnel.errors import TokenRejected
from airtunnel.identity.compact import MAX_TOKEN, read_parts


def part(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def jwt(header: bytes, payload: bytes, signature: str = "c2ln") -> str:
    return f"{part(header)}.{part(payload)}.{signature}"


def test_the_parts_are_read_as_they_stand() -> None:
    assert read_parts(jwt(b'{"alg":"x"}', b'{"sub":"a"}')) == ({"alg": "x"}, {"sub": "a"})


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", "three parts"),
        ("a.b", "three parts"),
        ("a.b.c.d.e", "three parts"),
        (jwt(b"{}", b"{}", ""), "three parts"),
        (jwt(b"{}", b"[]"), "payload is not a JSON object"),
        (jwt(b"7", b"{}"), "header is not a JSON object"),
        (jwt(b"{}", b"{"), "payload cannot be read"),
        (jwt(b"{}", b"\xff"), "payload cannot be read"),
        (jwt(b"{}", b"{}").replace(".", ".!!!", 1), "payload cannot be read"),
        (jwt(b"{}", b"[" * 9000), "payload cannot be read"),
        (jwt(b"{}", b'{"sub":"a","sub":"b"}'), "duplicate"),
        (jwt(b'{"alg":"a","alg":"b"}', b"{}"), "duplicate"),
        (jwt(b"{}", b'{"a":{"b":1,"b":2}}'), "duplicate"),
        (jwt(b"{}", b'{"exp":NaN}'), "not JSON"),
        (jwt(b"{}", b'{"exp":Infinity}'), "not JSON"),
        ("a" * (MAX_TOKEN + 1), "larger than"),
        ("a" * 1_000_000, "larger than"),
        ("ä.b.c", "not ASCII"),
    ],
)
def test_what_is_no_strict_jwt_is_rejected(token: str, reason: str) -> None:
    with pytest.raises(TokenRejected, match=reason):
        read_parts(token)


def test_a_refusal_calls_it_by_its_name() -> None:
    for token, reason in (
        ("", "the proof is not a signed"),
        (jwt(b"{}", b"[]"), "the proof's payload"),
        ("ä", "the proof is larger"),
    ):
        with pytest.raises(TokenRejected, match=reason):
            read_parts(token, "proof")
