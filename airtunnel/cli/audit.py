"""`audit verify`: whether anybody has touched what was written down."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airtunnel.cli import audit_show, output
from airtunnel.cli.command import command
from airtunnel.cli.options import JsonOption
from airtunnel.errors import AirtunnelError

if TYPE_CHECKING:
    from airtunnel.audit.chain import Verified
    from airtunnel.audit.verify import Audit


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
    command(group)(verify)
    audit_show.register(group)

    @group.callback()
    def audit() -> None:
        """Look after the gateway's record of what happened.

        \b
        airtunnel audit verify audit
        """

    app.add_typer(group, name="audit")


def verify(
    paths: Annotated[
        list[Path], typer.Argument(help="The audit's directory, or files of it in order.", metavar="FILE...", exists=True)
    ],
    checkpoints: Annotated[
        Path | None,
        typer.Option(
            help="The signed checkpoints, best a copy that the gateway could not change.", exists=True, dir_okay=False
        ),
    ] = None,
    public_key: Annotated[
        Path | None, typer.Option(help="What the checkpoints are signed with: audit.pub.", exists=True, dir_okay=False)
    ] = None,
    json: JsonOption = False,
) -> int:
    """Check that nobody changed the audit.

    \b
    airtunnel audit verify audit
    airtunnel audit verify audit --checkpoints /mnt/copy/audit.checkpoints --public-key ~/audit.pub

    Each record holds the hash of the one before it, and signed checkpoints hold how far the audit was. Exit code 0 if no
    record was changed, removed, put in or moved, and none is missing at the end, 1 otherwise. Checkpoints and key are
    taken from beside the files by default. Whoever could cut off records could cut those, too: only a copy kept
    elsewhere tells.
    """
    import time

    from airtunnel.audit.verify import verify_audits

    began = time.perf_counter()
    audits = list(verify_audits(paths, checkpoints, public_key))
    seconds = time.perf_counter() - began
    count = sum(audit.count for audit in audits)
    if json:
        output.document(_answer(audits) | {"seconds": round(seconds, 3), "per_second": round(count / seconds)})
    for audit in audits:
        _tell(audit, silent=json)
    if not json:
        output.note(f"{count} records in {seconds:.1f} s, {count / seconds:.0f}/s")
    return 1 if any(audit.finding for audit in audits) else 0


def _tell(audit: "Audit", *, silent: bool) -> None:
    """What was found in one audit, in the order of its files."""
    for path, found in audit.files:
        if not silent and found.broken is None:
            output.data(output.clean(f"{path}: {_extent(found)}"))
    if audit.finding is not None:
        before = f"the {audit.count} records before it are as they were written"
        output.fail(AirtunnelError(f"{audit.finding}", details=(f"found: {audit.finding.fault}", before)))
    elif not silent:
        output.note(_sealed(audit))


def _extent(found: "Verified") -> str:
    if not found.count:
        return "no records"
    last = found.first + found.count - 1
    return f"records {found.first} to {last}, unbroken, {found.first_time} to {found.last_time}"


def _sealed(audit: "Audit") -> str:
    """How far signatures reach."""
    signed, end = audit.signed, audit.end.seq
    if signed is None or signed.last is None:
        return "no checkpoints were looked at: if records were cut off at the end, this does not show"
    after = end - 1 - signed.last.seq
    what = f"signed up to record {signed.last.seq} at {signed.last.time}" + (f", {after} records follow" if after > 0 else "")
    return f"{signed.file}: {what}; key {', '.join(signed.keys)}"


def _answer(audits: Sequence["Audit"]) -> dict[str, Any]:  # Any: JSON
    """The first audit with a fault, or the last one, stands at the top; all of them are in `files`."""
    shown = next((audit for audit in audits if audit.finding), audits[-1])
    broken, signed = shown.finding, shown.signed
    return {
        "ok": broken is None,
        "records": sum(audit.count for audit in audits),
        "head": shown.end.head,
        "broken": broken
        and {
            "file": str(broken.file),
            "line": broken.line,
            "seq": broken.seq,
            "fault": str(broken.fault),
            "message": broken.message,
        },
        "signed": signed.last.seq if signed and signed.last else None,
        "keys": list(signed.keys) if signed else [],
        "files": [_file(path, found) for audit in audits for path, found in audit.files],
    }


def _file(path: Path, found: "Verified") -> dict[str, Any]:  # Any: JSON
    return {
        "file": str(path),
        "first": found.first,
        "records": found.count,
        "from": found.first_time,
        "to": found.last_time,
        "ok": found.broken is None,
    }
