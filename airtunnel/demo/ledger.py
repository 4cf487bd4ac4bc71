"""What the demo's provider remembers: device codes, logins and their refresh tokens, in memory, under one lock.

device code --approved, then polled--> Login --issue--> refresh token --spent for--> the next one, ...

A Login is a family of tokens. A refresh token that comes a second time was stolen, or its answer was: the whole family dies
(RFC 9700 section 4.14.2).
"""

import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from airtunnel.demo.people import Person

log = logging.getLogger(__name__)
Clock = Callable[[], datetime]

GRANT_TYPES = ("urn:ietf:params:oauth:grant-type:device_code", "refresh_token")
REFRESH_LIFE = timedelta(hours=10)
"""One working day, so that a person logs in once each morning."""
SLOW_DOWN = 5
"""Seconds that each too early poll adds to the interval (RFC 8628 section 3.5)."""
WRONG_CODES = 10
WRONG_WINDOW = timedelta(minutes=1)
"""At most so many wrong user codes in so long, over all visitors: 20^8 codes then last for ages (RFC 8628 section 5.1)."""


@dataclass(frozen=True, slots=True)
class Client:
    """The one registered client: public, as every command line is (RFC 8252 section 8.4).

    The methods are authlib's questions.
    """

    client_id: str

    def get_client_id(self) -> str:
        return self.client_id

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "none"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type in GRANT_TYPES


@dataclass(slots=True)
class DeviceCode:
    """One device authorization in flight. The methods are authlib's questions."""

    device_code: str = field(repr=False)
    user_code: str
    client_id: str
    scope: str
    expires_at: datetime
    interval: int
    clock: Clock = field(repr=False)
    polled_at: datetime | None = None
    person: Person | None = None
    approved: bool = False

    def get_client_id(self) -> str:
        return self.client_id

    def get_scope(self) -> str:
        return self.scope

    def get_user_code(self) -> str:
        return self.user_code

    def is_expired(self) -> bool:
        return self.clock() >= self.expires_at


@dataclass(slots=True)
class Login:
    """One approval by one person, and every token that came of it."""

    person: Person
    client_id: str
    scope: str
    at: datetime
    alive: bool = True


@dataclass(slots=True)
class Refresh:
    """One refresh token of a login."""

    login: Login
    expires_at: datetime
    spent: bool = False

    def check_client(self, client: Client) -> bool:
        return client.client_id == self.login.client_id

    def get_scope(self) -> str:
        return self.login.scope


class TooManyGuesses(Exception):
    """User codes are being guessed: nobody may enter one for a while."""


class Ledger:
    """The provider's memory. Every method may be called from any thread."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._lock = threading.Lock()
        self._codes: dict[str, DeviceCode] = {}
        self._refreshes: dict[str, Refresh] = {}
        self._access: dict[str, Login] = {}
        self._wrong: deque[datetime] = deque()

    def add_code(self, code: DeviceCode) -> None:
        """Remembers a new device code and forgets those that are long over."""
        with self._lock:
            horizon = self.clock() - timedelta(hours=1)
            self._codes = {key: one for key, one in self._codes.items() if one.expires_at > horizon}
            self._codes[code.device_code] = code

    def device(self, device_code: str) -> DeviceCode | None:
        """The authorization behind a device code, also when it has expired."""
        with self._lock:
            return self._codes.get(device_code)

    def hurried(self, code: DeviceCode) -> bool:
        """Whether this poll came too early; if so the interval has grown for good."""
        with self._lock:
            now, before = self.clock(), code.polled_at
            code.polled_at = now
            if before is None or now - before >= timedelta(seconds=code.interval):
                return False
            code.interval += SLOW_DOWN
            return True

    def enter(self, user_code: str) -> DeviceCode | None:
        """The undecided authorization behind what a person typed. Raises TooManyGuesses."""
        with self._lock:
            now = self.clock()
            while self._wrong and self._wrong[0] <= now - WRONG_WINDOW:
                self._wrong.popleft()
            if len(self._wrong) >= WRONG_CODES:
                raise TooManyGuesses
            if (found := self._undecided(user_code)) is None:
                self._wrong.append(now)
            return found

    def decide(self, user_code: str, person: Person, *, approved: bool) -> bool:
        """Notes what the person said. False if the code is no longer there to be decided."""
        with self._lock:
            code = self._undecided(user_code)
            if code is None:
                return False
            code.person, code.approved = person, approved
            return True

    def redeem(self, user_code: str) -> tuple[Login | None, bool] | None:
        """Who decided and whether they approved, or None while pending. An approval is given out once only."""
        with self._lock:
            code = next((one for one in self._codes.values() if one.user_code == user_code), None)
            if code is None or code.person is None:
                return None
            if not code.approved:
                return None, False
            del self._codes[code.device_code]
            return Login(code.person, code.client_id, code.scope, at=self.clock()), True

    def issue(self, login: Login) -> tuple[str, str]:
        """A new token id and a new refresh token of this login."""
        with self._lock:
            jti, token = secrets.token_urlsafe(12), secrets.token_urlsafe(36)
            self._access[jti] = login
            self._refreshes[token] = Refresh(login, self.clock() + REFRESH_LIFE)
            return jti, token

    def refresh(self, token: str) -> Refresh | None:
        """The refresh token's record, unless it is unknown or over. A second use kills the family."""
        with self._lock:
            record = self._refreshes.get(token)
            if record is None or (record.spent and self._reused(record)):
                return None
            return record if record.expires_at > self.clock() else None

    def spend(self, record: Refresh) -> bool:
        """Takes the refresh token out of use. False if the login was ended, or somebody was faster, which ends it."""
        with self._lock:
            if record.spent:
                self._reused(record)
                return False
            record.spent = True
            return record.login.alive

    def login_of(self, jti: str) -> Login | None:
        """The login behind an access token, unless it was revoked."""
        with self._lock:
            login = self._access.get(jti)
            return login if login and login.alive else None

    def revoke(self, login: Login) -> None:
        """Ends every token of this login."""
        with self._lock:
            login.alive = False
            log.info("revoked the login of %s", login.person.email)

    def _undecided(self, user_code: str) -> DeviceCode | None:
        for code in self._codes.values():
            if secrets.compare_digest(code.user_code.encode(), user_code.encode()):
                return code if code.person is None and not code.is_expired() else None
        return None

    def _reused(self, record: Refresh) -> bool:
        record.login.alive = False
        log.warning("a refresh token of %s was used twice: the login is over", record.login.person.email)
        return True
