"""What happens in the demo, told as it happens: the audit's lines in plain words."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

INTERVAL = 0.2
"""Seconds between two looks at the file."""

ENDINGS = {
    "client_closed": "closed by the client",
    "target_closed": "closed by the database",
    "expired": "its time was up",
    "idle": "nothing was said for too long",
    "revoked": "taken back",
    "draining": "the gateway stops",
    "policy_changed": "the policy was changed",
    "failed": "it failed",
}

Json = dict[str, Any]  # Any: JSON, written by the audit


async def follow(path: Path) -> AsyncIterator[str]:
    """One sentence for each record, from now on, for ever."""
    await asyncio.to_thread(path.touch)
    with path.open("rb") as file:
        rest = b""
        while True:
            rest += file.read()
            *lines, rest = rest.split(b"\n")
            for line in lines:
                if sentence := tell(json.loads(line)):
                    yield sentence
            await asyncio.sleep(INTERVAL)


def tell(record: Json) -> str:
    """The record as a sentence; empty where there is nothing to tell."""
    who, target, tags = record.get("user", {}).get("name", "somebody"), record.get("target", ""), record.get("tags", {})
    policy = record.get("policy", {})
    rule = f"rule {policy.get('rule')} ({policy.get('file')}:{policy.get('line')})"
    task = "/".join(str(tags[name]) for name in ("dag_id", "task_id") if name in tags)
    purpose = f" for {task}" if task else ""
    moved = f"{record.get('bytes_up', 0)} bytes up, {record.get('bytes_down', 0)} down"
    ending = ENDINGS.get(str(record.get("close_reason")), record.get("close_reason"))
    match record["event"]:
        case "grant.issued":
            return f"{who} is granted {target}{purpose}: {rule}"
        case "refused":
            return f"{who} is refused {target}{purpose}: {rule}, {'; '.join(policy.get('reasons', ()))}"
        case "token.rejected":
            return f"a login was not accepted: {record.get('detail')}"
        case "lease.lent":
            return f"a login {record.get('db_user_injected')} is made in the database, for {who}"
        case "lease.returned":
            return f"the login {record.get('db_user_injected')} is dropped"
        case "connection.opened":
            return f"{who} connects to {target}{purpose}"
        case "connection.closed":
            return f"{who}'s connection to {target} is over: {ending}, {moved}"
        case "session.closed":
            return f"{who}'s session is over: {ending}"
        case "logout":
            return f"{who} logs out"
        case _:
            return ""
