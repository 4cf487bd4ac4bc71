import asyncio
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airtunnel.errors import ConfigError, LoginFailed, LoginRequired, Temporary, Unreachable
from airtunnel.identity import tokens as module
from airtunnel.identity.store import MemoryStore, StoreKey
from airtunnel.identity.tokens import (
    TokenSet,
    drop_tokens,
    forget_login,
    fresh_tokens,
    keep_login,
    load_tokens,
    logged_in,
    login_turn,
    save_tokens,
)
from tests.identity.provider import Provider, published_by
from tests.identity.server import Reply

GATEWAY = "gateway.example.com"
NOW = datetime(2025, 11, 22, 12, tzinfo=UTC)


def tokens_at(provider: Provider, expires_at: datetime, number: int = 0, subject: str = "00u1") -> TokenSet:
    provider.live.add(f"refresh-{number}")
    return TokenSet(f"access-{number}", None, f"refresh-{number}", expires_at, subject, "ana@example.com", provider.issuer)


def test_the_last_to_log_in_is_who_one_is(provider: Provider) -> None:
    store, published = MemoryStore(), published_by(provider.issuer)
    assert load_tokens(store, GATEWAY, provider.issuer) is None
    for number, subject in enumerate(["ana", "bob", "ana", "cy"]):
        save_tokens(store, published, GATEWAY, tokens_at(provider, NOW, number, subject))
        current = load_tokens(store, GATEWAY, provider.issuer)
        assert current is not None
        assert current.subject == subject
    kept = load_tokens(store, GATEWAY, provider.issuer, "ana")
    assert kept is not None
    assert kept.access_token == "access-2"


def test_a_gateway_is_the_same_however_it_is_typed(provider: Provider) -> None:
    store = MemoryStore()
    save_tokens(store, published_by(provider.issuer), "https://Gateway.Example.com:443/", tokens_at(provider, NOW))
    assert load_tokens(store, GATEWAY, provider.issuer) is not None


def test_dropping_forgets_everybody_and_says_who_that_was(provider: Provider) -> None:
    store, published = MemoryStore(), published_by(provider.issuer)
    other = StoreKey("other.example.com", provider.issuer)
    store.put(other, "kept")
    for number, subject in enumerate(["ana", "bob"]):
        save_tokens(store, published, GATEWAY, tokens_at(provider, NOW, number, subject))
    assert [one.subject for one in drop_tokens(store, GATEWAY, provider.issuer)] == ["bob", "ana"]
    assert store._values == {other: "kept"}
    assert drop_tokens(store, GATEWAY, provider.issuer) == ()


def test_dropping_one_leaves_the_others(provider: Provider) -> None:
    store, published = MemoryStore(), published_by(provider.issuer)
    for number, subject in enumerate(["ana", "bob", "cy"]):
        save_tokens(store, published, GATEWAY, tokens_at(provider, NOW, number, subject))
    assert [one.subject for one in drop_tokens(store, GATEWAY, provider.issuer, ["cy"])] == ["cy"]
    assert logged_in(store, GATEWAY, provider.issuer) == ("bob", "ana")
    assert load_tokens(store, GATEWAY, provider.issuer, "cy") is None
    assert [one.subject for one in drop_tokens(store, GATEWAY, provider.issuer, ["ana", "bob"])] == ["ana", "bob"]
    assert store._values == {}


@pytest.mark.parametrize("text", ["{", "7", "[7]", "[" * 100_000])
def test_a_list_of_users_that_cannot_be_read_is_no_login(provider: Provider, text: str) -> None:
    store = MemoryStore()
    store.put(StoreKey(GATEWAY, provider.issuer), text)
    assert load_tokens(store, GATEWAY, provider.issuer) is None


async def test_whoever_is_not_logged_in_is_told_how(provider: Provider, tmp_path: Path) -> None:
    with pytest.raises(LoginRequired, match=f"nobody is logged in at {GATEWAY}") as caught:
        await fresh_tokens(MemoryStore(), published_by(provider.issuer), GATEWAY, now=NOW, locks=tmp_path)
    assert caught.value.hint == f"airtunnel login {GATEWAY}"


