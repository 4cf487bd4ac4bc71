"""The border behind which a CA's private key is: whoever it is that signs, the gateway only hands over bytes.

    FileSigner    a key in this process, from a file of mode 0600
    AgentSigner   an ssh-agent on a socket: another user, another machine, a hardware token
    KmsSigner     AWS KMS: a key that no computer of ours has ever had

Each is asked anew for each signature, so that one that was away and came back is used again.
"""

import asyncio
import hashlib
import logging
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import asyncssh
from asyncssh.packet import MPInt, String

from airtunnel.errors import ConfigError, Temporary

logger = logging.getLogger(__name__)

ALGORITHMS = ("ssh-ed25519", "ecdsa-sha2-nistp256")
"""What a CA's key may be. Each has one kind of signature, which OpenSSH takes by default (CASignatureAlgorithms)."""
LIMIT = timedelta(seconds=5)
"""For one signature: a client waits 15 s for its grant."""
AT_ONCE = 4
"""Calls of a key service at the same time: each holds a thread, and others need threads, too."""


class Signer(Protocol):
    """A CA's key, wherever it is."""

    @property
    def public(self) -> asyncssh.SSHKey:
        """Its public half."""

    async def sign(self, data: bytes) -> bytes:
        """The signature as a blob (RFC 4253 section 6.6; RFC 8709 or RFC 5656 inside). Raises Temporary."""


@dataclass(frozen=True, slots=True)
class FileSigner:
    """A private key in memory. A signature takes it 0.1 ms."""

    key: asyncssh.SSHKey = field(repr=False)

    @property
    def public(self) -> asyncssh.SSHKey:
        return self.key.convert_to_public()

    async def sign(self, data: bytes) -> bytes:
        return self.key.sign(data, self.key.algorithm)


@dataclass(frozen=True, slots=True)
class AgentSigner:
    """A key in an ssh-agent, by the agent's protocol (draft-ietf-sshm-ssh-agent)."""

    public: asyncssh.SSHKey
    socket: Path

    async def sign(self, data: bytes) -> bytes:
        try:
            async with asyncio.timeout(LIMIT.total_seconds()):
                return await self._ask(data)
        except TimeoutError:
            raise cannot_sign(f"the ssh-agent at {self.socket} does not answer") from None
        except (OSError, ValueError) as error:
            raise cannot_sign(f"the ssh-agent at {self.socket} does not answer: {error}") from error

    async def _ask(self, data: bytes) -> bytes:
        wanted = self.public.public_data
        agent = await asyncssh.connect_agent(str(self.socket))
        try:
            if await agent.get_keys([wanted]):
                return await agent.sign(wanted, data)
        finally:
            agent.close()
        name = self.public.get_fingerprint()
        raise cannot_sign(f"the ssh-agent is locked or lacks {name}: SSH_AUTH_SOCK={self.socket} ssh-add KEY")


class KmsSigner:
    """A key of AWS KMS, of the kind ECC_NIST_P256.

    KMS has Ed25519, too, but signs at most 4,096 bytes with it, and a grant may be larger.
    """

    def __init__(self, public: asyncssh.SSHKey, key: str) -> None:
        self.public = public
        self._key = key
        self._slots = asyncio.Semaphore(AT_ONCE)

    async def sign(self, data: bytes) -> bytes:
        try:
            async with asyncio.timeout(LIMIT.total_seconds()), self._slots:
                return await asyncio.to_thread(self._sign, hashlib.sha256(data).digest())
        except TimeoutError:
            raise cannot_sign(f"AWS KMS does not answer for {self._key}") from None

    @cached_property
    def _client(self) -> Any:  # Any: botocore makes its clients' methods at run time
        return kms_client(self._key)

    def _sign(self, digest: bytes) -> bytes:
        from botocore.exceptions import BotoCoreError, ClientError
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        try:
            answer = self._client.sign(KeyId=self._key, Message=digest, MessageType="DIGEST", SigningAlgorithm="ECDSA_SHA_256")
        except (BotoCoreError, ClientError) as error:
            raise cannot_sign(f"AWS KMS does not sign with {self._key}: {error}") from error
        one, other = decode_dss_signature(answer["Signature"])
        return String("ecdsa-sha2-nistp256") + String(MPInt(one) + MPInt(other))


def kms_client(key: str) -> Any:  # Any: botocore makes its clients' methods at run time
    """A client for the region in the key's ARN, or the usual one. Raises ConfigError where botocore is not installed."""
    try:
        from botocore.config import Config
        from botocore.session import Session
    except ImportError as error:
        raise ConfigError("a key in AWS KMS needs botocore", hint="pip install 'airtunnel[aws]'") from error
    parts = key.split(":")
    region = parts[3] if len(parts) > 5 and parts[0] == "arn" else None
    # One try: whoever asks for a grant asks again, and LIMIT is for all of it.
    limits = Config(connect_timeout=2, read_timeout=3, retries={"total_max_attempts": 1})
    return Session().create_client("kms", region_name=region, config=limits)


def fetch_public(key: str) -> asyncssh.SSHKey:
    """The public half of a key in AWS KMS, with its ARN as comment; `key`: its id, ARN or alias. Blocks.

    Raises ConfigError if it cannot be had, or is not of a kind that can sign for us.
    """
    client = kms_client(key)
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        answer = client.get_public_key(KeyId=key)
    except (BotoCoreError, ClientError) as error:
        raise ConfigError(f"AWS KMS does not give the public half of {key}: {error}") from error
    public = asyncssh.import_public_key(answer["PublicKey"])
    if public.get_algorithm() != "ecdsa-sha2-nistp256" or answer["KeyUsage"] != "SIGN_VERIFY":
        raise ConfigError(
            f"{key}: a key of type {public.get_algorithm()} for {answer['KeyUsage']} cannot be a CA here",
            hint="aws kms create-key --key-spec ECC_NIST_P256 --key-usage SIGN_VERIFY",
        )
    public.set_comment(answer["KeyId"])
    return public


def cannot_sign(why: str) -> Temporary:
    """The error for who asked. What exactly is wrong is the operator's affair, and goes to the log."""
    logger.error("no signature: %s", why)
    return Temporary("the gateway cannot sign at the moment", hint="try again in a minute; its log says what is wrong")
