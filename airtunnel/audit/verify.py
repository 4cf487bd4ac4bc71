"""Whether anybody has touched an audit: its files in order, each link between them, and what was signed.

    files         edited, removed, inserted, swapped lines: the chain
    checkpoints   a tail that was cut off, and lines that were written anew with a chain that fits: the signed heads

Without the checkpoints, or with those that stand beside the files and were cut as well, the latter two are not found: keep a
copy of checkpoints and public key where the gateway cannot write.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from airtunnel.audit.chain import START, Broken, Fault, Position, Verified, read_link
from airtunnel.audit.checkpoint import Checkpoint, check, read_lines
from airtunnel.audit.file import verify_file
from airtunnel.audit.files import find_files, full_name, is_full, stem
from airtunnel.audit.key import fingerprint, read_public
from airtunnel.errors import UsageError


@dataclass(frozen=True, slots=True)
class Finding:
    """The first place where an audit is not as it was written. seq: of the record there, or that should be there."""

    file: Path
    line: int
    seq: int
    fault: Fault
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.seq}: {self.message}"


@dataclass(slots=True)
class Signed:
    """What was signed: hashes by record number, and the last checkpoint. keys: fingerprints of the keys that were believed."""

    file: Path
    keys: tuple[str, ...]
    heads: dict[int, str] = field(default_factory=dict)
    last: Checkpoint | None = None
    finding: Finding | None = None


@dataclass(slots=True)
class Audit:
    """One chain: its files in order, as far as they were looked at. Untouched if `finding` is None."""

    files: list[tuple[Path, Verified]] = field(default_factory=list)
    signed: Signed | None = None
    finding: Finding | None = None

    @property
    def count(self) -> int:
        """How many records are sound."""
        return sum(verified.count for _, verified in self.files)

    @property
    def end(self) -> Position:
        """Where the chain stands after the last sound record."""
        return self.files[-1][1].end if self.files else START


def verify_audits(paths: Sequence[Path], checkpoints: Path | None = None, public_key: Path | None = None) -> Iterator[Audit]:
    """Each audit in these files and directories, verified. In a directory, an audit must begin with its first record.

    checkpoints, public_key: by default those beside the last file of an audit, if they are there

    Raises UsageError for what cannot be read, and if several audits are to have the same checkpoints.
    """
    directories = {path.resolve() for path in paths if path.is_dir()}
    chains = list(_chains(find_files(paths)))
    if checkpoints is not None and len(chains) > 1:
        raise UsageError("these are several audits, and --checkpoints are of one")
    for files in chains:
        beside = files[-1].with_name(f"{stem(files[-1])}.checkpoints")
        signed = _signed(checkpoints or beside, public_key or beside.with_suffix(".pub"), given=checkpoints is not None)
        yield _verify(files, signed, whole=files[0].parent.resolve() in directories)


def _chains(files: list[Path]) -> Iterator[list[Path]]:
    """The files of each audit. One that was moved elsewhere continues the audit before it; a first record begins another."""
    chain: list[Path] = []
    for file in files:
        if chain and (file.parent, stem(file)) != (chain[-1].parent, stem(chain[-1])) and _begins(file):
            yield chain
            chain = []
        chain.append(file)
    yield chain


def _begins(file: Path) -> bool:
    try:
        with file.open("rb") as opened:
            return read_link(opened.readline()).seq == 0
    except (OSError, ValueError):
        return False


def _signed(file: Path, public_key: Path, *, given: bool) -> Signed | None:
    # Before the records are read: one that a running gateway adds meanwhile must not look as if its end were missing.
    if not given and not (file.exists() and public_key.exists()):
        return None
    keys = read_public(public_key)
    signed = Signed(file, tuple(fingerprint(key) for key in keys))
    for number, line in enumerate(read_lines(file), start=1):
        if not line.endswith(b"\n"):
            break  # was being written; at most the last
        signed.finding = signed.finding or _take(signed, number, line, keys)
    return signed


def _take(signed: Signed, number: int, line: bytes, keys: Sequence[Ed25519PublicKey]) -> Finding | None:
    """Remember one more checkpoint, or say what is wrong with it."""
    last = signed.last
    try:
        this = check(line, keys)
    except ValueError as error:
        return Finding(signed.file, number, last.seq if last else 0, Fault.FORGED, f"line {number} {error}")
    if last is not None and (this.seq < last.seq or (this.seq == last.seq and this.head != last.head)):
        why = f"record {this.seq} was signed after record {last.seq}: the audit was cut off there, and went on anew"
        return Finding(signed.file, number, this.seq, Fault.CUT, why)
    signed.heads[this.seq] = this.head
    signed.last = this
    return None


def _verify(files: list[Path], signed: Signed | None, *, whole: bool) -> Audit:
    audit = Audit(signed=signed)
    heads = signed.heads if signed else {}
    left = list(files)
    while left and audit.finding is None:
        file = left.pop(0)
        after = audit.end if audit.files else START if whole else None
        verified = verify_file(file, after, heads)
        full = None if after is None else full_name(file, after.seq)
        if full is not None and _begins_late(verified) and full.exists() and full not in [done for done, _ in audit.files]:
            # A running gateway has begun a new file since we looked, and the one that we looked for has this name now.
            left = [full, file, *left]
            continue
        audit.files.append((file, verified))
        audit.finding = _found(audit)
    if audit.finding is not None:
        return audit
    if signed is not None:
        audit.finding = signed.finding or _cut(audit, signed, whole=whole)
    return audit


def _begins_late(verified: Verified) -> bool:
    return verified.broken is not None and (verified.broken.line, verified.broken.fault) == (1, Fault.REMOVED)


def _found(audit: Audit) -> Finding | None:
    """What is wrong with the last file."""
    file, verified = audit.files[-1]
    broken = verified.broken
    if broken is None:
        return None
    if broken.line == 0 and len(audit.files) > 1:
        following, _ = audit.files.pop()
        file, before = audit.files.pop()
        why = f"line {before.count} is not the one that {following.name} goes on from"
        broken = Broken(before.count, broken.seq, broken.fault, why)
        audit.files.append((file, replace(before, count=before.count - 1, broken=broken)))
    return Finding(file, broken.line, broken.seq, broken.fault, broken.message)


def _cut(audit: Audit, signed: Signed, *, whole: bool) -> Finding | None:
    """What is missing at the end. Of a full file alone nobody expects the end."""
    file, verified = audit.files[-1]
    due, last = audit.end.seq, signed.last
    if last is None or last.seq < due or (is_full(file) and not whole):
        return None
    missing = f"record {due} is" if last.seq == due else f"records {due} to {last.seq} are"
    message = f"{missing} missing at the end: a checkpoint of {last.time} knows of record {last.seq}"
    return Finding(file, verified.count + 1, due, Fault.CUT, message)
