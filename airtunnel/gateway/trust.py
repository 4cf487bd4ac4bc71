"""A change of the CAs' keys counts within seconds, without a restart; broken keys never replace good ones.

files changed, or SIGHUP  ->  load  ->  good:    they hold from now on; running sessions go on, their end is their grant's
                                    ->  broken:  the old ones hold, and the log says what is wrong, and in which file
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from airtunnel.audit.record import Event, Record
from airtunnel.config.authority import AuthorityFiles
from airtunnel.errors import AirtunnelError
from airtunnel.gateway.authority import Authority, load_authority
from airtunnel.gateway.ca import Files
from airtunnel.gateway.ids import new_id
from airtunnel.gateway.reload import LOOK, Stamp, stamp
from airtunnel.gateway.service import Service

logger = logging.getLogger(__name__)


class AuthorityWatch:
    """Follows the files of the CAs. `prepare` does what may fail, and gives back what then makes the new keys count."""

    def __init__(self, service: Service, prepare: Callable[[Authority], Awaitable[Callable[[], None]]]) -> None:
        self._service = service
        self._prepare = prepare
        self._seen: Stamp | None = None  # what changed since they were loaded at the start is found at the first look
        self._asked = asyncio.Event()
        self._fault = ""

    def reload(self) -> None:
        """Load again, whether the files look changed or not."""
        self._asked.set()

    async def run(self) -> None:
        """Follow for ever."""
        while True:
            try:
                async with asyncio.timeout(LOOK.total_seconds()):
                    await self._asked.wait()
            except TimeoutError:
                pass
            now = await asyncio.to_thread(stamp_keys, self._service.config.authority)
            if now != self._seen or self._asked.is_set():
                self._asked.clear()
                # Tried again at the next look if it fails: what failed may be the agent that signs, and not the files.
                self._seen = now if await self._load() else None

    async def _load(self) -> bool:
        """Whether the keys in the files now hold."""
        service = self._service
        try:
            authority = await asyncio.to_thread(load_authority, service.config.authority)
            changed = changes(service.authority, authority)
            use = await self._prepare(authority)
            for what in changed:
                # Written down before it holds: what cannot be recorded does not happen.
                await service.audit.write(Record(Event.AUTHORITY_CHANGED, request=new_id(service.clock()), detail=what))
        except AirtunnelError as error:
            if str(error) != self._fault:
                logger.error("the new keys are not taken, the old ones still hold: %s", error)
            self._fault = str(error)
            return False
        self._fault = ""
        use()
        for what in changed:
            logger.info("authority: %s", what)
        return True


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
    """What tells one state of the keys' files from another: names, sizes, times of change."""
    paths = (*Files(files.user_ca).all(), *Files(files.host_ca).all(), files.host_key)
    return tuple(one for path in paths for one in stamp(path))
