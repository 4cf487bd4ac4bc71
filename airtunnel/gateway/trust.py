"""A change of the CAs' keys counts within seconds, without a restart. Running sessions go on: their end is their grant's.

all of it loads      ->  it holds
something is broken  ->  1. a key that is in no file of its CA any more is not trusted any more
                         2. user CA, host CA, host key: each that loads holds, each that does not is as it was before
                         3. the log says what is broken, and it is tried again
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable

from airtunnel.audit.record import Event, Record
from airtunnel.config.authority import AuthorityFiles
from airtunnel.errors import AuditUnavailable, ConfigError, Temporary
from airtunnel.gateway.authority import PARTS, Authority, left_over, load_authority
from airtunnel.gateway.ca import Files
from airtunnel.gateway.ids import new_id
from airtunnel.gateway.service import Service
from airtunnel.gateway.watch import Stamp, Watch, stamp

logger = logging.getLogger(__name__)

Prepare = Callable[[Authority], Awaitable[Callable[[], None]]]


def watch_authority(service: Service, prepare: Prepare) -> Watch:
    """What follows the files of the CAs. `prepare` does what may fail, and gives back what then makes the new keys count."""

    async def load() -> None:
        await take_keys(service, prepare)

    # Not seen yet: what changed since they were loaded at the start is found at the first look.
    return Watch("not all keys are taken, what is missing is as before", lambda: stamp_keys(service.config.authority), load)


async def take_keys(service: Service, prepare: Prepare) -> None:
    """Let the keys in the files hold. Raises ConfigError, Temporary, AuditUnavailable; what can be taken holds all the same."""
    files = service.config.authority
    try:
        await _take(service, prepare, await asyncio.to_thread(load_authority, files))
    except AuditUnavailable:
        raise
    except (ConfigError, Temporary):
        # First what must not wait: whoever dropped a key relies on it, and no fault elsewhere may keep it alive.
        await _take(service, prepare, await asyncio.to_thread(left_over, service.authority, files))
        for load in PARTS:
            with contextlib.suppress(ConfigError, Temporary):
                await _take(service, prepare, await asyncio.to_thread(load, service.authority, files))
        raise


async def _take(service: Service, prepare: Prepare, authority: Authority) -> None:
    changed = changes(service.authority, authority)
    use = await prepare(authority)
    for what in changed:
        # Written down before it holds: what cannot be recorded does not happen.
        await service.audit.write(Record(Event.AUTHORITY_CHANGED, request=new_id(service.clock()), detail=what))
    use()
    for what in changed:
        logger.info("authority: %s", what)


def changes(before: Authority, after: Authority) -> list[str]:
    """What trust is another after a change, each a phrase: `user CA: SHA256:... (signs), SHA256:... (old)`."""
    found = [f"{name}: {new}" for name, old, new in _pairs(before, after) if old != new]
    if before.host_key != after.host_key:
        found.append(f"host key: {after.host_key.get_fingerprint()}")
    return found


def _pairs(before: Authority, after: Authority) -> tuple[tuple[str, str, str], ...]:
    return (
        ("user CA", str(before.user_ca), str(after.user_ca)),
        ("host CA", str(before.host_ca), str(after.host_ca)),
    )


def stamp_keys(files: AuthorityFiles) -> Stamp:
    """What tells one state of the keys' files from another."""
    return stamp(*Files(files.user_ca).all(), *Files(files.host_ca).all(), files.host_key)
