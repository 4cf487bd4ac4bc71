"""The gateway's SSH certificate authority: it signs grants, and the host key that clients pin.

    user_ca   signs    a user certificate of minutes: one principal (the session's id), the grant in its force-command
    host_ca   signs    this gateway's host key, for the names under which clients reach it
    host_key  is       this gateway's own

The certificate is the grant: any gateway that knows the CA's public key can check it (PROTOCOL.certkeys of OpenSSH).
"""

import base64
import json
import os
import secrets
import zlib
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncssh

from airtunnel.errors import ConfigError, ProtocolError
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

    user_ca: asyncssh.SSHKey
    host_ca: asyncssh.SSHKey
    host_key: asyncssh.SSHKey

    @property
    def user_ca_public(self) -> str:
        """The user CA's public key, one line in OpenSSH's format."""
        return _line(self.user_ca)

    @property
    def host_ca_public(self) -> str:
        """The host CA's public key, one line in OpenSSH's format: what clients pin."""
        return _line(self.host_ca)

    def sign_grant(self, grant: Grant, public_key: str) -> str:
        """A user certificate for `public_key` that holds `grant`, one line in OpenSSH's format.

        Raises ProtocolError if the key is not one that we certify, or the grant is too large for a certificate.
        """
        try:
            key = asyncssh.import_public_key(public_key)
        except (asyncssh.KeyImportError, ValueError) as error:
            raise ProtocolError("public_key is not a public key in OpenSSH's format") from error
        if key.get_algorithm() not in ("ssh-ed25519", "ecdsa-sha2-nistp256", "sk-ssh-ed25519@openssh.com"):
            raise ProtocolError(f"public_key is of type {key.get_algorithm()}: ssh-ed25519 is needed")
        certificate = self.user_ca.generate_user_certificate(
            key,
            key_id=f"{grant.principal.name} {grant.session}",
            serial=secrets.randbits(63),
            principals=[grant.session],
            valid_after=int((grant.issued_at - CLOCK_SKEW).timestamp()),
            valid_before=int(grant.valid_before.timestamp()),
            force_command=f"{COMMAND} {encode_grant(grant)}",
            permit_x11_forwarding=False,
            permit_agent_forwarding=False,
            permit_pty=False,
            permit_user_rc=False,
        )
        return certificate.export_certificate().decode().strip()

    def certify_host(self, names: tuple[str, ...], now: datetime) -> asyncssh.SSHCertificate:
        """A host certificate for this gateway's key, good for the given host names."""
        return self.host_ca.generate_host_certificate(
            self.host_key,
            key_id="airtunnel gateway",
            serial=secrets.randbits(63),
            principals=list(names),
            valid_after=int((now - CLOCK_SKEW).timestamp()),
            valid_before=int((now + HOST_CERTIFICATE_LIFE).timestamp()),
        )


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
    """Write fresh CA and host keys into `directory`, each 0600. Existing ones stay as they are."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name in ("user_ca", "host_ca", "host_key"):
        path = directory / name
        if path.exists():
            continue
        key = asyncssh.generate_private_key("ssh-ed25519", comment=f"airtunnel {name}")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(key.export_private_key())
        path.with_suffix(".pub").write_bytes(key.export_public_key())


def load_authority(directory: Path) -> Authority:
    """The keys that `create_keys` wrote. Raises ConfigError naming the file that is missing, broken or readable by others."""
    return Authority(**{name: _load_key(directory / name) for name in ("user_ca", "host_ca", "host_key")})


def _load_key(path: Path) -> asyncssh.SSHKey:
    try:
        if path.stat().st_mode & 0o077:
            raise ConfigError(f"{path}: others may read this private key", hint=f"chmod 600 {path}")
        return asyncssh.read_private_key(path)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such key", hint="airtunnel gateway init") from None
    except (OSError, asyncssh.KeyImportError) as error:
        raise ConfigError(f"{path}: this is not a usable private key: {error}") from error


def _line(key: asyncssh.SSHKey) -> str:
    return key.export_public_key().decode().strip()
