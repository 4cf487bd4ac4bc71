"""`audit search` and `audit show`: who reached what, when and why."""

import os
import shutil
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.command import command
from airtunnel.cli.options import JsonOption
from airtunnel.errors import UsageError

if TYPE_CHECKING:
    from airtunnel.audit.search import Entry
    from airtunnel.audit.timeline import Timeline
    from airtunnel.model import Place

PathsArgument = Annotated[
    list[Path] | None,
    typer.Argument(help="The audit's directory, or files of it. Default: audit.", metavar="[PATH]...", show_default=False),
]
WhoOption = Annotated[str | None, typer.Option(help="A person: the whole e-mail address, or part of the name.")]
DagOption = Annotated[str | None, typer.Option(help="A DAG, or a pattern as `billing*`.")]
SessionOption = Annotated[str | None, typer.Option(help="A session's id.")]
SinceOption = Annotated[str | None, typer.Option(help="From when on: -2h, today, yesterday, 2026-11-22, 2026-11-22T03:00Z.")]
UntilOption = Annotated[str | None, typer.Option(help="Until when.")]
DEFAULT = Path("audit")
LIMIT = 100
"""Rows of a table that nobody has limited: what a person looks through."""
HEAD = ("TIME", "WHO", "WHAT", "TARGET", "WHY", "DAG / TASK / RUN", "TOOK", "BYTES")


def register(group: typer.Typer) -> None:
    """Add the commands to the group `audit`."""
    command(group)(search)
    command(group)(show)


def search(
    paths: PathsArgument = None,
    who: WhoOption = None,
    workload: Annotated[str | None, typer.Option(help="A program: its name, or part of it.")] = None,
    target: Annotated[str | None, typer.Option(help="A target, or a pattern as `postgres-*`.")] = None,
    dag: DagOption = None,
    task: Annotated[str | None, typer.Option(help="A task, or a pattern.")] = None,
    run: Annotated[str | None, typer.Option(help="A DAG run's id, or a pattern.")] = None,
    session: SessionOption = None,
    request: Annotated[str | None, typer.Option(help="The id that a refusal or an error named.")] = None,
    event: Annotated[str | None, typer.Option(help="What happened: refused, connection, connection.closed, ...")] = None,
    source: Annotated[str | None, typer.Option("--from", help="The client's IP address.")] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    limit: Annotated[
        int | None, typer.Option(min=0, help=f"Only the latest so many; 0: all. Default: {LIMIT}, with --json all.")
    ] = None,
    json: JsonOption = False,
) -> int:
    """Find out who reached what, when and why.

    \b
    airtunnel audit search --who ana@example.com --since -24h
    airtunnel audit search --event refused --dag billing --since yesterday
    airtunnel audit search --run scheduled__2026-11-22T03:00:00+00:00 --json

    All that is asked for must hold. Times are this machine's. With --json the records come as they were written. Exit code
    1 if there is none.
    """
    from airtunnel.audit.search import Query

    start, end = _times(since, until)
    query = Query(who, workload, target, dag, task, run, session, request, _event(event), start, end, source)
    count = 0
    torn: list[Place] = []
    # None keeps all; what is kept beside a limit is no more than that.
    latest: deque[Entry] = deque(maxlen=(limit if limit is not None else LIMIT) or None)
    for entry in _entries(paths or [DEFAULT], torn):
        if query.matches(entry):
            count += 1
            if json and not limit:
                output.data(entry.line)
            else:
                latest.append(entry)
    if json:
        for entry in latest:
            output.data(entry.line)
    elif latest:
        _show_table(latest)
    _conclude(count, len(latest) if not json else count, torn)
    return 0 if count else 1


def show(
    run: Annotated[str | None, typer.Argument(help="A DAG run's id, or a pattern.", metavar="[RUN_ID]")] = None,
    paths: PathsArgument = None,
    dag: DagOption = None,
    session: SessionOption = None,
    who: WhoOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    html: Annotated[Path | None, typer.Option(help="Write a page to look at, print or send, instead.", dir_okay=False)] = None,
) -> int:
    """Show a DAG run, a session or a person's day as a picture.

    \b
    airtunnel audit show scheduled__2026-11-22T03:00:00+00:00
    airtunnel audit show scheduled__2026-11-22T03:00:00+00:00 --dag billing --html run.html
    airtunnel audit show --session 01kavc3v2r5q8m6x0c4n7t9e1b
    airtunnel audit show --who ana@example.com --since yesterday

    With --session or --who, the words that stand alone are files. Exit code 1 if there is nothing to show.
    """
    from airtunnel.audit.search import Query
    from airtunnel.audit.timeline import build_timeline

    if run is not None and (session or who):
        paths, run = [Path(run), *(paths or [])], None
    title = ", ".join([one for one in (run, session and f"session {session}", who) if one])
    if not title:
        raise UsageError("there is nothing to show", hint="airtunnel audit show RUN_ID")
    title += f" of {dag}" if dag else ""
    torn: list[Place] = []
    start, end = _times(since or ("-24h" if who else None), until)
    query = Query(run=run, session=session, who=who, dag=dag, since=start, until=end)
    timeline = build_timeline(_entries(paths or [DEFAULT], torn), query, title)
    if timeline is None:
        _conclude(0, 0, torn)
        return 1
    if html is not None:
        _write_html(timeline, html)
    else:
        _show_timeline(timeline)
    if run is not None and len(timeline.dags) > 1:
        output.note(f"This run's id is used by {len(timeline.dags)} DAGs: {', '.join(timeline.dags)}. Choose with --dag.")
    _conclude(1, 1, torn)
    return 0