async def test_tokens_that_live_long_enough_ask_nobody(provider: Provider, tmp_path: Path) -> None:
    store, published = MemoryStore(), published_by(provider.issuer)
    save_tokens(store, published, GATEWAY, tokens_at(provider, NOW + timedelta(seconds=61)))
    tokens = await fresh_tokens(store, published, GATEWAY, now=NOW, locks=tmp_path)
    assert tokens.access_token == "access-0"
    assert provider.asked == {}


@pytest.mark.parametrize("left", [60, 0, -3600])
async def test_old_tokens_are_renewed_and_kept_before_they_are_used(provider: Provider, tmp_path: Path, left: int) -> None:
    store, published = MemoryStore(), published_by(provider.issuer)
    now = datetime.now(UTC)
    save_tokens(store, published, GATEWAY, tokens_at(provider, now + timedelta(seconds=left)))
    tokens = await fresh_tokens(store, published, GATEWAY, now=now, locks=tmp_path)
    assert tokens.refresh_token == "refresh-1"
    assert load_tokens(store, GATEWAY, provider.issuer) == replace(tokens, id_token=None)
    assert await fresh_tokens(store, published, GATEWAY, now=now, locks=tmp_path) == replace(tokens, id_token=None)
    assert provider.asked["/token"] == 1


async def test_ten_at_once_make_one_refresh(provider: Provider, tmp_path: Path) -> None:
    store, published = MemoryStore(), published_by(provider.issuer)
    now = datetime.now(UTC)
    save_tokens(store, published, GATEWAY, tokens_at(provider, now))
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(fresh_tokens(store, published, GATEWAY, now=now, locks=tmp_path)) for _ in range(10)]
    assert {task.result().refresh_token for task in tasks} == {"refresh-1"}
    assert (provider.asked["/token"], provider.reused) == (1, 0)


async def test_a_lock_that_another_process_holds_is_waited_for_and_then_given_up(
    provider: Provider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, published = MemoryStore(), published_by(provider.issuer)
    monkeypatch.setattr(module, "LOCK_LIMIT", timedelta(milliseconds=50))
    save_tokens(store, published, GATEWAY, tokens_at(provider, NOW))
    file = module._open_lock(tmp_path, StoreKey(GATEWAY, provider.issuer))
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(Temporary, match="another airtunnel process"):
            await fresh_tokens(store, published, GATEWAY, now=NOW, locks=tmp_path)
    finally:
        os.close(file)
    assert provider.asked == {}
    assert (await fresh_tokens(store, published, GATEWAY, now=NOW, locks=tmp_path)).refresh_token == "refresh-1"


async def test_a_lock_file_that_cannot_be_made_is_named(provider: Provider, tmp_path: Path) -> None:
    store, published = MemoryStore(), published_by(provider.issuer)
    save_tokens(store, published, GATEWAY, tokens_at(provider, NOW))
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="no lock file can be made"):
        await fresh_tokens(store, published, GATEWAY, now=NOW, locks=tmp_path / "file")


async def test_an_outage_of_the_provider_does_not_cost_the_login(provider: Provider, tmp_path: Path) -> None:
    store, published = MemoryStore(), published_by(provider.issuer)
    save_tokens(store, published, GATEWAY, tokens_at(provider, NOW))
    provider.script["/token"].append(Reply(503))
    with pytest.raises(Temporary, match=provider.issuer):
        await fresh_tokens(store, published, GATEWAY, now=NOW, locks=tmp_path)
    assert (await fresh_tokens(store, published, GATEWAY, now=NOW, locks=tmp_path)).refresh_token == "refresh-1"


async def test_a_login_that_was_ended_elsewhere_is_told_with_the_gateways_name(provider: Provider, tmp_path: Path) -> None:
    store, published = MemoryStore(), published_by(provider.issuer)
    save_tokens(store, published, GATEWAY, tokens_at(provider, NOW))
    provider.live.clear()
    with pytest.raises(LoginRequired, match="has ended") as caught:
        await fresh_tokens(store, published, GATEWAY, now=NOW, locks=tmp_path)
    assert caught.value.hint == f"airtunnel login {GATEWAY}"


