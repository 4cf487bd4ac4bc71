"""Where the gateway's own keys are: in its directory, or with an ssh-agent or a cloud's key service that signs for it.

    authority: {directory: authority}
    authority: {user_ca: {agent: /run/airtunnel/ca-agent.sock, public_key: authority/user_ca.pub}}
    authority: {user_ca: {kms: aws, public_key: authority/user_ca.pub}}

Beside the key that signs, its next and its former one may be there: gateway/rotation.py says under which names.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from airtunnel.config.document import Node, fault
from airtunnel.config.table import Table, choice, path, whole


class Kms(StrEnum):
    """A cloud's key service."""

    AWS = "aws"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds a CA's private key for us. One of the two is set.

    public_key: which of its keys signs; for a key service, the file's comment is the key's name there (AWS: its ARN)
    agent: the ssh-agent's socket
    """

    public_key: Path
    agent: Path | None = None
    kms: Kms | None = None


@dataclass(frozen=True, slots=True)
class AuthorityFiles:
    """The CAs that sign users' and hosts' certificates, and the SSH host key. Without a holder, a CA's key is a file."""

    directory: Path
    user_holder: Holder | None = None
    host_holder: Holder | None = None

    @property
    def user_ca(self) -> Path:
        """The private key; with a holder there is none, and the other files' names begin as this one would be called."""
        return self.directory / "user_ca" if self.user_holder is None else self.user_holder.public_key.with_suffix("")

    @property
    def host_ca(self) -> Path:
        """The same for the CA of host keys."""
        return self.directory / "host_ca" if self.host_holder is None else self.host_holder.public_key.with_suffix("")

    @property
    def host_key(self) -> Path:
        return self.directory / "host_key"


def read_authority(table: Table) -> AuthorityFiles:
    """The table `authority`. Raises ConfigError."""
    return AuthorityFiles(
        table.take("directory", path, table.node.source.directory / "authority"),
        table.take("user_ca", whole(_holder), None),
        table.take("host_ca", whole(_holder), None),
    )


def _holder(table: Table) -> Holder:
    holder = Holder(table.need("public_key", _public), table.take("agent", path, None), table.take("kms", choice(Kms), None))
    if (holder.agent is None) == (holder.kms is None):
        raise table.fault("kms", "say one of `agent: SOCKET` and `kms: aws`; a key in a file needs no entry here")
    return holder


def _public(node: Node) -> Path:
    where = path(node)
    if where.suffix != ".pub":
        raise fault(node, f"`public_key` is a file whose name ends in .pub, not {where.name}")
    return where
