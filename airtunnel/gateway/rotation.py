"""A CA's key is replaced in three steps, so that at each moment everything in use is trusted.

    A signs                       stage      a new key, B
    A signs, B is trusted         promote    once every gateway knows B, and every client of a host CA
    B signs, A is trusted         drop       once nothing that A signed is in use
    B signs

Each step is one that may be interrupted at any point: what is then on the disk is the state before or the one after.
ca.py has the names of the files.
"""

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

import asyncssh

from airtunnel.config.authority import AuthorityFiles, Holder
from airtunnel.errors import ConfigError, UsageError
from airtunnel.gateway.ca import Ca, Files, key_line, load_ca
from airtunnel.gateway.keyfile import read_public, write_private, write_public
from airtunnel.gateway.signer import fetch_public


class Which(StrEnum):
    """Whose CA."""

    USER = "user"
    HOST = "host"


class Step(StrEnum):
    """What has been done, in the past tense."""

    STARTED = "started"
    """The first key, which someone else holds, is written down."""
    STAGED = "staged"
    PROMOTED = "promoted"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class TrustedKey:
    """A key that is trusted. role: `signs`, `next` or `old`; since: when its file was written."""

    ca: Which
    role: str
    algorithm: str
    fingerprint: str
    since: datetime
    held_by: str


def list_keys(files: AuthorityFiles) -> tuple[TrustedKey, ...]:
    """Every key that is trusted. Raises ConfigError."""
    return tuple(one for which in Which for one in _keys(which, *of(files, which)))


def of(files: AuthorityFiles, which: Which) -> tuple[Path, Holder | None]:
    """Where that CA's files are, and who holds its private key."""
    return (files.user_ca, files.user_holder) if which is Which.USER else (files.host_ca, files.host_holder)


def rotate(path: Path, holder: Holder | None, brought: asyncssh.SSHKey | None = None) -> tuple[Step, asyncssh.SSHKey]:
    """Do the next step. Returns it, and the key that it was about.

    brought: the public half of the next key, where someone else holds the private one
    Raises ConfigError, and UsageError if a key was brought that is not needed, or one is needed and was not brought.
    """
    files = Files(path)
    try:
        if holder is not None and brought is not None and not files.public.exists():
            write_public(files.public, brought)
            return Step.STARTED, brought
        ca = load_ca(path, holder)
        ca = _finish(files, ca)
        staging = (ca.old is None or ca.old == ca.signer.public) and ca.next is None
        if brought is not None and (holder is None or not staging):
            raise UsageError("this step takes no key that is brought along", hint="leave out --public-key and --kms")
        if staging:
            return Step.STAGED, _stage(files, holder, ca, brought)
        if ca.old is not None and ca.old != ca.signer.public:
            files.old_public.unlink()
            return Step.DROPPED, ca.old
        assert ca.next is not None
        return Step.PROMOTED, _promote(files, holder, ca, ca.next)
    except OSError as error:
        raise ConfigError(f"{error.filename or path}: {(error.strerror or str(error)).lower()}") from error


def bring(public_key: Path | None, kms: str | None) -> asyncssh.SSHKey | None:
    """The next key's public half, if someone else holds it: from a file, or from AWS KMS. Raises ConfigError, UsageError."""
    if public_key is not None and kms is not None:
        raise UsageError("--public-key is for a key of an ssh-agent's, --kms for one of AWS KMS")
    if kms is not None:
        return fetch_public(kms)
    return None if public_key is None else read_public(public_key)


def _finish(files: Files, ca: Ca) -> Ca:
    """End a promotion that was interrupted when the key was in its place, and its public half was not."""
    if ca.next is not None and ca.next == ca.signer.public:
        files.next_public.replace(files.public)
        return Ca(ca.signer, None, ca.old)
    if files.public.exists() and read_public(files.public) != ca.signer.public:
        # The former key's, as load_ca says. Once that one is dropped, nothing would explain it.
        write_public(files.public, ca.signer.public)
    return ca


