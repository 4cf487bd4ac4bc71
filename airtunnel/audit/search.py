"""Finding records in audit files: read in order, one line at a time, and compared with what is asked for.

Nothing in a line is trusted: a file may have been edited, and names come from people, providers and DAGs.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from airtunnel.audit.chain import MAX_LINE
from airtunnel.audit.files import find_files, full_files, stem
from airtunnel.audit.record import Event
from airtunnel.config.values import parse_duration
from airtunnel.errors import ConfigError, UsageError
from airtunnel.model import Place

MOST = 10**15
"""Numbers above it are not counts of bytes or milliseconds but damage: a petabyte, or 30,000 years."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One record as it was read. `line` is its text, untouched; `time` is aware; `fields` is the JSON of any shape."""

    place: Place
    line: str
    time: datetime
    event: str
    fields: Mapping[str, Any]  # Any: JSON

    def text(self, *path: str) -> str:
        """The text or number under this path of names; `""` if there is none."""
        found: Any = self.fields  # Any: JSON
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        return str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""

    def number(self, name: str) -> int | None:
        """A count of bytes or milliseconds, or a line; None if it is missing or absurd."""
        found = self.fields.get(name)
        return found if type(found) is int and 0 <= found <= MOST else None

    @property
    def who(self) -> str:
        """The person's or workload's name, or else its subject at the issuer."""
        return next((one for part in ("user", "workload") for key in ("name", "sub") if (one := self.text(part, key))), "")

    @property
    def session(self) -> str:
        return self.text("sid")

    @property
    def targets(self) -> tuple[str, ...]:
        """A grant is for several."""
        return tuple(self.text("target").split())

    @property
    def duration(self) -> timedelta | None:
        found = self.number("duration_ms")
        return None if found is None else timedelta(milliseconds=found)

    @property
    def rule(self) -> str:
        """The deciding rule and where it stands: `engineers (policy/shop.yaml:12)`."""
        rule, place = self.text("policy", "rule"), self.text("policy", "file")
        return f"{rule} ({place}:{self.text('policy', 'line')})" if rule and place else rule

    @property
    def reasons(self) -> str:
        """What a refusal said was missing."""
        policy = self.fields.get("policy")
        found = policy.get("reasons") if isinstance(policy, Mapping) else None
        return "; ".join(one for one in found if isinstance(one, str)) if isinstance(found, list) else ""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for; what stays None does not matter. All that is given must hold.

    who: a person's e-mail address, whole; or part of their name; or their subject
    workload: the same of a program; target, dag, task, run: a name, or a pattern with `*`
    session, request: an id; event: a name as `refused`, or what stands before its dot; since, until: aware; source: an address
    """

    who: str | None = None
    workload: str | None = None
    target: str | None = None
    dag: str | None = None
    task: str | None = None
    run: str | None = None
    session: str | None = None
    request: str | None = None
    event: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    source: str | None = None

    def matches(self, entry: Entry) -> bool:
        """Whether this record is one of those asked for."""
        return (
            (self.since is None or entry.time >= self.since)
            and (self.until is None or entry.time < self.until)
            and (self.event is None or self.event in (entry.event, entry.event.partition(".")[0]))
            and (self.session is None or entry.session == self.session)
            and (self.request is None or entry.text("id") == self.request)
            and (self.source is None or entry.text("client_ip") == self.source)
            and (self.who is None or _is_called(self.who, entry, "user"))
            and (self.workload is None or _is_called(self.workload, entry, "workload"))
            and (self.target is None or any(_like(self.target, one) for one in entry.targets))
            and _like(self.dag, entry.text("tags", "dag_id"))
            and _like(self.task, entry.text("tags", "task_id"))
            and _like(self.run, entry.text("tags", "run_id"))
        )


def whole_audit(paths: Iterable[Path]) -> tuple[Path, ...]:
    """The files to read, in order, each once: a directory's, and before the file that is written to also its full ones.

    Raises UsageError for what is not there.
    """
    found = find_files(paths)
    return tuple(dict.fromkeys(one for path in found for one in (*(full_files(path) if stem(path) == path.stem else ()), path)))


def read_entries(paths: Iterable[Path], torn: Callable[[Place], None]) -> Iterator[Entry]:
    """The records of these files, in order, holding one line at a time.

    torn: called with the place of a last line without its end: it is being written, or was when the gateway died

    Raises ConfigError, which names file and line, for a line that is no record, and UsageError if a file cannot be read.
    """
    for path in paths:
        try:
            with path.open("rb") as file:
                # Not `for line in file`: one damaged file without a newline would be read into memory whole.
                lines = iter(lambda file=file: file.readline(MAX_LINE), b"")  # type: ignore[misc] # a default holds the variable
                for number, line in enumerate(lines, start=1):
                    place = Place(str(path), number)
                    if line.endswith(b"\n"):
                        yield _read(line, place)
                    elif len(line) < MAX_LINE:
                        torn(place)
                    else:
                        raise _damaged(place, f"a line of more than {MAX_LINE} bytes")
        except OSError as error:
            raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def parse_time(text: str, now: datetime) -> datetime:
    """A point in time: `-2h`, `-30m`, `today`, `yesterday`, or ISO 8601; in the time zone of `now` where it names none.

    Raises UsageError.
    """
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        match text:
            case "now":
                return now
            case "today":
                return midnight
            case "yesterday":
                return midnight - timedelta(days=1)
            case _ if text.startswith("-"):
                return now - parse_duration(text[1:])
            case _:
                moment = datetime.fromisoformat(text)
                return moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"`{text}` is not a time", hint="write -2h, today, yesterday, 2026-11-22 or 2026-11-22T03:00Z"
        ) from error


def known_event(word: str) -> bool:
    """Whether records can be of this event, or of this group of events."""
    return any(word in (str(event), str(event).partition(".")[0]) for event in Event)


def _read(line: bytes, place: Place) -> Entry:
    # We write ASCII only: what else stands in a line could steer the terminal that it is printed on.
    try:
        text = line.decode("ascii").removesuffix("\n")
        match json.loads(text):
            case {"time": str(time), "event": str(event), **_rest} as fields:
                moment = datetime.fromisoformat(time)
            case _:
                raise _damaged(place, "not a record of the audit")
    except (ValueError, RecursionError) as error:
        raise _damaged(place, "not a record of the audit") from error
    if moment.tzinfo is None or not 1970 <= moment.year < 9000:  # what cannot be moved to another time zone is no time
        raise _damaged(place, "its time is none of ours")
    return Entry(place, text, moment, event, fields)


def _damaged(place: Place, what: str) -> ConfigError:
    return ConfigError(f"{place}: {what}", hint=f"airtunnel audit verify {place.file}")


def _is_called(asked: str, entry: Entry, kind: str) -> bool:
    names = [entry.text(kind, "name").casefold(), entry.text(kind, "claims", "email").casefold()]
    asked = asked.casefold()
    if asked in (*names, entry.text(kind, "sub").casefold()):
        return asked != ""
    # ana@example.com is not diana@example.com.
    return asked != "" and "@" not in asked and any(asked in name for name in names)


def _like(pattern: str | None, name: str) -> bool:
    return pattern is None or pattern == name or (bool(name) and fnmatchcase(name, pattern))
