import asyncio
from datetime import UTC, datetime, timedelta

import pytest
from joserfc import jwk

from airtunnel.errors import AirtunnelError, Temporary, TokenRejected, Unreachable
from airtunnel.identity.answer import Json
from airtunnel.identity.verify.keys import KeyCache, read_keys
from tests.identity.provider import new_key

START = datetime(2025, 11, 22, 12, tzinfo=UTC)


class Issuer:
    """An issuer's key set, a clock, and the cache between them."""

    def __init__(self, *keys: str) -> None:
        self.keys = {name: new_key(name).as_dict(private=False) for name in keys}
        self.now = START
        self.fetched = 0
        self.down: AirtunnelError | None = None
        self.gate: asyncio.Event | None = None
        self.asked = asyncio.Event()
        self.cache = KeyCache("https://login.example.com", self.fetch, lambda: self.now)

    async def fetch(self) -> Json:
        self.fetched += 1
        self.asked.set()
        if self.gate is not None:
            await self.gate.wait()
        if self.down is not None:
            raise self.down
        return {"keys": list(self.keys.values())}

    def rotate(self, *keys: str) -> None:
        self.keys = {name: new_key(name).as_dict(private=False) for name in keys}

    def later(self, **time: float) -> None:
        self.now += timedelta(**time)

    async def find(self, kid: str | None) -> str | None:
        return (await self.cache.find(kid, "ES256", ("EC",))).kid


async def test_keys_are_fetched_when_first_needed_and_then_kept() -> None:
    issuer = Issuer("a", "b")
    assert issuer.fetched == 0
    assert [await issuer.find(kid) for kid in ("a", "b", "a")] == ["a", "b", "a"]
    assert issuer.fetched == 1


async def test_a_new_key_is_found_at_once_when_the_last_fetch_is_half_a_minute_ago() -> None:
    issuer = Issuer("a")
    await issuer.find("a")
    issuer.rotate("a", "b")
    issuer.later(seconds=30)
    assert await issuer.find("b") == "b"
    assert issuer.fetched == 2


async def test_a_thousand_unknown_keys_make_one_fetch_per_half_minute() -> None:
    issuer = Issuer("a")
    await issuer.find("a")
    for _ in range(3):
        issuer.later(seconds=30)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(refused(issuer, f"unknown-{number}")) for number in range(1000)]
        assert {task.result() for task in tasks} == {"the token is signed with an unknown key"}
    assert issuer.fetched == 4


async def refused(issuer: Issuer, kid: str | None) -> str:
    with pytest.raises(TokenRejected) as caught:
        await issuer.find(kid)
    return caught.value.message


async def test_a_removed_key_is_dead_within_ten_minutes() -> None:
    issuer = Issuer("a", "b")
    await issuer.find("a")
    issuer.rotate("b")
    issuer.later(minutes=10)
    assert await refused(issuer, "a") == "the token is signed with an unknown key"


async def test_a_provider_that_withdraws_all_keys_is_obeyed() -> None:
    issuer = Issuer("a")
    await issuer.find("a")
    issuer.rotate()
    issuer.later(minutes=10)
    assert await refused(issuer, "a") == "the token is signed with an unknown key"


@pytest.mark.parametrize("down", [Unreachable("x"), Temporary("x")])
async def test_while_the_provider_is_down_its_keys_hold_for_a_day(down: AirtunnelError) -> None:
    issuer = Issuer("a")
    await issuer.find("a")
    issuer.down = down
    issuer.later(hours=23, minutes=59)
    assert await issuer.find("a") == "a"
    issuer.later(minutes=2)
    with pytest.raises(Temporary, match=r"the keys of https://login\.example\.com cannot be fetched"):
        await issuer.find("a")
    issuer.down = None
    issuer.later(seconds=5)
    assert await issuer.find("a") == "a"


async def test_a_provider_that_is_down_is_asked_once_per_half_minute() -> None:
    issuer = Issuer("a")
    await issuer.find("a")
    issuer.down = Unreachable("x")
    issuer.later(hours=1)
    for _ in range(100):
        await issuer.find("a")
    assert issuer.fetched == 2


async def test_a_gateway_without_any_keys_tries_again_after_five_seconds() -> None:
    issuer = Issuer("a")
    issuer.down = Unreachable("x")
    for _ in range(3):
        with pytest.raises(Temporary):
            await issuer.find("a")
    assert issuer.fetched == 1
    issuer.down = None
    issuer.later(seconds=5)
    assert await issuer.find("a") == "a"


async def test_many_at_once_make_one_fetch() -> None:
    issuer = Issuer("a")
    issuer.gate = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(issuer.find("a")) for _ in range(100)]
        await issuer.asked.wait()
        issuer.gate.set()
    assert {task.result() for task in tasks} == {"a"}
    assert issuer.fetched == 1


async def test_while_one_waits_for_new_keys_the_others_go_on_with_the_old_ones() -> None:
    issuer = Issuer("a")
    await issuer.find("a")
    issuer.later(minutes=6)
    issuer.asked.clear()
    issuer.gate = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(issuer.find("a"))
        await issuer.asked.wait()
        assert await issuer.find("a") == "a"
        assert not first.done()
        issuer.gate.set()
    assert first.result() == "a"


async def test_without_a_key_id_there_must_be_one_key_only() -> None:
    assert await Issuer("a").find(None) == "a"
    assert await refused(Issuer("a", "b"), None) == "the token does not say which key signed it"
    assert await refused(Issuer(), None) == "the token does not say which key signed it"


async def test_a_key_is_used_for_its_own_kind_use_and_algorithm_only() -> None:
    for changed in ({"use": "enc"}, {"alg": "ES384"}):
        issuer = Issuer("a")
        issuer.keys["a"] |= changed
        await refused(issuer, "a")
    with pytest.raises(TokenRejected):
        await Issuer("a").cache.find("a", "RS256", ("RSA",))


def test_weak_symmetric_unknown_and_broken_keys_are_left_out() -> None:
    with pytest.warns(Warning, match="2048"):
        weak = jwk.generate_key("RSA", 1024, {"kid": "weak"})
    good = new_key("good").as_dict(private=False)
    entries = [
        weak.as_dict(private=False),
        jwk.generate_key("oct", 256, {"kid": "symmetric"}).as_dict(),
        {"kty": "AKP", "kid": "post-quantum", "pub": "x"},
        {"kty": "RSA", "kid": "empty"},
        {"kty": "RSA", "kid": "odd", "n": 7, "e": "AQAB"},
        {"kty": "EC", "kid": "off the curve", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": ["RSA"]},
        {"kid": "nothing"},
        7,
        None,
        good,
    ]
    assert [key.kid for key in read_keys({"keys": entries})] == ["good"]


@pytest.mark.parametrize("body", [{}, {"keys": None}, {"keys": {}}, {"keys": [{}] * 101}])
def test_what_is_no_key_set_is_an_outage(body: Json) -> None:
    with pytest.raises(Temporary, match="not a set of keys"):
        read_keys(body)
