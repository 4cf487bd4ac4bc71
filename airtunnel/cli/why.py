"""`why REQUEST`: a refusal that somebody saw, told once more and in full."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airtunnel.cli import output
from airtunnel.cli.command import command
from airtunnel.cli.options import ContextOption, IdentityOption, JsonOption
from airtunnel.errors import NotFound, UsageError

if TYPE_CHECKING:
    from airtunnel.wire.refusal import Told


def register(app: typer.Typer) -> None:
    """Add the command."""
    command(app)(why)


async def why(
    request: Annotated[str, typer.Argument(help="The id in the error, behind `request`.", metavar="REQUEST")],
    audit: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Look in this audit file, or directory of them, and ask no gateway. Repeatable."),
    ] = None,
    context: ContextOption = None,
    identity: IdentityOption = None,
    json: JsonOption = False,
) -> None:
    """Say why a request was refused, and by which rule.

    \b
    airtunnel why 01ka2rjt0vm1v9b8z0k3fq6x7d
    airtunnel why 01ka2rjt0vm1v9b8z0k3fq6x7d --audit audit       for a gateway's operator

    The gateway tells it to whoever was refused, and to nobody else; it also says what its policy would decide now.
    """
    from airtunnel.gateway.ids import is_id

    number = request.lower()
    if not is_id(number):
        raise UsageError(f"`{request}` is no request id: 26 letters and digits, as in an error's line `request:`")
    told = await _ask(number, context, identity) if audit is None else _look_up(number, audit)
    if json:
        output.document(told.as_json())
    else:
        _show(told)
    if audit is not None:
        output.note(f"Next: {_explain(told)}")
    elif told.refusal.hint:
        output.note(f"hint: {told.refusal.hint}")


async def _ask(number: str, context: str | None, identity: str | None) -> "Told":
    from airtunnel.cli.account import open_account
    from airtunnel.tunnel.control import Control

    account = await open_account(context, identity)
    return await Control(account.gateway, account.ca).refusal(await account.present(), number)


def _look_up(number: str, paths: list[Path]) -> "Told":
    """The refusal in an audit. Raises NotFound if it is not there, or what stands there is no refusal by the policy."""
    from airtunnel.audit.asked import text_of, told_in
    from airtunnel.audit.lookup import find_record
    from airtunnel.audit.search import whole_audit
    from airtunnel.gateway.ids import id_time

    shown = " ".join(map(str, paths))
    # Each by itself: the files of several gateways do not stand in the order of time.
    found = (find_record([file], number, id_time(number)) for file in whole_audit(paths))
    record = next((one for one in found if one is not None), None)
    if record is None:
        when = f"{id_time(number):%Y-%m-%d %H:%M} UTC"
        raise NotFound(f"there is no request {number} in {shown}", hint=f"look in the audit of {when}, of all gateways")
    told = told_in(record)
    if told is None:
        detail = text_of(record, "detail")
        details = [f"{text_of(record, 'time')} {text_of(record, 'event')}", *([detail] if detail else [])]
        raise NotFound(f"request {number} was not refused by the policy", details=details)
    return told


def _show(told: "Told") -> None:
    refusal = told.refusal
    lines = [f"{refusal.who} may not reach {refusal.target}" if told.now else f"{refusal.who} was refused {refusal.target}"]
    rows = [("when", f"{told.at:%Y-%m-%d %H:%M:%S} {told.at.tzname()}"), ("rule", f"{refusal.rule} ({refusal.place})")]
    rows += [("" if at else "because", reason) for at, reason in enumerate(refusal.reasons)]
    rows += [("groups", ", ".join(told.groups))] if told.groups else []
    rows += [("tags", ", ".join(f"{tag}={value}" for tag, value in told.tags.said().items()))] if told.tags.said() else []
    rows += [("from", told.source)] if told.source else []
    rows += [("policy", f"commit {told.commit}")] if told.commit else []
    rows += [("request", refusal.request)]
    if told.now is not None:
        same = (told.now.rule, told.now.reasons) == (refusal.rule, refusal.reasons)
        rows.append(("now", "the same" if same else f"refused by {told.now.because}"))
    elif told.allowed_by:
        rows.append(("now", f"the policy would allow it, by {told.allowed_by}"))
    lines += [f"  {name:<9}{value}" for name, value in rows]
    for line in lines:
        output.data(output.clean(line))


def _explain(told: "Told") -> str:
    """The command that asks the policy the same once more, and says what came near."""
    refusal = told.refusal
    words = ["airtunnel", "policy", "explain", refusal.place.partition("/")[0], "--as", refusal.who, "--target", refusal.target]
    for group in told.groups:
        words += ["--group", group]
    for tag, value in told.tags.said().items():
        words += ["--tag", f"{tag}={value}"]
    words += ["--at", told.at.isoformat(timespec="seconds").replace("+00:00", "Z")]
    return shlex.join(words + (["--from", told.source] if told.source else []))
