"""Everything that can go wrong in front of a person, as one tree.

AirtunnelError                     1
├── UsageError                     2   the command line does not make sense
│   ├── CommandNotExecutable     126   (exec) the command is there and cannot be run
│   └── CommandNotFound          127   (exec) there is no such command
├── Unreachable                   69   gateway, provider or target does not answer
│   ├── CredentialUnavailable     69   a source did not give a credential
│   └── TargetRefused             69   the target itself refused the gateway's login
├── AddressTaken                  73   the local port or socket is in use
├── Temporary                     75   try again later
│   └── AuditUnavailable          75   nothing may start that cannot be recorded
├── Refused                       77   the policy says no, and which rule of it
├── Forbidden                     77   (control) it is for the gateway's admins
├── NotFound                       1   (control) there is none, or none that the caller may see
├── ConfigError                   78   a file is wrong: names file, line and key
├── LoginRequired                 79   nobody is logged in, or no longer
│   └── LoginFailed               79   the login was denied, expired or broken
├── Ended                         80   the session was ended: expired, idle, revoked, ...
├── TokenRejected                 79   (gateway) a bearer token that is not accepted
├── WrongPassword                  1   (wire) a driver does not know the session's password
└── ProtocolError                  1   the peer broke its protocol
    └── Unsupported                1   (wire) what PostgreSQL can do, and a tunnel cannot

The number is the exit code (sysexits.h where it has one). Each error has a stable `code`, a message in lower case without a
period, and a hint: the next command to type.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self


class AirtunnelError(Exception):
    """The root of the tree. `details` are lines that stand between the message and the hint."""

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = tuple(details)

    def as_json(self) -> dict[str, Any]:  # Any: JSON
        """The error as an object of problem+json's spirit (RFC 9457): stable code, then words."""
        return {"code": self.code, "message": self.message, "details": list(self.details), "hint": self.hint}


class UsageError(AirtunnelError):
    """The command line, or a call, does not make sense."""

    code = "usage"
    exit_code = 2


class Unreachable(AirtunnelError):
    """A gateway, a provider or a target does not answer."""

    code = "unreachable"
    exit_code = 69


class CredentialUnavailable(Unreachable):
    """A credential source did not give a credential. The message names the source, never the secret."""

    code = "credential_unavailable"


class TargetRefused(Unreachable):
    """The target itself refused the gateway's login. `sqlstate` is the target's own code, where it sent one."""

    code = "target_refused"

    def __init__(
        self, message: str, *, sqlstate: str | None = None, hint: str | None = None, details: Sequence[str] = ()
    ) -> None:
        super().__init__(message, hint=hint, details=details)
        self.sqlstate = sqlstate


class AddressTaken(AirtunnelError):
    """The local port or socket is in use."""

    code = "address_taken"
    exit_code = 73


class Temporary(AirtunnelError):
    """Trying again later may help."""

    code = "temporary"
    exit_code = 75


class AuditUnavailable(Temporary):
    """The audit record could not be written, so nothing may start."""

    code = "audit_unavailable"


class Forbidden(AirtunnelError):
    """What was asked of the control API is for the gateway's admins."""

    code = "forbidden"
    exit_code = 77


class NotFound(AirtunnelError):
    """There is no such thing, or none that the caller may know of: the two are told alike."""

    code = "not_found"


class ConfigError(AirtunnelError):
    """A file is wrong. The message begins with `file:line:column` and names the key."""

    code = "config"
    exit_code = 78


class LoginRequired(AirtunnelError):
    """Nobody is logged in at this gateway, or no longer."""

    code = "login_required"
    exit_code = 79


class LoginFailed(LoginRequired):
    """The login was denied, has expired or broke."""

    code = "login_failed"


class TokenRejected(AirtunnelError):
    """A bearer token that the gateway does not accept. The message is for the audit, not for the bearer."""

    code = "token_rejected"
    exit_code = 79


class Ended(AirtunnelError):
    """A session or connection was ended. `reason` is one of model.EndReason."""

    code = "ended"
    exit_code = 80

    def __init__(self, message: str, *, reason: str, hint: str | None = None, details: Sequence[str] = ()) -> None:
        super().__init__(message, hint=hint, details=details)
        self.reason = reason


class ProtocolError(AirtunnelError):
    """The peer broke its protocol: whose fault it is stands in the message."""

    code = "protocol"


class Refused(AirtunnelError):
    """The policy says no.

    One shape wherever a refusal travels: the control API, the agent's socket, a database's error, the terminal, the audit.

    who: the principal's name; target: the target's name
    rule, place: the rule that decided, and its `file:line` (`default` and where the target stands, if no rule came near)
    reasons: what is missing, each a phrase ("needs group on-call; you are in: data-eng")
    request: the id under which the audit knows this refusal
    for_now: true where time alone may turn it into a yes (a time window), so that retrying makes sense
    """

    code = "refused"
    exit_code = 77

    def __init__(
        self,
        *,
        who: str,
        target: str,
        rule: str,
        place: str,
        reasons: Sequence[str],
        request: str = "",
        for_now: bool = False,
        hint: str | None = None,
    ) -> None:
        self.who = who
        self.target = target
        self.rule = rule
        self.place = place
        self.reasons = tuple(reasons)
        self.request = request
        self.for_now = for_now
        super().__init__(f"{who} may not reach {target}", hint=hint, details=[f"rule: {self.because}"])

    @property
    def because(self) -> str:
        """Rule, place and reasons in one line: `prod-is-for-on-call (policy/prod.yaml:12), needs group on-call; ...`."""
        return f"{self.rule} ({self.place}), " + "; ".join(self.reasons)

    def as_json(self) -> dict[str, Any]:  # Any: JSON
        return super().as_json() | {
            "who": self.who,
            "target": self.target,
            "rule": self.rule,
            "place": self.place,
            "reasons": list(self.reasons),
            "request": self.request,
            "for_now": self.for_now,
        }

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:  # Any: JSON
        """The refusal that `as_json` wrote. Missing fields become empty ones: an older gateway must not break the client."""
        hint = body.get("hint")
        return cls(
            who=str(body.get("who", "you")),
            target=str(body.get("target", "the target")),
            rule=str(body.get("rule", "default")),
            place=str(body.get("place", "")),
            reasons=[str(reason) for reason in body.get("reasons", ())],
            request=str(body.get("request", "")),
            for_now=bool(body.get("for_now", False)),
            hint=None if hint is None else str(hint),
        )
