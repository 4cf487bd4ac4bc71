"""The audit's files by name: the one that is written to, the full ones before it, and what proves them.

audit/audit-000000000000.jsonl     full; named after the number of its first record, so that names sort as records do
audit/audit-000000131072.jsonl
audit/audit.jsonl                  the one that is written to
audit/audit.checkpoints            signed heads (audit/checkpoint.py), by default beside it
audit/audit.key, audit/audit.pub   what signs them, and what proves them
"""

import re
from collections.abc import Iterable
from pathlib import Path

from airtunnel.errors import UsageError

_FULL = re.compile(r"(.+)-([0-9]{12,})")


def full_name(path: Path, first: int) -> Path:
    """What the file at `path` is called when it is full, and its first record has this number."""
    return path.with_name(f"{stem(path)}-{first:012}{path.suffix}")


def stem(path: Path) -> str:
    """The name that all files of one audit have in common: `audit`."""
    full = _FULL.fullmatch(path.stem)
    return full[1] if full else path.stem


def is_full(path: Path) -> bool:
    """Whether the file has the name of a full one."""
    return _FULL.fullmatch(path.stem) is not None


def full_files(path: Path) -> list[Path]:
    """The full files beside the one that is written to, in order."""
    beside = path.parent.glob(f"*{path.suffix}") if path.parent.is_dir() else ()
    ours = (one for one in beside if is_full(one) and (stem(one), one.suffix) == (stem(path), path.suffix))
    return sorted((one for one in ours if one.name != path.name), key=_order)


def find_files(paths: Iterable[Path]) -> list[Path]:
    """The audit's files at these paths in the order of their records; a directory stands for all `*.jsonl` in it.

    Raises UsageError for what is not there, or a directory without such a file.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(path.glob("*.jsonl"), key=_order)
            if not inside:
                raise UsageError(f"there is no audit file (*.jsonl) in {path}")
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise UsageError(f"there is no audit file {path}")
    return found


def _order(path: Path) -> tuple[str, bool, int]:
    """Of one audit, the full files come first, by their numbers."""
    full = _FULL.fullmatch(path.stem)
    return (stem(path), full is None, int(full[2]) if full else 0)
