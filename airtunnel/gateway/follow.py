"""What a gateway hears from the others and tells them, through the store: revocations, locks, what runs, what operators did."""

import asyncio
import logging
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from airtunnel.errors import AirtunnelError
from airtunnel.gateway.leases import instance
from airtunnel.gateway.locks import find_lock
from airtunnel.gateway.roll import HEARTBEAT
from airtunnel.gateway.service import Service
from airtunnel.model import EndReason

if TYPE_CHECKING:
    from airtunnel.gateway.session import Session

logger = logging.getLogger(__name__)

LOOK = timedelta(seconds=0.8)
"""Between two looks at what others said in the store: what is revoked or locked anywhere ends here within two seconds."""


async def follow_store(service: Service, sessions: "Iterable[Session]", group: asyncio.TaskGroup) -> None:
    """End in `group` what others revoked or locked, say what runs here, note what operators did at the store."""
    fault, beaten = "", service.clock() - HEARTBEAT
    while True:
        now = service.clock()
        try:
            revoked, locks = await service.store.revocations(), await service.store.locks.held(now)
            for session in sessions:
                if revoked.hold(session.grant):
                    group.create_task(session.end(EndReason.REVOKED))
                elif (lock := find_lock(locks, session.grant.principal, session.grant.targets)) is not None:
                    group.create_task(session.end(EndReason.LOCKED, lock.because))
            if not timedelta() <= now - beaten < HEARTBEAT:  # also where the clock was set back
                await service.store.roll.beat(instance(service.config), now)
                beaten = now
            await service.store.roll.report([news for session in sessions if (news := session.news()) is not None])
            await service.store.orders.take(service.write_order)
            fault = ""
        except AirtunnelError as error:
            if error.message != fault:
                logger.error("what was revoked or locked elsewhere is not known here: %s", error)
            fault = error.message
        await asyncio.sleep(LOOK.total_seconds())
