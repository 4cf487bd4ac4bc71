"""Where the audit is written, when a file is full, and where its signed heads go.

audit: {file: audit/audit.jsonl}
audit: {file: audit/audit.jsonl, checkpoints: /mnt/elsewhere/audit.checkpoints, rotate: 256MiB}
"""

import re
from dataclasses import dataclass
from pathlib import Path

from airtunnel.config.document import Node, fault
from airtunnel.config.table import Table, boolean, path, text

MIB = 1024 * 1024
_SIZE = re.compile(r"([1-9][0-9]{0,11})(B|KiB|MiB|GiB)")
_UNITS = {"B": 1, "KiB": 1024, "MiB": MIB, "GiB": 1024 * MIB}


@dataclass(frozen=True, slots=True)
class AuditConfig:
    """required: what cannot be recorded does not start; fsync: a record is on the disk before access is given.

    rotate: bytes after which a file is full, and the next one begins; full files are kept for ever
    checkpoints: where signed heads of the chain go, best on another disk; key: what signs them, made if it is not there.
    By default both are beside the file.
    """

    file: Path
    required: bool = True
    fsync: bool = True
    rotate: int = 64 * MIB
    checkpoints: Path | None = None
    key: Path | None = None


def read_audit(table: Table) -> AuditConfig:
    """The table `audit`. Raises ConfigError."""
    return AuditConfig(
        table.take("file", path, table.node.source.directory / "audit" / "audit.jsonl"),
        table.take("required", boolean, True),
        table.take("fsync", boolean, True),
        table.take("rotate", _size, 64 * MIB),
        table.take("checkpoints", path, None),
        table.take("key", path, None),
    )


def _size(node: Node) -> int:
    found = _SIZE.fullmatch(text(node))
    if found is None:
        raise fault(node, f"`{node.key}` is a size like 512KiB, 64MiB or 1GiB")
    return int(found[1]) * _UNITS[found[2]]
