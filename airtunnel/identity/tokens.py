"""The logins that are kept between commands: who is logged in where, and tokens that are fresh."""

import asyncio
import hashlib
import json
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

from airtunnel.config.client import state_directory
from airtunnel.errors import AirtunnelError, ConfigError, LoginFailed, LoginRequired, Temporary
from airtunnel.identity.endpoint import gateway_name
from airtunnel.identity.login.renew import refresh
from airtunnel.identity.store import StoreKey, TokenStore
from airtunnel.identity.tokenset import TokenSet, as_json, from_json, presented
from airtunnel.wire.control import Published

__all__ = [
    "TokenSet",
    "as_json",
    "drop_tokens",
    "fresh_tokens",
    "from_json",
    "load_tokens",
    "login_turn",
    "presented",
    "save_tokens",
]

LOCK_LIMIT = timedelta(seconds=30)
LOCK_PAUSE = 0.02
"""Seconds between two tries for the lock."""
LOGIN_PAUSE = 0.2
"""The same, while a person somewhere else is at the provider's page."""

logger = logging.getLogger(__name__)


def save_tokens(store: TokenStore, published: Published, gateway: str, tokens: TokenSet) -> None:
    """Keep the tokens, and remember that this person was the last to log in at this gateway. Raises as the store does."""
    store.put(_key(gateway, tokens.issuer, tokens.subject), as_json(tokens, published))
    users = _users(store, gateway, tokens.issuer)
    if users[:1] != [tokens.subject]:
        others = [one for one in users if one != tokens.subject]
        store.put(_key(gateway, tokens.issuer), json.dumps([tokens.subject, *others]))


def load_tokens(store: TokenStore, gateway: str, issuer: str, user: str | None = None) -> TokenSet | None:
    """The tokens of `user` (a subject), or of whoever logged in last; None if there are none. Raises as the store does."""
    if user is None:
        users = _users(store, gateway, issuer)
        if not users:
            return None
        user = users[0]
    text = store.get(_key(gateway, issuer, user))
    return None if text is None else from_json(text)


def drop_tokens(store: TokenStore, gateway: str, issuer: str) -> tuple[TokenSet, ...]:
    """Forget everybody who logged in at this gateway. Gives what was kept, for the provider to revoke."""
    dropped = []
    for user in _users(store, gateway, issuer):
        if (tokens := load_tokens(store, gateway, issuer, user)) is not None:
            dropped.append(tokens)
        store.drop(_key(gateway, issuer, user))
    store.drop(_key(gateway, issuer))
    return tuple(dropped)


async def fresh_tokens(
    store: TokenStore,
    published: Published,
    gateway: str,
    *,
    now: datetime,
    leeway: timedelta = timedelta(seconds=60),
    ca: Path | None = None,
    locks: Path | None = None,
) -> TokenSet:
    """Tokens that live for `leeway` at least, refreshed if need be: by one process at a time, so that rotation does no harm.

    gateway: the name under which they were saved; ca: the provider's authorities, as in `http_client`
    locks: the directory of lock files, by default the user's state directory
    Raises LoginRequired if nobody is logged in, or no longer; Temporary if another process holds the lock for 30 s; and what
    `refresh` and the store raise.
    """
    tokens = await _stored(store, published, gateway)
    if tokens.expires_at - leeway > now:
        return tokens
    late = Temporary(f"another airtunnel process has been renewing the login for {LOCK_LIMIT.total_seconds():g} s")
    async with _locked(locks or state_directory() / "locks", _key(gateway, published.issuer), limit=LOCK_LIMIT, late=late):
        # Whoever held the lock has refreshed for us: a second refresh with the old token would end the login.
        tokens = await _stored(store, published, gateway)
        if tokens.expires_at - leeway > now:
            return tokens
        renewed = await refresh(published, tokens, gateway=gateway, ca=ca, now=now)
        try:
            await asyncio.to_thread(save_tokens, store, published, gateway, renewed)
        except AirtunnelError as error:
            # The old refresh token is dead by now: what we hold in memory is all there is, and this command can use it.
            logger.warning("the renewed login could not be kept, so the next command will ask for a login: %s", error.message)
        return renewed


@asynccontextmanager
async def login_turn(
    gateway: str, issuer: str, *, limit: timedelta, wait: Callable[[], None], locks: Path | None = None
) -> AsyncIterator[bool]:
    """The one turn to log in at this gateway: True if another process had it before, so that there may be a login by now.

    It is another lock than that of refreshing, which must never be held while a person is asked.

    limit: how long to wait for it; wait: called once, if there is somebody to wait for
    Raises LoginFailed if the other one takes longer.
    """
    waits = False

    def waiting() -> None:
        nonlocal waits
        if not waits:
            waits = True
            wait()

    key = StoreKey(gateway_name(gateway), issuer, "login")
    message = f"another airtunnel has been logging in at {gateway} for {limit.total_seconds():g} s"
    late = LoginFailed(message, hint=f"airtunnel login {gateway}")
    async with _locked(locks or state_directory() / "locks", key, limit=limit, pause=LOGIN_PAUSE, late=late, waiting=waiting):
        yield waits


async def _stored(store: TokenStore, published: Published, gateway: str) -> TokenSet:
    tokens = await asyncio.to_thread(load_tokens, store, gateway, published.issuer)
    if tokens is None:
        raise LoginRequired(f"nobody is logged in at {gateway}", hint=f"airtunnel login {gateway}")
    return tokens


def _key(gateway: str, issuer: str, user: str = "") -> StoreKey:
    # One spelling, whatever was typed: else each spelling would want a login of its own.
    return StoreKey(gateway_name(gateway), issuer, user)


def _users(store: TokenStore, gateway: str, issuer: str) -> list[str]:
    """The subjects who logged in, the last one first."""
    try:
        users = json.loads(store.get(_key(gateway, issuer)) or "[]")
    except (ValueError, RecursionError):
        return []
    return [one for one in users if isinstance(one, str)] if isinstance(users, list) else []


@asynccontextmanager
async def _locked(
    directory: Path,
    key: StoreKey,
    *,
    limit: timedelta,
    late: AirtunnelError,
    pause: float = LOCK_PAUSE,
    waiting: Callable[[], None] = lambda: None,
) -> AsyncIterator[None]:
    """Hold the lock of one login. It is a file apart from the data, because the data's file is replaced while locked.

    limit: how long to wait, with `pause` seconds between two tries and a call of `waiting` at each; then `late` is raised
    """
    import fcntl

    file = _open_lock(directory, key)
    try:
        deadline = asyncio.get_running_loop().time() + limit.total_seconds()
        while not _taken(file, fcntl.LOCK_EX | fcntl.LOCK_NB):
            if asyncio.get_running_loop().time() > deadline:
                raise late
            waiting()
            await asyncio.sleep(pause)
        yield
    finally:
        os.close(file)  # which also gives the lock back


def _open_lock(directory: Path, key: StoreKey) -> int:
    parts = [key.gateway, key.issuer, key.user] if key.user else [key.gateway, key.issuer]
    name = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return os.open(directory / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(f"{directory}: no lock file can be made there: {error.strerror}") from error


def _taken(file: int, how: int) -> bool:
    import fcntl

    try:
        fcntl.flock(file, how)
    except BlockingIOError:
        return False
    return True
