"""What was asked and how it was refused, read back from the audit's records; record.py says how it got there.

Nothing in a record is trusted: what does not have the expected form is no request, and no refusal.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from airtunnel.audit.record import Event
from airtunnel.config.values import cut
from airtunnel.errors import ProtocolError, Refused
from airtunnel.model import Principal, PrincipalKind, Request, Tags
from airtunnel.policy.diff import Asked
from airtunnel.wire.control import tags_from
from airtunnel.wire.refusal import Told

Fields: TypeAlias = Mapping[str, Any]  # Any: JSON of any shape


def asked_in(record: Fields) -> Iterator[Asked]:
    """The requests that the policy decided in this record: one for each target; none, if it is of another event."""
    who, tags, at = principal_of(record), tags_of(record), time_of(record)
    if who is None or tags is None or at is None:
        return
    target = text_of(record, "target")
    match record.get("event"):
        case Event.GRANT_ISSUED:
            names = target.split()
        case Event.REFUSED:
            names = [target]  # a client's own word, spaces and all
        case _:
            return
    for name in names:
        yield Asked(Request(who, name, tags, text_of(record, "client_ip") or None), at)


def told_in(record: Fields) -> Told | None:
    """The refusal in a record; None if it is none."""
    who, at, policy = principal_of(record), time_of(record), record.get("policy")
    if record.get("event") != Event.REFUSED or who is None or at is None or not isinstance(policy, Mapping):
        return None
    refusal = Refused(
        who=who.name,
        target=cut(text_of(record, "target")),
        rule=text_of(policy, "rule"),
        place=f"{text_of(policy, 'file')}:{text_of(policy, 'line')}",
        reasons=_texts(policy.get("reasons")),
        request=text_of(record, "id"),
    )
    return Told(
        refusal,
        at,
        groups=who.groups,
        tags=tags_of(record) or Tags(),
        source=text_of(record, "client_ip") or None,
        commit=text_of(policy, "commit") or None,
    )


def principal_of(record: Fields) -> Principal | None:
    """Who asked, as the issuer had proven it then; None if the record does not say."""
    kind = PrincipalKind.WORKLOAD if "workload" in record else PrincipalKind.PERSON
    proven = record.get("workload" if kind is PrincipalKind.WORKLOAD else "user")
    if not isinstance(proven, Mapping):
        return None
    claims = proven.get("claims")
    return Principal(
        kind=kind,
        issuer=text_of(proven, "idp"),
        subject=text_of(proven, "sub"),
        name=text_of(proven, "name"),
        groups=_texts(proven.get("groups")),
        claims=claims if isinstance(claims, Mapping) else {},
    )


def tags_of(record: Fields) -> Tags | None:
    """What the request said of its purpose; None if that cannot be read."""
    said = record.get("tags") or {}
    try:
        return tags_from(said) if isinstance(said, Mapping) else None
    except ProtocolError:
        return None


def time_of(record: Fields) -> datetime | None:
    """When it was written down, aware."""
    try:
        moment = datetime.fromisoformat(text_of(record, "time"))
    except ValueError:
        return None
    # What cannot be moved to another time zone is no time.
    return moment if moment.tzinfo is not None and 1970 <= moment.year < 9000 else None


def text_of(fields: Fields, name: str) -> str:
    """A text or a number of a record, as text; `""` if there is none."""
    value = fields.get(name)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _texts(value: Any) -> tuple[str, ...]:  # Any: JSON
    return tuple(one for one in value if isinstance(one, str)) if isinstance(value, list) else ()
