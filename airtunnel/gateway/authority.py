"""The gateway's SSH certificate authority: it signs grants, and the host key that clients pin.

    user_ca   signs    a user certificate of minutes: one principal (the session's id), the grant in its force-command
    host_ca   signs    this gateway's host key, for the names under which clients reach it
    host_key  is       this gateway's own

The certificate is the grant: any gateway that knows the CA's public key can check it (PROTOCOL.certkeys of OpenSSH).
While a CA's key is being replaced, two are trusted, and one of them signs: gateway/rotation.py.
"""

import base64
import json
import secrets
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh

from airtunnel.config.authority import AuthorityFiles
from airtunnel.errors import ConfigError, ProtocolError
from airtunnel.gateway.ca import Ca, key_line, left_of, load_ca
from airtunnel.gateway.certificate import PORTS, Kind, Statement
from airtunnel.gateway.keyfile import read_private, write_private, write_public
from airtunnel.model import Grant, Principal, PrincipalKind, Tags

COMMAND = "airtunnel-grant"
MAX_RECORD = 32 * 1024
"""Bytes of a grant in a certificate. Two hundred groups by GUID, Entra's limit, are 8 KiB before compression."""
CLOCK_SKEW = timedelta(seconds=60)
HOST_CERTIFICATE_LIFE = timedelta(days=397)
"""The host key is certified anew at every start; a gateway that runs longer than this without one wants a restart anyway."""


@dataclass(frozen=True, slots=True)
class Authority:
    """The keys. Secret parts never leave this object but for signing."""

    user_ca: Ca
    host_ca: Ca
    host_key: asyncssh.SSHKey

    @property
    def user_cas(self) -> tuple[str, ...]:
        """The public keys whose user certificates are accepted, each one line in OpenSSH's format."""
        return tuple(self.user_ca.trusted)

    @property
    def host_cas(self) -> tuple[str, ...]:
        """The public keys that clients pin, each one line in OpenSSH's format."""
        return tuple(self.host_ca.trusted)

    async def sign_grant(self, grant: Grant, public_key: str) -> str:
        """A user certificate for `public_key` that holds `grant`, one line in OpenSSH's format.

        Raises ProtocolError if the key is not one that we certify, or the grant is too large for a certificate; Temporary if
        nobody signs at the moment.
        """
        try:
            key = asyncssh.import_public_key(public_key)
        except (asyncssh.KeyImportError, ValueError) as error:
            raise ProtocolError("public_key is not a public key in OpenSSH's format") from error
        return await self.user_ca.certify(
            Statement(
                Kind.USER,
                key.public_data,
                serial=secrets.randbits(63),
                key_id=f"{grant.principal.name} {grant.session}",
                principals=(grant.session,),
                valid_after=grant.issued_at - CLOCK_SKEW,
                valid_before=grant.valid_before,
                options={"force-command": f"{COMMAND} {encode_grant(grant)}"},
                extensions=(PORTS,),
            )
        )

    async def certify_host(self, names: tuple[str, ...], now: datetime) -> asyncssh.SSHCertificate:
        """A host certificate for this gateway's key, good for the given host names. Raises Temporary."""
        said = Statement(
            Kind.HOST,
            self.host_key.public_data,
            serial=secrets.randbits(63),
            key_id="airtunnel gateway",
            principals=names,
            valid_after=now - CLOCK_SKEW,
            valid_before=now + HOST_CERTIFICATE_LIFE,
        )
        return asyncssh.import_certificate(await self.host_ca.certify(said))


def encode_grant(grant: Grant) -> str:
    """The grant as one word: JSON, deflated, in URL-safe base 64.

    Raises ProtocolError when it would be larger than MAX_RECORD.
    """
    body = asdict(grant) | {
        "v": 1,
        "tags": grant.tags.said(),
        **{name: getattr(grant, name).timestamp() for name in ("issued_at", "valid_before", "ends_at")},
    }
    word = base64.urlsafe_b64encode(zlib.compress(json.dumps(body, separators=(",", ":"), default=dict).encode())).decode()
    if len(word) > MAX_RECORD:
        raise ProtocolError(f"the grant of {grant.principal.name} is too large for a certificate: too many groups or claims")
    return word


