"""A refusal as it is told again later: the body of GET /v1/requests/ID, for whoever was refused.

200  {"code":"refused","who":..,"rule":..,"place":..,"reasons":[..],"at":..,"commit":..,"tags":{..},"now":{..} or null,..}
404  problem+json: there is no such request, or it was another's; nobody can tell which
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from airtunnel.errors import Refused
from airtunnel.model import Tags
from airtunnel.wire.body import Json, decode, dump, optional, texts, time
from airtunnel.wire.control import tags_from

PATH = "/v1/requests/"


@dataclass(frozen=True, slots=True)
class Told:
    """A refusal out of the audit.

    at: when; groups, tags, source: as they were then; commit: of the policy that decided, where known
    now: the refusal that the same request would meet now; allowed_by: or the rule that would allow it, with its place
    """

    refusal: Refused
    at: datetime
    groups: tuple[str, ...] = ()
    tags: Tags = field(default_factory=Tags)
    source: str | None = None
    commit: str | None = None
    now: Refused | None = None
    allowed_by: str | None = None

    def as_json(self) -> dict[str, Any]:  # Any: JSON
        """As one object: the refusal's own fields, and the others beside them."""
        return self.refusal.as_json() | {
            "at": self.at.isoformat(),
            "groups": list(self.groups),
            "tags": self.tags.said(),
            "source": self.source,
            "commit": self.commit,
            "now": None if self.now is None else self.now.as_json(),
            "allowed_by": self.allowed_by,
        }

    def encode(self) -> bytes:
        return dump(self.as_json())

    @classmethod
    def decode(cls, data: bytes) -> "Told":
        return decode(data, "the gateway's answer about a request", cls._from_json)

    @classmethod
    def _from_json(cls, body: Json) -> "Told":
        now = body.get("now")
        return cls(
            refusal=Refused.from_json(body),
            at=time(body, "at"),
            groups=texts(body, "groups") if body.get("groups") else (),
            tags=tags_from(body.get("tags") or {}),
            source=optional(body, "source"),
            commit=optional(body, "commit"),
            now=None if now is None else Refused.from_json(now),
            allowed_by=optional(body, "allowed_by"),
        )
