"""What a provider's refusal means: whose fault it is, and what in the gateway's configuration to look at (RFC 6749 5.2)."""

from airtunnel.errors import LoginFailed, Temporary
from airtunnel.identity.answer import printable
from airtunnel.wire.control import Published

PASSING = ("temporarily_unavailable", "server_error")


def refusal(code: str | None, said: str, published: Published, doing: str) -> LoginFailed | Temporary:
    """The error for what a provider answered.

    code: OAuth's, if there was one; said: the refusal in the provider's words, safe to print
    doing: what was asked of it, after "does not": `let airtunnel-cli log in`
    """
    if code in PASSING:
        return Temporary(f"{published.issuer} cannot do it now: {said}", hint=again(published))
    details = _look(code, published)
    return LoginFailed(f"{published.issuer} does not {doing}: {said}", details=details, hint=again(published))


def again(published: Published) -> str:
    """What to type to try once more. `published.name` is the gateway as the person calls it."""
    return f"airtunnel login {published.name}"


def operator(setting: str, what: str) -> str:
    """A line that sends the person to the one who can help, and that one to the line to change."""
    return f"this is for the gateway's operator: {what} (`{setting}` of its `providers` in gateway.yaml)"


def _look(code: str | None, published: Published) -> tuple[str, ...]:
    client = printable(published.client_id)
    match code:
        case "invalid_client":
            return (operator("client_id, client_secret", f"the provider does not know client {client}, or its secret"),)
        case "unauthorized_client" | "unsupported_grant_type" | "unsupported_response_type":
            return (operator("flows", f"the provider must allow this flow for client {client}"),)
        case "invalid_scope":
            scopes = printable(" ".join(published.scopes))
            return (operator("scopes", f"client {client} may not ask for all of: {scopes}"),)
        case "invalid_target":
            asked = printable(", ".join(f"{name}={value}" for name, value in published.request.items())) or "nothing"
            return (operator("request", f"the provider does not know the resource or audience; asked for: {asked}"),)
        case "login_required" | "interaction_required" | "consent_required" | "account_selection_required":
            return (operator("request", "a `prompt` of none lets nobody log in who is not logged in already"),)
        case "invalid_dpop_proof":
            return ("the provider refuses the proof of this machine's key: is this machine's clock right?",)
    return ()