def decode_grant(word: str) -> Grant:
    """The grant that `encode_grant` wrote. Raises ProtocolError for anything else."""
    try:
        body: dict[str, Any] = json.loads(zlib.decompress(base64.urlsafe_b64decode(word)))  # Any: JSON that we signed
        if body["v"] != 1:
            raise ProtocolError(f"the grant is of version {body['v']}, which this gateway does not know")
        who = body["principal"]
        return Grant(
            session=body["session"],
            principal=Principal(**who | {"kind": PrincipalKind(who["kind"]), "groups": tuple(who["groups"])}),
            targets=tuple(body["targets"]),
            tags=Tags(**body["tags"]),
            **{name: datetime.fromtimestamp(body[name], UTC) for name in ("issued_at", "valid_before", "ends_at")},
        )
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise ProtocolError(f"the certificate holds no grant of ours: {error}") from error


def read_grant(force_command: object, username: str) -> Grant:
    """The grant in a certificate's force-command, for the session that the SSH user name says.

    Raises ProtocolError if there is none, or it is another session's.
    """
    if not isinstance(force_command, str) or not force_command.startswith(f"{COMMAND} "):
        raise ProtocolError("the certificate carries no grant")
    grant = decode_grant(force_command.removeprefix(f"{COMMAND} "))
    if grant.session != username:
        raise ProtocolError("the certificate's grant belongs to another session")
    return grant


def create_keys(directory: Path) -> None:
    """Write fresh CA and host keys into `directory`, each 0600. Existing ones stay as they are.

    Where only the public half is there, someone else holds the key, and none is made, either.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("user_ca", "host_ca", "host_key"):
        path = directory / name
        if path.exists() or path.with_suffix(".pub").exists():
            continue
        key = asyncssh.generate_private_key("ssh-ed25519", comment=f"airtunnel {name}")
        write_public(path.with_suffix(".pub"), key)
        write_private(path, key)


def load_authority(files: AuthorityFiles) -> Authority:
    """The keys in those files, or behind those holders, which are not asked yet.

    Raises ConfigError naming the file that is missing, broken, readable by others, or has the key of another role.
    """
    user = load_ca(files.user_ca, files.user_holder)
    host = load_ca(files.host_ca, files.host_holder)
    return _apart(Authority(user, host, read_private(files.host_key)), files)


def left_over(before: Authority, files: AuthorityFiles) -> Authority:
    """The keys of before, without those of a CA that are in no file of it any more. Whatever is broken, this can be had."""
    return Authority(
        left_of(before.user_ca, files.user_ca, files.user_holder),
        left_of(before.host_ca, files.host_ca, files.host_holder),
        before.host_key,
    )


PARTS: tuple[Callable[[Authority, AuthorityFiles], Authority], ...] = (
    lambda before, files: _apart(replace(before, user_ca=load_ca(files.user_ca, files.user_holder)), files),
    lambda before, files: _apart(replace(before, host_ca=load_ca(files.host_ca, files.host_holder)), files),
    lambda before, files: _apart(replace(before, host_key=read_private(files.host_key)), files),
)
"""Each loads one part anew, and leaves the others as they were. Raises ConfigError as `load_authority` does."""


def _apart(authority: Authority, files: AuthorityFiles) -> Authority:
    """The same, if no key has the roles of two. Raises ConfigError."""
    user, host = authority.user_ca, authority.host_ca
    if not set(user.trusted).isdisjoint(host.trusted):
        # Whoever has a user's certificate of such a CA could be the gateway.
        raise ConfigError(
            f"{files.user_ca} and {files.host_ca}: the CA of users and that of hosts share a key",
            hint="restore the one that was overwritten; new keys: airtunnel gateway init DIRECTORY",
        )
    if key_line(authority.host_key) in {**user.trusted, **host.trusted}:
        raise ConfigError(
            f"{files.host_key}: the host key is a CA's key, too", hint=f"ssh-keygen -t ed25519 -f {files.host_key}"
        )
    return authority
