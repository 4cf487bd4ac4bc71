"""A change of the policy counts at once, also for sessions that run; a broken one never replaces a good one.

file changed, or SIGHUP  ->  load  ->  good:    it holds from now on; sessions that it would not grant end (policy_changed)
                                  ->  broken:  the old one holds, and the log says what is wrong, by file and line
"""

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from airtunnel.audit.record import Event, Record
from airtunnel.credentials.source import check_options
from airtunnel.errors import AirtunnelError
from airtunnel.gateway.ids import new_id
from airtunnel.gateway.service import Service
from airtunnel.gateway.session import Session, Sessions
from airtunnel.model import EndReason, Target
from airtunnel.policy.load import load_policy
from airtunnel.policy.rules import Policy

logger = logging.getLogger(__name__)

LOOK = timedelta(seconds=1)
"""Between two looks at the files. A look costs one stat for each."""

Stamp = tuple[tuple[str, int, int], ...]


class PolicyWatch:
    """Follows the policy's files."""

    def __init__(self, service: Service, sessions: Sessions) -> None:
        self._service = service
        self._sessions = sessions
        self._seen: Stamp | None = stamp(service.config.policy)
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
            now = await asyncio.to_thread(stamp, self._service.config.policy)
            if now != self._seen or self._asked.is_set():
                self._asked.clear()
                # Tried again at the next look if it fails: what failed may be the audit's disk, and not the policy.
                self._seen = now if await self._load() else None

    async def _load(self) -> bool:
        """Whether the policy in the files now holds."""
        service = self._service
        try:
            policy = await asyncio.to_thread(read_policy, service.config.policy)
            # Written down before it holds: what cannot be recorded does not happen.
            await service.audit.write(
                Record(
                    Event.POLICY_RELOADED,
                    request=new_id(service.clock()),
                    detail=f"{len(policy.targets)} targets, {len(policy.rules)} rules, {policy.commit or 'of no commit'}",
                )
            )
        except AirtunnelError as error:
            if str(error) != self._fault:
                logger.error("the new policy is not taken, the old one still holds: %s", error)
            self._fault = str(error)
            return False
        self._fault = ""
        before, service.policy = service.policy, policy
        changed = {name for name, target in before.targets.items() if not same_target(target, policy.targets.get(name))}

        def no_longer(session: Session) -> bool:
            # What was borrowed from a target as it was must not be used on the target as it is.
            return not changed.isdisjoint(session.grant.targets) or not session.still_granted()

        ended = await self._sessions.end_where(no_longer, EndReason.POLICY_CHANGED)
        logger.info("policy: %d targets, %d rules; %d sessions ended by it", len(policy.targets), len(policy.rules), ended)
        return True


def read_policy(path: Path) -> Policy:
    """The policy at `path`, with each target's credential looked at. Raises ConfigError."""
    policy = load_policy(path)
    for target in policy.targets.values():
        check_options(target)
    return policy


def same_target(one: Target, other: Target | None) -> bool:
    """Whether two targets are the same but for the lines they stand in."""
    if other is None or (one.credential is None) != (other.credential is None):
        return False
    if one.credential is not None and other.credential is not None:
        other = replace(other, credential=replace(other.credential, place=one.credential.place))
    return replace(other, place=one.place) == one


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
