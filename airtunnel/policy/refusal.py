"""A decision that says no, as the error that travels to whoever asked."""

from airtunnel.config.values import cut
from airtunnel.errors import Refused
from airtunnel.model import Decision, Request


def refused(decision: Decision, request: Request, request_id: str = "") -> Refused:
    """The refusal of a request. `request_id`: under which the audit knows it.

    The target's name is the client's own word, and might be anything: it comes out printable and short.
    """
    if decision.allowed:
        raise ValueError(f"{decision.rule} allows this request")
    return Refused(
        who=request.principal.name,
        target=cut(request.target),
        rule=decision.rule,
        place=str(decision.place),
        reasons=decision.reasons,
        request=request_id,
        for_now=decision.for_now,
        hint=decision.hint,
    )
