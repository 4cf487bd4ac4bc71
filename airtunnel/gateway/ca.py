"""One CA: the keys that are trusted as it, the files that say so, and who signs.

user_ca            the private key, where no one else holds it
user_ca.pub        its public half; where someone else holds the private one, the key that they sign with
user_ca.next       the key that signs next: trusted already. With `.pub`, or, where someone else holds it, only that
user_ca.old.pub    the key that signed before: still trusted
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import asyncssh

from airtunnel.config.authority import Holder
from airtunnel.errors import ConfigError
from airtunnel.gateway.certificate import Statement, as_line, to_sign
from airtunnel.gateway.keyfile import read_private, read_public
from airtunnel.gateway.signer import ALGORITHMS, AgentSigner, FileSigner, KmsSigner, Signer, cannot_sign


@dataclass(frozen=True, slots=True)
class Files:
    """The files of the CA whose private key is at `path`, or would be."""

    path: Path

    @property
    def public(self) -> Path:
        return self._beside(".pub")

    @property
    def next(self) -> Path:
        return self._beside(".next")

    @property
    def next_public(self) -> Path:
        return self._beside(".next.pub")

    @property
    def old_public(self) -> Path:
        return self._beside(".old.pub")

    def all(self) -> tuple[Path, ...]:
        """Each of them, whether it is there or not."""
        return (self.path, self.public, self.next, self.next_public, self.old_public)

    def _beside(self, end: str) -> Path:
        return self.path.with_name(self.path.name + end)


@dataclass(frozen=True, slots=True)
class Ca:
    """A CA: the key that signs, the one that will, and the one that did. All of them are trusted."""

    signer: Signer
    next: asyncssh.SSHKey | None = None
    old: asyncssh.SSHKey | None = None
    lost: bool = False
    """The signer's key is in no file any more: it is not trusted, and signs nothing."""

    @property
    def trusted(self) -> dict[str, str]:
        """Each key that is trusted, one line in OpenSSH's format, and its role: `signs`, `next` or `old`."""
        found: dict[str, str] = {}
        signs = None if self.lost else self.signer.public
        for role, key in (("signs", signs), ("next", self.next), ("old", self.old)):
            if key is not None:
                # In the middle of a step one key may have two of the roles.
                found.setdefault(key_line(key), role)
        return found

    def __str__(self) -> str:
        keys = ((asyncssh.import_public_key(line).get_fingerprint(), role) for line, role in self.trusted.items())
        return ", ".join(f"{fingerprint} ({role})" for fingerprint, role in keys) or "no key"

    async def certify(self, said: Statement) -> str:
        """A certificate that says so, one line in OpenSSH's format. Raises ProtocolError, Temporary."""
        public = self.signer.public
        if self.lost:
            raise cannot_sign(f"{public.get_fingerprint()} is in no file any more")
        data = to_sign(said, authority=public.public_data, nonce=secrets.token_bytes(32))
        signature = await self.signer.sign(data)
        # By an agent or a key service with another key in its place, it would be refused everywhere, and nobody knew why.
        if not public.verify(data, signature):
            raise cannot_sign(f"what came back is not a signature of {public.get_fingerprint()}")
        return as_line(data, signature)


def load_ca(path: Path, holder: Holder | None) -> Ca:
    """The CA whose private key is at `path`, or with the holder; beside it, `PATH.next[.pub]` and `PATH.old.pub`.

    Raises ConfigError.
    """
    files = Files(path)
    coming = _optional(files.next_public, read_public)
    if (staged := _optional(files.next, read_private)) is not None:
        coming = staged.convert_to_public()
    ca = Ca(_signer(path, holder), coming, _optional(files.old_public, read_public))
    known = _optional(files.public, read_public)
    if known is not None and known not in (ca.signer.public, ca.old):
        raise ConfigError(f"{files.public}: this is not the public half of {path}", hint="restore the one that is wrong")
    return ca


def left_of(before: Ca, path: Path, holder: Holder | None) -> Ca:
    """The CA of before without the keys that are in no file of it any more, though it cannot be loaded as it is now.

    A file that is there and broken may be that of the key whose place it is, if nothing else is in that place: the key stays.
    """
    files = Files(path)
    signs, next_, old = (
        _in(place)
        for place in (
            ((files.path, read_private), (files.public, read_public)),
            ((files.next, read_private), (files.next_public, read_public)),
            ((files.old_public, read_public),),
        )
    )
    found = {line for place in (signs, next_, old) for line in place or ()}

    def stays(key: asyncssh.SSHKey | None, place: set[str] | None) -> bool:
        return key is not None and (place is None or key_line(key) in found)

    return Ca(
        before.signer,
        before.next if stays(before.next, next_) else None,
        before.old if stays(before.old, old) else None,
        before.lost or not stays(before.signer.public, signs),
    )


def _in(place: tuple[tuple[Path, Callable[[Path], asyncssh.SSHKey]], ...]) -> set[str] | None:
    """The keys in these files. None if there are none, and one of the files cannot be read."""
    found, broken = set(), False
    for path, read in place:
        try:
            if (key := _optional(path, read)) is not None:
                found.add(key_line(key))
        except ConfigError:
            broken = True
    return None if broken and not found else found


def _signer(path: Path, holder: Holder | None) -> Signer:
    if holder is None:
        return FileSigner(_sound(path, read_private(path)))
    public = _sound(holder.public_key, read_public(holder.public_key))
    if holder.agent is not None:
        return AgentSigner(public, holder.agent)
    if find_spec("botocore") is None:
        raise ConfigError("a key in AWS KMS needs botocore", hint="pip install 'airtunnel[aws]'")
    if public.get_algorithm() != "ecdsa-sha2-nistp256" or (name := public.get_comment()) is None:
        raise ConfigError(
            f"{holder.public_key}: this is not the public half of a key in AWS KMS with its ARN behind it",
            hint="airtunnel gateway ca rotate --kms ARN writes it",
        )
    return KmsSigner(public, name)


def _optional(path: Path, read: Callable[[Path], asyncssh.SSHKey]) -> asyncssh.SSHKey | None:
    try:
        there = path.exists()
    except OSError as error:  # a directory that may not be entered
        raise ConfigError(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}") from error
    return _sound(path, read(path)) if there else None


def _sound(path: Path, key: asyncssh.SSHKey) -> asyncssh.SSHKey:
    """The key, if it is of a kind that may be a CA's here."""
    if key.get_algorithm() not in ALGORITHMS:
        raise ConfigError(
            f"{path}: a key of type {key.get_algorithm()} cannot be a CA here", hint=f"ssh-keygen -t ed25519 -f {path}"
        )
    return key


def key_line(key: asyncssh.SSHKey) -> str:
    """The public key without its comment, which may say more than strangers need to know."""
    return " ".join(key.export_public_key().decode().split()[:2])