def _event(word: str | None) -> str | None:
    from airtunnel.audit.record import Event
    from airtunnel.audit.search import known_event

    if word is None or known_event(word):
        return word
    import difflib

    close = difflib.get_close_matches(word, list(Event), 1)
    raise UsageError(f"nothing is called `{word}` in the audit", hint=f"--event {close[0] if close else ', '.join(Event)}")


def _times(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    from airtunnel.audit.search import parse_time

    now = datetime.now(UTC).astimezone()
    return (None if since is None else parse_time(since, now)), (None if until is None else parse_time(until, now))


def _entries(paths: Sequence[Path], torn: "list[Place]") -> "Iterator[Entry]":
    from airtunnel.audit.search import read_entries, whole_audit

    return read_entries(whole_audit(paths), torn.append)


def _conclude(count: int, shown: int, torn: "Sequence[Place]") -> None:
    for place in torn:
        output.note(f"{place} is not finished and was left out: it is being written, or the gateway died in it.")
    if not count:
        output.note("The audit has no such record.")
    elif shown < count:
        output.note(f"The latest {shown} of {count} records; --limit 0 shows all.")


def _show_table(entries: "Sequence[Entry]") -> None:
    """A line per record; where that is wider than the terminal, its why and its task on lines of their own."""
    head = (f"TIME, {entries[-1].time.astimezone().tzname()}", *HEAD[1:])
    rows = [_cells(entry) for entry in entries]
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    if not sys.stdout.isatty() or sum(widths) + 3 * (len(widths) - 1) <= shutil.get_terminal_size().columns:
        output.table(head, rows)
        return
    for row in (head, *rows):
        first = "  ".join(row[at].ljust(widths[at]) for at in (0, 1, 2, 3, 6, 7))
        output.data(output.clean(first.rstrip()))
        for at in (4, 5):
            if row[at] != "-" and row is not head:
                output.data(_wrapped("    " + output.clean(row[at])))


def _cells(entry: "Entry") -> tuple[str, ...]:
    from airtunnel.audit.story import amount, ended, length

    reason = entry.text("close_reason")
    work = [entry.text("tags", name) for name in ("dag_id", "task_id", "run_id")]
    said = [entry.text("tags", name) for name in ("ticket", "reason")]
    counts = entry.number("bytes_up"), entry.number("bytes_down")
    return (
        f"{entry.time.astimezone():%Y-%m-%d %H:%M:%S}",
        entry.who or "-",
        entry.event + (f": {ended(reason)}" if reason else ""),
        ", ".join(entry.targets) or "-",
        "; ".join(one for one in (entry.rule, entry.reasons, *said, entry.text("detail")) if one) or "-",
        " / ".join(one for one in work if one) or "-",
        "-" if entry.duration is None else length(entry.duration),
        "-" if counts == (None, None) else amount(sum(one or 0 for one in counts)),
    )


def _show_timeline(timeline: "Timeline") -> None:
    from airtunnel.audit.story import tell
    from airtunnel.cli.lanes import draw_lanes

    colour = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    simple = not (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf8")
    first, *rest = tell(timeline)
    output.data(output.clean(first) + "\n")
    for line in draw_lanes(timeline, shutil.get_terminal_size().columns, colour=colour, ascii_only=simple):
        output.data(line)
    output.data("")
    for line in rest:
        output.data(_wrapped(output.clean(line)))


def _wrapped(line: str) -> str:
    """Cut between words on a terminal; whole for a program."""
    import textwrap

    if not sys.stdout.isatty():
        return line
    width = max(shutil.get_terminal_size().columns, 40)
    return textwrap.fill(line, width, subsequent_indent="    ", break_on_hyphens=False)


def _write_html(timeline: "Timeline", path: Path) -> None:
    from airtunnel.audit.page import write_page

    try:
        path.write_text(write_page(timeline), "utf-8")
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    output.note(f"{path}: open it in a browser. It holds what the audit says; send it to nobody who may not read that.")
