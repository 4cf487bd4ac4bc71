"""The control API's bodies for what runs: sessions, and locks.

GET    /v1/sessions                       -> SessionList    mine
GET    /v1/sessions?all=1                 -> SessionList    everybody's                                     (admins)
DELETE /v1/sessions                       -> Killed         all of mine
DELETE /v1/sessions/ID                    -> Killed         one of mine, or (admins) anybody's; else 404
GET    /v1/locks                          -> LockList                                                       (admins)
POST   /v1/locks         LockRequest      -> 201 LockSet                                                    (admins)
DELETE /v1/locks?kind=user&name=NAME      -> 204, or 404                                                    (admins)

All with a token. Who is no admin gets 403 `forbidden`; an id that does not exist and one of another person are told alike.
"""

from dataclasses import asdict, dataclass, field
from datetime import datetime

from airtunnel.model import Tags
from airtunnel.wire.body import Json, decode, dump, number, optional, text, texts, time
from airtunnel.wire.control import tags_from


@dataclass(frozen=True, slots=True)
class SessionEntry:
    """A session that runs, or a grant with which one may still begin.

    running: false where nobody has connected with the grant yet; gateway: the replica that it runs on, where it runs
    since: when it was granted; ends_at: when it ends at the latest; source: the client's address
    """

    session: str
    who: str
    kind: str
    targets: tuple[str, ...]
    since: datetime
    ends_at: datetime
    running: bool = True
    connections: int = 0
    bytes_up: int = 0
    bytes_down: int = 0
    source: str | None = None
    gateway: str | None = None
    tags: Tags = field(default_factory=Tags)

    def as_json(self) -> Json:
        """The entry as a JSON object."""
        return asdict(self) | {
            "since": self.since.isoformat(),
            "ends_at": self.ends_at.isoformat(),
            "tags": self.tags.said(),
        }


@dataclass(frozen=True, slots=True)
class SessionList:
    """Sessions, the oldest first. left_out: how many more there are than an answer holds."""

    who: str
    sessions: tuple[SessionEntry, ...]
    left_out: int = 0

    def encode(self) -> bytes:
        return dump({"who": self.who, "sessions": [one.as_json() for one in self.sessions], "left_out": self.left_out})

    @classmethod
    def decode(cls, data: bytes) -> "SessionList":
        return decode(
            data,
            "the gateway's list of sessions",
            lambda body: cls(text(body, "who"), tuple(_session(one) for one in body["sessions"]), _count(body, "left_out")),
        )


@dataclass(frozen=True, slots=True)
class Killed:
    """The sessions that were ended."""

    sessions: tuple[str, ...]

    def encode(self) -> bytes:
        return dump({"sessions": self.sessions})

    @classmethod
    def decode(cls, data: bytes) -> "Killed":
        return decode(data, "the gateway's answer", lambda body: cls(texts(body, "sessions")))


@dataclass(frozen=True, slots=True)
class LockRequest:
    """seconds: how long it shall hold, by the gateway's clock; None until somebody lifts it."""

    kind: str
    name: str
    reason: str
    seconds: int | None = None

    def encode(self) -> bytes:
        return dump(asdict(self))

    @classmethod
    def decode(cls, data: bytes) -> "LockRequest":
        return decode(
            data,
            "the lock",
            lambda body: cls(
                text(body, "kind"),
                text(body, "name"),
                text(body, "reason"),
                None if body.get("seconds") is None else number(body, "seconds"),
            ),
        )


@dataclass(frozen=True, slots=True)
class LockEntry:
    """A lock that holds. by: who set it; until: None until somebody lifts it."""

    kind: str
    name: str
    reason: str
    by: str
    since: datetime
    until: datetime | None = None

    def as_json(self) -> Json:
        """The entry as a JSON object."""
        until = None if self.until is None else self.until.isoformat()
        return asdict(self) | {"since": self.since.isoformat(), "until": until}


@dataclass(frozen=True, slots=True)
class LockSet:
    """The lock that holds now, and how many sessions it ends. None, for a name that nobody has, is worth a second look."""

    lock: LockEntry
    ends: int

    def encode(self) -> bytes:
        return dump({"lock": self.lock.as_json(), "ends": self.ends})

    @classmethod
    def decode(cls, data: bytes) -> "LockSet":
        return decode(data, "the gateway's lock", lambda body: cls(_lock(body["lock"]), number(body, "ends")))


@dataclass(frozen=True, slots=True)
class LockList:
    """The locks that hold, the oldest first."""

    locks: tuple[LockEntry, ...]

    def encode(self) -> bytes:
        return dump({"locks": [one.as_json() for one in self.locks]})

    @classmethod
    def decode(cls, data: bytes) -> "LockList":
        return decode(data, "the gateway's list of locks", lambda body: cls(tuple(_lock(one) for one in body["locks"])))


def _session(body: Json) -> SessionEntry:
    return SessionEntry(
        session=text(body, "session"),
        who=text(body, "who"),
        kind=text(body, "kind"),
        targets=texts(body, "targets"),
        since=time(body, "since"),
        ends_at=time(body, "ends_at"),
        running=body.get("running", True) is True,
        connections=_count(body, "connections"),
        bytes_up=_count(body, "bytes_up"),
        bytes_down=_count(body, "bytes_down"),
        source=optional(body, "source"),
        gateway=optional(body, "gateway"),
        tags=tags_from(body.get("tags", {})),
    )


def _lock(body: Json) -> LockEntry:
    until = None if body.get("until") is None else time(body, "until")
    return LockEntry(text(body, "kind"), text(body, "name"), text(body, "reason"), text(body, "by"), time(body, "since"), until)


def _count(body: Json, name: str) -> int:
    return 0 if body.get(name) is None else number(body, name)
