"""Grants for tests that need one, and none that a gateway wrote down."""

from datetime import UTC, datetime, timedelta

import asyncssh
from asyncssh.public_key import SSHOpenSSHCertificate

from airtunnel.gateway.ca import Ca
from airtunnel.gateway.ids import new_id
from airtunnel.gateway.signer import FileSigner
from airtunnel.model import Grant, Principal, PrincipalKind, Tags

ANA = Principal(PrincipalKind.PERSON, "https://login.example.com", "ana", "ana@example.com", ("data-eng",), {"level": 3})


def a_grant(
    *,
    principal: Principal = ANA,
    targets: tuple[str, ...] = ("warehouse",),
    now: datetime | None = None,
    tags: Tags | None = None,
) -> Grant:
    """A grant of five minutes for an hour's session, from now on."""
    now = now or datetime.now(UTC)
    ends = (now + timedelta(minutes=5), now + timedelta(hours=1))
    return Grant(new_id(now), principal, targets, tags or Tags(), now, *ends)


def public_line(key: asyncssh.SSHKey) -> str:
    """The public key as one line of OpenSSH's format."""
    return key.export_public_key().decode().strip()


def private_key(ca: Ca) -> asyncssh.SSHKey:
    """The key of a CA that is in a file."""
    assert isinstance(ca.signer, FileSigner)
    return ca.signer.key


def opened(certificate: asyncssh.SSHCertificate | str) -> SSHOpenSSHCertificate:
    """The certificate with its inner parts, from an object or its line."""
    found = asyncssh.import_certificate(certificate) if isinstance(certificate, str) else certificate
    assert isinstance(found, SSHOpenSSHCertificate)
    return found
