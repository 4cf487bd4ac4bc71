"""The gateway as a client of the target: dial, TLS, log in, cancel."""

import asyncio
import secrets
import ssl
from datetime import timedelta

from airtunnel.errors import ProtocolError, Unreachable
from airtunnel.model import Lease, Target
from airtunnel.tunnel.drive import drive
from airtunnel.tunnel.stream import SocketEnd
from airtunnel.wire import postgres

DIAL_LIMIT = timedelta(seconds=5)
"""For TCP and TLS together. A database that is there answers in milliseconds."""
LOGIN_LIMIT = timedelta(seconds=15)


async def dial(target: Target) -> SocketEnd:
    """A connection to the target's address, without TLS. Raises Unreachable, naming the target and why; never its address."""
    loop = asyncio.get_running_loop()
    address = target.address
    try:
        async with asyncio.timeout(DIAL_LIMIT.total_seconds()):
            if address.path:
                _, end = await loop.create_unix_connection(SocketEnd, address.path)
            else:
                _, end = await loop.create_connection(SocketEnd, address.host, address.port)
    except TimeoutError as error:
        raise _unreachable(target, f"no answer within {DIAL_LIMIT.total_seconds():g} s") from error
    except OSError as error:
        raise _unreachable(target, (error.strerror or type(error).__name__).lower()) from error
    return end


async def log_in(target: Target, startup: postgres.Startup, lease: Lease) -> tuple[SocketEnd, postgres.LoggedIn]:
    """A PostgreSQL connection, ready for queries. Raises Unreachable or TargetRefused."""
    end = await _dial_secure(target)
    try:
        flow = postgres.log_in(
            startup, lease.password, nonce=secrets.token_urlsafe(18), clear_allowed=bool(target.tls or target.address.path)
        )
        return end, await drive(flow, end, limit=LOGIN_LIMIT, peer=f"target {target.name}")
    except ConnectionError as error:
        end.abort()
        raise _unreachable(target, "it closed the connection during the login") from error
    except BaseException:
        end.abort()
        raise


async def cancel(target: Target, key: postgres.CancelRequest) -> None:
    """Ask the target to cancel what runs under its own `key`. Raises Unreachable."""
    end = await _dial_secure(target)
    try:
        end.write(postgres.encode_cancel(key))
        # The server answers by closing; waiting for that makes the order of things certain.
        async with asyncio.timeout(DIAL_LIMIT.total_seconds()):
            await end.read(1)
    except (TimeoutError, ConnectionError):
        pass
    finally:
        end.close()


async def _dial_secure(target: Target) -> SocketEnd:
    end = await dial(target)
    if target.address.path or not target.tls:
        return end
    try:
        async with asyncio.timeout(DIAL_LIMIT.total_seconds()):
            if not await drive(postgres.request_tls(), end, limit=DIAL_LIMIT, peer=f"target {target.name}"):
                raise Unreachable(
                    f"target {target.name} offers no TLS", hint=f"switch TLS on there, or say `tls: off` at {target.place}"
                )
            context = ssl.create_default_context(cafile=target.tls_ca)
            await end.start_tls(context, target.tls_name or target.address.host, DIAL_LIMIT.total_seconds())
    except ssl.SSLCertVerificationError as error:
        end.abort()
        raise Unreachable(
            f"target {target.name} has no good certificate: {error.verify_message.lower()}",
            hint=f"`tls: {{ca: ..., name: ...}}` at {target.place}",
        ) from error
    except (OSError, TimeoutError) as error:
        end.abort()
        raise _unreachable(target, f"TLS failed: {error}") from error
    except (Unreachable, ProtocolError):
        end.abort()
        raise
    return end


def _unreachable(target: Target, why: str) -> Unreachable:
    return Unreachable(f"target {target.name} is unreachable: {why}")
