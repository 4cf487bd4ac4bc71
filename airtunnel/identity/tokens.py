"""The logins that are kept between commands: who is logged in where, and tokens that are fresh."""

import asyncio
import hashlib
import json
import logging
import os
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path

from airtunnel.config.client import state_directory
from airtunnel.errors import AirtunnelError, ConfigError, LoginFailed, LoginRequired, Temporary
from airtunnel.identity.endpoint import gateway_name
from airtunnel.identity.login.renew import refresh, revoke
from airtunnel.identity.store import StoreKey, TokenStore
from airtunnel.identity.tokenset import TokenSet, as_json, from_json, presented
from airtunnel.wire.control import Published

__all__ = [
    "TokenSet",
    "as_json",
    "drop_tokens",
    "forget_login",
    "fresh_tokens",
    "from_json",
    "keep_login",
    "load_tokens",
    "logged_in",
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
    """Keep the tokens, and remember that this person was the last to log in at this gateway. Raises as the store does.

    Where another process may renew the login at the same moment, it is `keep_login` that must be used.
    """
    _put(store, published, gateway, tokens)
    users = logged_in(store, gateway, tokens.issuer)
    if users[:1] != (tokens.subject,):
        others = [one for one in users if one != tokens.subject]
        store.put(_key(gateway, tokens.issuer), json.dumps([tokens.subject, *others]))


def load_tokens(store: TokenStore, gateway: str, issuer: str, user: str | None = None) -> TokenSet | None:
    """The tokens of `user` (a subject), or of whoever logged in last; None if there are none. Raises as the store does."""
    if user is None:
        users = logged_in(store, gateway, issuer)
        if not users:
            return None
        user = users[0]
    text = store.get(_key(gateway, issuer, user))
    return None if text is None else from_json(text)


def drop_tokens(store: TokenStore, gateway: str, issuer: str, users: Collection[str] | None = None) -> tuple[TokenSet, ...]:
    """Forget these `users` (subjects) at this gateway, or everybody. Gives what was kept, for the provider to revoke.

    Where another process may renew the login at the same moment, it is `forget_login` that must be used.
    """
    known, dropped = logged_in(store, gateway, issuer), []
    going = known if users is None else users
    for user in going:
        if (tokens := load_tokens(store, gateway, issuer, user)) is not None:
            dropped.append(tokens)
        store.drop(_key(gateway, issuer, user))
    if left := [one for one in known if one not in going]:
        store.put(_key(gateway, issuer), json.dumps(left))
    else:
        store.drop(_key(gateway, issuer))
    return tuple(dropped)


def logged_in(store: TokenStore, gateway: str, issuer: str) -> tuple[str, ...]:
    """The subjects who logged in at this gateway, the last one first. Raises as the store does."""
    try:
        users = json.loads(store.get(_key(gateway, issuer)) or "[]")
    except (ValueError, RecursionError):
        return ()
    return tuple(one for one in users if isinstance(one, str)) if isinstance(users, list) else ()


async def keep_login(
    store: TokenStore, published: Published, gateway: str, tokens: TokenSet, *, locks: Path | None = None
) -> None:
    """`save_tokens` for a new login, while nobody renews the old one. Raises Temporary as `fresh_tokens` does."""
    async with _renewals(gateway, published.issuer, locks):
        await asyncio.to_thread(save_tokens, store, published, gateway, tokens)


async def forget_login(
    store: TokenStore, gateway: str, issuer: str, users: Collection[str] | None = None, *, locks: Path | None = None
) -> tuple[TokenSet, ...]:
    """`drop_tokens` while nobody renews them, so that what it gives is the latest. Raises Temporary as `fresh_tokens` does."""
    async with _renewals(gateway, issuer, locks):
        return await asyncio.to_thread(drop_tokens, store, gateway, issuer, users)


async def fresh_tokens(
    store: TokenStore,
    published: Published,
    gateway: str,
    *,
    now: datetime,
    user: str | None = None,
    leeway: timedelta = timedelta(seconds=60),
    ca: Path | None = None,
    locks: Path | None = None,
) -> TokenSet:
    """Tokens that live for `leeway` at least, refreshed if need be: by one process at a time, so that rotation does no harm.

    gateway: the name under which they were saved; user: whose (a subject), by default those of the last to log in
    ca: the provider's authorities, as in `http_client`
    locks: the directory of lock files, by default the user's state directory
    Raises LoginRequired if nobody is logged in, or no longer; Temporary if another process holds the lock for 30 s; and what
    `refresh` and the store raise.
    """
    tokens = await _stored(store, published, gateway, user)
    if tokens.expires_at - leeway > now:
        return tokens
    async with _renewals(gateway, published.issuer, locks):
        # Whoever held the lock has refreshed for us: a second refresh with the old token would end the login.
        tokens = await _stored(store, published, gateway, user)
        if tokens.expires_at - leeway > now:
            return tokens
        renewed = await refresh(published, tokens, gateway=gateway, ca=ca, now=now)
        return await _keep_renewed(store, published, gateway, tokens, renewed, ca)


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


async def _keep_renewed(
    store: TokenStore, published: Published, gateway: str, used: TokenSet, renewed: TokenSet, ca: Path | None
) -> TokenSet:
    """The tokens to go on with: `renewed`, kept in the place of `used`, unless a logout or a new login was quicker.

    Not everybody takes the lock: a person may empty the keyring by hand. Raises LoginRequired if the login is gone by now.
    """
    try:
        there = await asyncio.to_thread(load_tokens, store, gateway, published.issuer, used.subject)
        if there is not None and there.refresh_token == used.refresh_token:
            await asyncio.to_thread(_put, store, published, gateway, renewed)
            return renewed
    except AirtunnelError as error:
        # The old refresh token is dead by now: what we hold in memory is all there is, and this command can use it.
        logger.warning("the renewed login could not be kept, so the next command will ask for a login: %s", error.message)
        return renewed
    if there is not None:
        return there
    await revoke(published, renewed, ca=ca)
    raise _nobody(gateway)


async def _stored(store: TokenStore, published: Published, gateway: str, user: str | None) -> TokenSet:
    tokens = await asyncio.to_thread(load_tokens, store, gateway, published.issuer, user)
    if tokens is None:
        raise _nobody(gateway)
    return tokens


def _nobody(gateway: str) -> LoginRequired:
    return LoginRequired(f"nobody is logged in at {gateway}", hint=f"airtunnel login {gateway}")


def _put(store: TokenStore, published: Published, gateway: str, tokens: TokenSet) -> None:
    store.put(_key(gateway, tokens.issuer, tokens.subject), as_json(tokens, published))


def _key(gateway: str, issuer: str, user: str = "") -> StoreKey:
    # One spelling, whatever was typed: else each spelling would want a login of its own.
    return StoreKey(gateway_name(gateway), issuer, user)


def _renewals(gateway: str, issuer: str, locks: Path | None) -> AbstractAsyncContextManager[None]:
    """The lock of whatever changes a login that is kept. Never held while a person is asked."""
    late = Temporary(f"another airtunnel process has been renewing the login for {LOCK_LIMIT.total_seconds():g} s")
    return _locked(locks or state_directory() / "locks", _key(gateway, issuer), limit=LOCK_LIMIT, late=late)


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
