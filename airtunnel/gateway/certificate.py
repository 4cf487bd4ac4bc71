"""OpenSSH certificates as bytes, without a private key: what is to be signed, and the signature put behind it.

    string   type             ssh-ed25519-cert-v01@openssh.com, ...
    string   nonce
    ...      public key       its own fields, without its type
    uint64   serial
    uint32   kind             1: user, 2: host
    string   key id
    string   principals       of strings
    uint64   valid after      seconds since 1970
    uint64   valid before
    string   critical options of pairs: string name, string data (which for force-command is a string again)
    string   extensions       of pairs, the data empty
    string   reserved
    string   the CA's public key
    string   signature        by the CA, of all before it

asyncssh wants the CA's private key in the process, and ours may be elsewhere. Source: OpenSSH's PROTOCOL.certkeys.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

from asyncssh.packet import SSHPacket, String, UInt32, UInt64

from airtunnel.errors import ProtocolError

TYPES = {
    b"ssh-ed25519": b"ssh-ed25519-cert-v01@openssh.com",
    b"ecdsa-sha2-nistp256": b"ecdsa-sha2-nistp256-cert-v01@openssh.com",
    b"sk-ssh-ed25519@openssh.com": b"sk-ssh-ed25519-cert-v01@openssh.com",
}
"""The keys that we certify, and the type of their certificates."""
PORTS = "permit-port-forwarding"
"""The extension without which no channel opens. No other is ever given."""


class Kind(IntEnum):
    """Whose certificate it is."""

    USER = 1
    HOST = 2


@dataclass(frozen=True, slots=True)
class Statement:
    """What a CA says of a public key (`key`: as a blob, RFC 4253 section 6.6). Times have a time zone, and count in seconds."""

    kind: Kind
    key: bytes
    serial: int
    key_id: str
    principals: tuple[str, ...]
    valid_after: datetime
    valid_before: datetime
    options: Mapping[str, str] = field(default_factory=dict)
    extensions: tuple[str, ...] = ()


def to_sign(said: Statement, *, authority: bytes, nonce: bytes) -> bytes:
    """The bytes that the CA, whose public key's blob is `authority`, has to sign.

    nonce: 32 random bytes, so that nobody can choose what is signed. Raises ProtocolError for a type of key not in TYPES.
    """
    packet = SSHPacket(said.key)
    kind = packet.get_string()
    if kind not in TYPES:
        raise ProtocolError(f"public_key is of type {kind.decode('ascii', 'replace')}: ssh-ed25519 is needed")
    options = b"".join(String(name) + String(String(value)) for name, value in sorted(said.options.items()))
    parts = (
        String(TYPES[kind]),
        String(nonce),
        packet.get_remaining_payload(),
        UInt64(said.serial),
        UInt32(said.kind),
        String(said.key_id),
        String(b"".join(map(String, said.principals))),
        UInt64(int(said.valid_after.timestamp())),
        UInt64(int(said.valid_before.timestamp())),
        String(options),
        String(b"".join(String(name) + String(b"") for name in sorted(said.extensions))),
        String(b""),
        String(authority),
    )
    return b"".join(parts)


def as_line(signed: bytes, signature: bytes) -> str:
    """The certificate as one line in OpenSSH's format. `signature`: a blob, RFC 4253 section 6.6."""
    kind = SSHPacket(signed).get_string().decode("ascii")
    return f"{kind} {base64.b64encode(signed + String(signature)).decode()}"