def _stage(files: Files, holder: Holder | None, ca: Ca, brought: asyncssh.SSHKey | None) -> asyncssh.SSHKey:
    if holder is None:
        key = asyncssh.generate_private_key("ssh-ed25519", comment=f"airtunnel {files.path.name}")
        write_private(files.next, key)
        write_public(files.next_public, key)
        return key.convert_to_public()
    if brought is None:
        option = "--public-key NEXT.pub" if holder.agent is not None else "--kms ARN"
        raise UsageError(f"the key that {held_by(files.path, holder)} signs with next is not named", hint=option)
    if key_line(brought) == key_line(ca.signer.public):
        raise UsageError(f"{brought.get_fingerprint()} is the key that signs already")
    write_public(files.next_public, brought)
    return brought


def _promote(files: Files, holder: Holder | None, ca: Ca, key: asyncssh.SSHKey) -> asyncssh.SSHKey:
    if holder is None and not files.next.exists():
        raise ConfigError(f"{files.next}: there is no such key", hint=f"restore it, or rm {files.next_public}")
    # The order matters: the former key is trusted as such before it ceases to be the one that signs.
    write_public(files.old_public, ca.signer.public)
    if holder is None:
        if not files.next_public.exists() or read_public(files.next_public) != key:
            write_public(files.next_public, key)
        os.utime(files.next)
        files.next.replace(files.path)
    os.utime(files.next_public)
    files.next_public.replace(files.public)
    return key


def advice(which: Which, step: Step, ttl: timedelta, now: datetime) -> tuple[datetime | None, tuple[str, ...]]:
    """When the next step is safe, as far as the clock can tell, and what to tell the operator; first: what the key does now.

    ttl: for how long a grant may open connections
    """
    match which, step:
        case _, Step.STARTED:
            return None, ("is the key that signs.",)
        case Which.USER, Step.STAGED:
            return None, (
                "is trusted, and does not sign yet.",
                "Wait until every gateway has taken it up, within seconds: its audit has authority.changed.",
            )
        case Which.USER, Step.PROMOTED:
            return now + ttl, (
                "signs from now on; the former one is still trusted.",
                "Grants that the former one signed open connections until they expire. Running sessions are not affected.",
            )
        case Which.HOST, Step.STAGED:
            return None, (
                "is told to clients from now on, and does not sign yet.",
                "Wait until every gateway has taken it up, and until programs that run now have ended: clients learn the keys",
                "when they connect. Files that `airtunnel ssh-config` wrote have to be written again.",
            )
        case Which.HOST, Step.PROMOTED:
            return None, (
                "signs host keys from now on; the former one is still told to clients.",
                "Wait until every gateway has taken it up, within seconds: its audit has authority.changed.",
            )
        case _:
            return None, (
                "is not trusted any more.",
                "What it signed opens no connection within seconds. Running sessions go on until their grant ends.",
            )


def held_by(path: Path, holder: Holder | None) -> str:
    """Who holds the private key, for people."""
    if holder is None:
        return str(path)
    return f"ssh-agent {holder.agent}" if holder.agent is not None else "AWS KMS"


def _keys(which: Which, path: Path, holder: Holder | None) -> list[TrustedKey]:
    files, found = Files(path), []
    ca = load_ca(path, holder)
    places = {
        "signs": (files.path if holder is None else files.public,),
        "next": (files.next, files.next_public),
        "old": (files.old_public,),
    }
    for line, role in ca.trusted.items():
        key = asyncssh.import_public_key(line)
        written = next(place.stat().st_mtime for place in places[role] if place.exists())
        since = datetime.fromtimestamp(written, UTC)
        holds = "public half only" if role == "old" else held_by(files.next if role == "next" else path, holder)
        found.append(TrustedKey(which, role, key.get_algorithm(), key.get_fingerprint(), since, holds))
    return found
