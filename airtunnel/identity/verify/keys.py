"""An issuer's public keys, fetched when needed and kept within limits (RFC 7517).

Kept for 5 minutes, so that a key which the provider removes is dead within 10; up to 24 hours while the provider does not
answer, so that its outage is not ours. A token with an unknown key makes one request per 30 seconds, however many come.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from airtunnel.errors import AirtunnelError, Temporary, TokenRejected
from airtunnel.identity.answer import Json

if TYPE_CHECKING:
    from joserfc.jwk import Key

FRESH = timedelta(minutes=5)
KEPT = timedelta(hours=24)
PAUSE = timedelta(seconds=30)
RETRY = timedelta(seconds=5)
"""Between two tries while there are no keys at all."""
MAX_KEYS = 100
MIN_RSA = 2048
"""Bits: NIST SP 800-131A."""

logger = logging.getLogger(__name__)


class KeyCache:
    """The keys of one issuer. `fetch` gives its JWK set, `clock` the time; neither is asked before a key is."""

    def __init__(self, issuer: str, fetch: Callable[[], Awaitable[Json]], clock: Callable[[], datetime]) -> None:
        self._issuer = issuer
        self._fetch = fetch
        self._clock = clock
        self._lock = asyncio.Lock()
        self._keys: Sequence[Key] = ()
        self._fetched: datetime | None = None
        self._tried: datetime | None = None

    async def find(self, kid: str | None, algorithm: str, kinds: Sequence[str]) -> "Key":
        """The one key with this id, or without an id the only one there is, that may be used with the algorithm.

        kinds: the key types that the algorithm takes (`kty`)
        Raises TokenRejected if there is no such key; Temporary if the issuer's keys cannot be had.
        """
        if self._age() > KEPT:
            await self._renew(RETRY)
        elif self._age() > FRESH and not self._lock.locked():  # while one renews them, the others go on with the old ones
            await self._renew(PAUSE)
        if self._age() > KEPT:
            raise Temporary(f"the keys of {self._issuer} cannot be fetched, so nobody can be recognised now")
        if (key := self._match(kid, algorithm, kinds)) is not None:
            return key
        if kid is None:
            raise TokenRejected("the token does not say which key signed it")
        await self._renew(PAUSE)
        if (key := self._match(kid, algorithm, kinds)) is not None:
            return key
        raise TokenRejected("the token is signed with an unknown key")

    def _age(self) -> timedelta:
        return timedelta.max if self._fetched is None else self._clock() - self._fetched

    async def _renew(self, pause: timedelta) -> None:
        """Fetch the keys, unless that was tried within `pause`. A failure leaves the old ones."""
        async with self._lock:
            # Looked at under the lock: those who waited for it find that it is done.
            if self._tried is not None and self._clock() - self._tried < pause:
                return
            self._tried = self._clock()
            try:
                keys = read_keys(await self._fetch())
            except AirtunnelError as error:
                # The pause counts from here: else those who waited for a provider that hangs would each wait for it anew.
                self._tried = self._clock()
                logger.warning("the keys of %s could not be fetched: %s", self._issuer, error.message)
                return
            self._keys, self._fetched = keys, self._tried

    def _match(self, kid: str | None, algorithm: str, kinds: Sequence[str]) -> "Key | None":
        fits = [
            key
            for key in self._keys
            if key.key_type in kinds
            and key.get("use") in (None, "sig")
            and key.get("alg") in (None, algorithm)
            and (kid is None or key.get("kid") == kid)
        ]
        return fits[0] if len(fits) == 1 or (fits and kid is not None) else None


def read_keys(body: Json) -> "list[Key]":
    """The public signature keys of a JWK set. Keys of unknown or symmetric types, and weak ones, are left out.

    Raises Temporary if it is no JWK set, or one with too many keys.
    """
    entries = body.get("keys")
    if not isinstance(entries, list) or len(entries) > MAX_KEYS:
        raise Temporary("that is not a set of keys")
    return [key for entry in entries if isinstance(entry, dict) and (key := _read_key(entry)) is not None]


def _read_key(entry: Json) -> "Key | None":
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry
    from joserfc.util import urlsafe_b64decode

    if entry.get("kty") not in ("RSA", "EC", "OKP"):
        return None
    try:
        if entry["kty"] == "RSA" and int.from_bytes(urlsafe_b64decode(entry["n"].encode())).bit_length() < MIN_RSA:
            return None
        return JWKRegistry.import_key({**entry})
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        return None
