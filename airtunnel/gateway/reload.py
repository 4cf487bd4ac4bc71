"""A change of the policy counts at once, also for sessions that run: those that it would not grant end (policy_changed)."""

import asyncio
import logging
from dataclasses import replace
from pathlib import Path

from airtunnel.audit.record import Event, Record
from airtunnel.credentials.source import check_options
from airtunnel.gateway.ids import new_id
from airtunnel.gateway.service import Service
from airtunnel.gateway.session import Session, Sessions
from airtunnel.gateway.watch import Stamp, Watch, stamp
from airtunnel.model import EndReason, Target
from airtunnel.policy.load import load_policy
from airtunnel.policy.rules import Policy

logger = logging.getLogger(__name__)


def watch_policy(service: Service, sessions: Sessions) -> Watch:
    """What follows the policy's files."""
    path = service.config.policy

    async def load() -> None:
        await take_policy(service, sessions)

    return Watch(
        "the new policy is not taken, the old one still holds", lambda: stamp_policy(path), load, seen=stamp_policy(path)
    )


async def take_policy(service: Service, sessions: Sessions) -> None:
    """Let the policy in the files hold, also for sessions that run.

    Raises ConfigError, or a group of them; AuditUnavailable.
    """
    policy = await asyncio.to_thread(read_policy, service.config.policy, service.config.environment)
    # Written down before it holds: what cannot be recorded does not happen.
    await service.audit.write(
        Record(
            Event.POLICY_RELOADED,
            request=new_id(service.clock()),
            detail=f"{len(policy.targets)} targets, {len(policy.rules)} rules, {policy.commit or 'of no commit'}",
        )
    )
    before, service.policy = service.policy, policy
    changed = {name for name, target in before.targets.items() if not same_target(target, policy.targets.get(name))}

    def no_longer(session: Session) -> bool:
        # What was borrowed from a target as it was must not be used on the target as it is.
        return not changed.isdisjoint(session.grant.targets) or not session.still_granted()

    ended = await sessions.end_where(no_longer, EndReason.POLICY_CHANGED)
    logger.info("policy: %d targets, %d rules; %d sessions ended by it", len(policy.targets), len(policy.rules), ended)


def read_policy(path: Path, environment: str | None = None) -> Policy:
    """The policy at `path`, with each target's credential looked at. Raises ConfigError, or a group of them.

    environment: as in `load_policy`
    """
    policy = load_policy(path, environment)
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


def stamp_policy(path: Path) -> Stamp:
    """What tells one state of the policy's files from another."""
    return stamp(*(sorted(path.glob("*.yaml")) if path.is_dir() else [path]))