class Full(MemoryStore):
    """A keyring that is locked between reading and writing."""

    full = False

    def put(self, key: StoreKey, value: str) -> None:
        if self.full:
            raise Unreachable("the keyring is locked")
        super().put(key, value)


async def test_a_store_that_fails_does_not_cost_this_command_its_tokens(
    provider: Provider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, published = Full(), published_by(provider.issuer)
    save_tokens(store, published, GATEWAY, tokens_at(provider, NOW))
    store.full = True
    tokens = await fresh_tokens(store, published, GATEWAY, now=NOW, locks=tmp_path)
    assert tokens.refresh_token == "refresh-1"
    assert "could not be kept" in caplog.text
    assert tokens.access_token not in caplog.text
    assert "refresh-" not in caplog.text


def test_importing_costs_none_of_the_heavy_libraries() -> None:
    names = ("authlib", "httpx2", "joserfc", "keyring", "asyncssh", "platformdirs")
    modules = sorted(path.stem for path in Path(module.__file__).parent.glob("[a-z]*.py"))
    imports = "".join(f"import airtunnel.identity.{one}\n" for one in modules)
    code = f"{imports}import sys, json\nprint(json.dumps(sorted(sys.modules)))"
    root = Path(module.__file__).parents[2]
    loaded = json.loads(subprocess.check_output([sys.executable, "-c", code], text=True, cwd=root))
    assert [one for one in loaded if one.partition(".")[0] in names] == []


async def test_one_logs_in_while_the_others_wait_and_are_told_so(tmp_path: Path) -> None:
    order: list[str] = []
    limit = timedelta(seconds=30)

    async def log_in(name: str, inside: asyncio.Event, go: asyncio.Event) -> None:
        async with login_turn(
            GATEWAY, "https://id", limit=limit, wait=lambda: order.append(f"{name} waits"), locks=tmp_path
        ) as waited:
            order.append(f"{name} logs in, {'after' if waited else 'before'} others")
            inside.set()
            await go.wait()

    inside, go = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(log_in("ana", inside, go))
        await inside.wait()
        second = group.create_task(log_in("bob", asyncio.Event(), go))
        while "bob waits" not in order:
            await asyncio.sleep(0)
        assert not second.done()
        go.set()
    assert order == ["ana logs in, before others", "bob waits", "bob logs in, after others"]


async def test_who_waits_too_long_for_anothers_login_is_told_so(tmp_path: Path) -> None:
    async with login_turn(GATEWAY, "https://id", limit=timedelta(seconds=5), wait=print, locks=tmp_path):
        with pytest.raises(LoginFailed, match="another airtunnel has been logging in at"):
            async with login_turn(GATEWAY, "https://id", limit=timedelta(0), wait=lambda: None, locks=tmp_path):
                pass


async def test_a_login_under_way_does_not_stop_a_refresh(provider: Provider, tmp_path: Path) -> None:
    store, published = MemoryStore(), published_by(provider.issuer)
    save_tokens(store, published, GATEWAY, tokens_at(provider, NOW))
    async with login_turn(GATEWAY, provider.issuer, limit=timedelta(seconds=5), wait=print, locks=tmp_path):
        assert (await fresh_tokens(store, published, GATEWAY, now=NOW, locks=tmp_path)).refresh_token == "refresh-1"


class Watched(MemoryStore):
    """A store that counts how often it was read."""

    reads = 0

    def get(self, key: StoreKey) -> str | None:
        value = super().get(key)
        self.reads += 1
        return value


@asynccontextmanager
async def renewing(provider: Provider, store: Watched, locks: Path) -> AsyncIterator["asyncio.Future[TokenSet]"]:
    """A renewal of the latest login that is under way inside the block, and gets its answer after it."""
    store.reads = 0
    published = published_by(provider.issuer)
    with provider._lock:
        task = asyncio.ensure_future(fresh_tokens(store, published, GATEWAY, now=datetime.now(UTC), locks=locks))
        while not held(provider, locks) or store.reads < 4:  # the users and their tokens, before the lock and with it
            await asyncio.sleep(0)
        yield task
    await asyncio.wait([task])


def held(provider: Provider, locks: Path) -> bool:
    """Whether somebody renews a login."""
    file = module._open_lock(locks, StoreKey(GATEWAY, provider.issuer))
    try:
        return not module._taken(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(file)


async def test_a_renewal_in_flight_does_not_undo_a_logout(provider: Provider, tmp_path: Path) -> None:
    store, published = Watched(), published_by(provider.issuer)
    save_tokens(store, published, GATEWAY, tokens_at(provider, datetime.now(UTC)))
    async with renewing(provider, store, tmp_path) as renewal:
        logout = asyncio.ensure_future(forget_login(store, GATEWAY, provider.issuer, locks=tmp_path))
        await asyncio.sleep(0)  # it tries for the lock
    assert renewal.result().refresh_token == "refresh-1"
    assert [one.refresh_token for one in await logout] == ["refresh-1"]
    assert store._values == {}


async def test_a_renewal_does_not_bring_back_what_was_dropped_without_the_lock(provider: Provider, tmp_path: Path) -> None:
    store, published = Watched(), published_by(provider.issuer)
    save_tokens(store, published, GATEWAY, tokens_at(provider, datetime.now(UTC)))
    async with renewing(provider, store, tmp_path) as renewal:
        drop_tokens(store, GATEWAY, provider.issuer)
    assert isinstance(renewal.exception(), LoginRequired)
    assert (store._values, provider.revoked) == ({}, ["refresh-1"])


async def test_a_renewal_does_not_replace_a_newer_login_of_the_same_person(provider: Provider, tmp_path: Path) -> None:
    store, published = Watched(), published_by(provider.issuer)
    save_tokens(store, published, GATEWAY, tokens_at(provider, datetime.now(UTC)))
    async with renewing(provider, store, tmp_path) as renewal:
        save_tokens(store, published, GATEWAY, tokens_at(provider, datetime.now(UTC) + timedelta(hours=1), 7))
    assert renewal.result().refresh_token == "refresh-7"
    kept = load_tokens(store, GATEWAY, provider.issuer)
    assert kept is not None
    assert (kept.refresh_token, provider.revoked) == ("refresh-7", [])


@pytest.mark.parametrize("locked", [True, False])
async def test_a_renewal_does_not_change_who_one_is(provider: Provider, tmp_path: Path, locked: bool) -> None:
    store, published = Watched(), published_by(provider.issuer)
    save_tokens(store, published, GATEWAY, tokens_at(provider, datetime.now(UTC)))
    bob = tokens_at(provider, datetime.now(UTC) + timedelta(hours=1), 7, "bob")
    async with renewing(provider, store, tmp_path) as renewal:
        if locked:
            login = asyncio.ensure_future(keep_login(store, published, GATEWAY, bob, locks=tmp_path))
            await asyncio.sleep(0)  # it tries for the lock
        else:
            save_tokens(store, published, GATEWAY, bob)
    if locked:
        await login
    assert renewal.result().subject == "00u1"
    assert logged_in(store, GATEWAY, provider.issuer) == ("bob", "00u1")
    now = datetime.now(UTC)
    assert (await fresh_tokens(store, published, GATEWAY, now=now, locks=tmp_path)).subject == "bob"
    ana = await fresh_tokens(store, published, GATEWAY, now=now, user="00u1", locks=tmp_path)
    assert ana.refresh_token == "refresh-1"


async def test_renewing_one_persons_login_leaves_the_last_to_log_in(provider: Provider, tmp_path: Path) -> None:
    store, published = MemoryStore(), published_by(provider.issuer)
    now = datetime.now(UTC)
    save_tokens(store, published, GATEWAY, tokens_at(provider, now))
    save_tokens(store, published, GATEWAY, tokens_at(provider, now, 7, "bob"))
    tokens = await fresh_tokens(store, published, GATEWAY, now=now, user="00u1", locks=tmp_path)
    assert (tokens.subject, tokens.refresh_token) == ("00u1", "refresh-1")
    assert logged_in(store, GATEWAY, provider.issuer) == ("bob", "00u1")
