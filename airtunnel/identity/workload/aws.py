"""An AWS role's identity: STS signs a token for an audience (GetWebIdentityToken), if the account has that switched on.

https://docs.aws.amazon.com/STS/latest/APIReference/API_GetWebIdentityToken.html
"""

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar
from urllib.parse import urlsplit

from airtunnel.errors import AirtunnelError, ConfigError, LoginFailed, LoginRequired, Temporary, Unreachable
from airtunnel.identity.answer import printable
from airtunnel.identity.workload.accept import by_provider
from airtunnel.wire.control import Published, WorkloadIssuer

T = TypeVar("T")

LIFE = 300
"""Seconds, of 60 to 3600: the default, said aloud. A grant is asked for at once, so it need not live long."""
CALL = 2.0
"""Seconds for connecting, and again for reading."""
GLOBAL = "sts.amazonaws.com"

_DISABLED = ("the account's administrator, once:", "  aws iam enable-outbound-web-identity-federation")
_POLICY = (
    "in the role's policy:",
    '  {"Effect": "Allow", "Action": "sts:GetWebIdentityToken", "Resource": "*",',
    '   "Condition": {"ForAnyValue:StringEquals": {"sts:IdentityTokenAudience": "AUDIENCE"}}}',
)
_STALE = ("ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "SignatureDoesNotMatch", "IncompleteSignature")
_BUSY = ("Throttling", "ThrottlingException", "RequestLimitExceeded", "ServiceUnavailable", "InternalFailure")


@dataclass(frozen=True, slots=True)
class Aws:
    """A workload in AWS, or wherever botocore finds credentials."""

    environment: Mapping[str, str] = field(repr=False)
    name: str = "aws"
    where: str = "AWS STS's answer"

    def wants(self, published: Published) -> tuple[WorkloadIssuer, ...]:
        return by_provider(published, self.name)

    def advice(self, audience: str) -> tuple[str, ...]:
        return ()

    async def token(self, wanted: WorkloadIssuer, published: Published) -> str:
        """A new token of the role. Raises LoginRequired, LoginFailed, ConfigError, Unreachable, Temporary."""
        region = self.environment.get("AWS_REGION") or self.environment.get("AWS_DEFAULT_REGION")
        return await _in_thread(lambda: _ask(wanted.audience, region))


def _ask(audience: str, region: str | None) -> str:
    """Blocks. All of botocore's errors end here, and not as causes: they quote signed requests, and answers with tokens."""
    try:
        import botocore.session
        from botocore.config import Config
        from botocore.exceptions import ClientError
    except ImportError as error:
        raise LoginRequired("the identity aws needs botocore", hint="pip install 'airtunnel[aws]'") from error
    try:
        session = botocore.session.Session()
        # The global endpoint does not have this call.
        session.set_config_variable("sts_regional_endpoints", "regional")
        if region is not None:
            session.set_config_variable("region", region)
        limits = Config(connect_timeout=CALL, read_timeout=CALL, retries={"total_max_attempts": 1, "mode": "standard"})
        client = session.create_client("sts", config=limits)
        if urlsplit(client.meta.endpoint_url).hostname == GLOBAL:
            raise _no_region()
        answer = client.get_web_identity_token(Audience=[audience], SigningAlgorithm="ES384", DurationSeconds=LIFE)
        return str(answer["WebIdentityToken"])
    except ClientError as error:
        raise _refused(error.response, audience) from None
    except AirtunnelError:
        raise
    except Exception as error:  # credentials come from anywhere, and not all of botocore's errors have one root
        raise _broken(error) from None


def _refused(response: Mapping[str, object], audience: str) -> AirtunnelError:
    told, meta = response.get("Error"), response.get("ResponseMetadata")
    code = printable(str(told.get("Code", ""))) if isinstance(told, Mapping) else ""
    status = meta.get("HTTPStatusCode") if isinstance(meta, Mapping) else None
    if code in ("AccessDenied", "AccessDeniedException"):
        lines = (*_POLICY[:-1], _POLICY[-1].replace("AUDIENCE", audience))
        return LoginFailed("AWS STS refuses this role a token: it may not call sts:GetWebIdentityToken", details=lines)
    if code.startswith("OutboundWebIdentityFederationDisabled"):
        return LoginFailed("this AWS account gives its roles no tokens for the world outside", details=_DISABLED)
    if code.startswith("SessionDurationEscalation"):
        return LoginFailed("the AWS credentials here expire too soon for a token", hint="aws sts get-caller-identity")
    if code in _STALE:
        return LoginFailed(f"AWS STS does not take the credentials here: {code}", hint="aws sts get-caller-identity")
    if code in _BUSY or status == 429 or (isinstance(status, int) and status >= 500):
        return Temporary(f"AWS STS cannot answer now: {code[:80]}")
    return LoginFailed(f"AWS STS gave no token: {code[:80] or f'HTTP {status}'}", hint="aws sts get-caller-identity")


def _broken(error: Exception) -> AirtunnelError:
    from botocore import exceptions as known
    from botocore.parsers import ResponseParserError

    match error:
        case ResponseParserError() | KeyError():
            return Unreachable("what answers is not AWS STS", hint="env | grep -E 'AWS_ENDPOINT_URL|_PROXY'")
        case known.NoRegionError():
            return _no_region()
        case known.NoCredentialsError() | known.PartialCredentialsError():
            return LoginRequired("there are no AWS credentials here", hint="aws sts get-caller-identity")
        case known.ProfileNotFound() | known.ConfigParseError() | known.ConfigNotFound() | known.InvalidRegionError():
            return ConfigError(f"the AWS configuration cannot be used: {printable(str(error))[:200]}")
        case known.HTTPClientError() | known.ConnectionError():
            return Unreachable(f"AWS STS does not answer: {type(error).__name__}")
        case known.ParamValidationError():
            return LoginFailed("AWS STS makes no token for the audience that the gateway publishes")
    # Not its text: what a helper program for credentials wrote may be in it.
    return LoginRequired(f"AWS gave no token: {type(error).__name__}", hint="aws sts get-caller-identity")


def _no_region() -> LoginRequired:
    return LoginRequired("AWS needs a region here: its global endpoint gives no tokens", hint="export AWS_REGION=eu-central-1")


async def _in_thread(work: Callable[[], T]) -> T:
    """What `work` gives, done in a thread that is left behind when it hangs: credentials may come from any program."""
    loop = asyncio.get_running_loop()
    outcome: asyncio.Future[T] = loop.create_future()

    def settle(set_result: Callable[[], None]) -> None:
        if not outcome.done():
            set_result()

    def tell(set_result: Callable[[], None]) -> None:
        try:
            loop.call_soon_threadsafe(settle, set_result)
        except RuntimeError:
            return  # the loop is closed: nobody waits any more

    def run() -> None:
        try:
            result = work()
        except Exception as error:  # whatever it is, it belongs to the one who waits
            failed = error
            tell(lambda: outcome.set_exception(failed))
        else:
            tell(lambda: outcome.set_result(result))

    threading.Thread(target=run, name="aws", daemon=True).start()
    return await outcome
