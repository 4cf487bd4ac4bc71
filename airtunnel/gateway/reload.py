"""A change of the policy counts at once, also for sessions that run; a broken one never replaces a good one.

file changed, or SIGHUP  ->  load  ->  good:    it holds from now on; sessions that it would not grant end (policy_changed)
                                  ->  broken:  the old one holds, and the log says what is wrong, by file and line
"""

import asyncio
import logging
from datetime import timedelta
from pathlib import Path

from airtunnel.audit.record import Event, Record
from airtunnel.errors import AirtunnelError
from airtunnel.gateway.ids import new_id
from airtunnel.gateway.service import Service
from airtunnel.gateway.session import Session, Sessions
from airtunnel.model import EndReason, Request
from airtunnel.policy.decide import decide
from airtunnel.policy.load import load_policy

logger = logging.getLogger(__name__)

LOOK = timedelta(seconds=1)
"""Between two looks at the files. A look costs one stat for each."""

Stamp = tuple[tuple[str, int, int], ...]


class PolicyWatch:
    """Follows the policy's files."""

    def __init__(self, service: Service, sessions: Sessions) -> None:
        self._service = service
        self._sessions = sessions
        self._seen = stamp(service.config.policy)
        self._asked = asyncio.Event()

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
            now = await asyncio.to_thread(stamp, self._service.config.policy)
            if now != self._seen or self._asked.is_set():
                self._asked.clear()
                self._seen = now
                await self._load()

    async def _load(self) -> None:
        service = self._service
        try:
            policy = await asyncio.to_thread(load_policy, service.config.policy)
            # Written down before it holds: what cannot be recorded does not happen.
            await service.audit.write(
                Record(
                    Event.POLICY_RELOADED,
                    request=new_id(service.clock()),
                    detail=f"{len(policy.targets)} targets, {len(policy.rules)} rules, {policy.commit or 'of no commit'}",
                )
            )
        except AirtunnelError as error:
            logger.error("the new policy is not taken, the old one still holds: %s", error)
            return
        service.policy = policy
        ended = await self._sessions.end_where(self._no_longer, EndReason.POLICY_CHANGED)
        logger.info("policy: %d targets, %d rules; %d sessions ended by it", len(policy.targets), len(policy.rules), ended)

    def _no_longer(self, session: Session) -> bool:
        """Whether any target of the session's grant would be refused now."""
        grant, now = session.grant, self._service.clock()
        return not all(
            decide(self._service.policy, Request(grant.principal, name, grant.tags, session.source), now).allowed
            for name in grant.targets
        )


def stamp(path: Path) -> Stamp:
    """What tells one state of the policy's files from another: names, sizes, times of change."""
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    found = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            continue  # gone between the listing and now: the next look sees it
        found.append((str(file), status.st_size, status.st_mtime_ns))
    return tuple(found)
