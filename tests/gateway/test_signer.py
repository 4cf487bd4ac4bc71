"""Whoever holds a CA's key: what they sign is a signature, and what they cannot sign is told as a matter of time."""

import asyncio
import base64
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import timedelta
from pathlib import Path

import asyncssh
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from moto.kms.responses import KmsResponse
from moto.kms.utils import ECDSAPrivateKey
from moto.server import ThreadedMotoServer

from airtunnel.config.authority import Holder, Kms
from airtunnel.errors import ConfigError, Temporary
from airtunnel.gateway import signer as signers
from airtunnel.gateway.rotation import rotate
from airtunnel.gateway.signer import AgentSigner, FileSigner, KmsSigner, Signer, fetch_public, kms_client
from airtunnel.model import Tags
from airtunnel.tunnel.tunnels import Tunnels
from tests.lab import Lab
from tests.ssh_agent import ssh_agent


def sign_digest(response: KmsResponse) -> str:
    """KMS's Sign, for moto, which hashes a message that is a hash already (`MessageType: DIGEST`) once more."""
    asked = {name: response._get_param(name) for name in ("KeyId", "Message", "MessageType", "SigningAlgorithm")}
    assert (asked["MessageType"], asked["SigningAlgorithm"]) == ("DIGEST", "ECDSA_SHA_256")
    response._validate_key_id(asked["KeyId"])
    key = response.kms_backend.describe_key(asked["KeyId"]).private_key
    assert isinstance(key, ECDSAPrivateKey)
    signature = key.private_key.sign(asked["Message"], ec.ECDSA(Prehashed(hashes.SHA256())))
    return json.dumps({"KeyId": asked["KeyId"], "Signature": base64.b64encode(signature).decode()})


@pytest.fixture(scope="module")
def aws() -> Iterator[str]:
    """An AWS KMS of moto's, whose signatures are real. Its address."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(KmsResponse, "sign", sign_digest)
        server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
        server.start()
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
        server.stop()


@pytest.fixture
def kms(aws: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The environment in which botocore finds it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ENDPOINT_URL_KMS": aws,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
    }.items():
        monkeypatch.setenv(name, value)
    return aws


def create_kms_key(spec: str = "ECC_NIST_P256") -> str:
    """A new key's id."""
    made = kms_client("").create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")
    return str(made["KeyMetadata"]["KeyId"])


class SignerContract:
    """What every signer keeps to. Subclasses have a fixture `signer`."""

    @pytest.mark.parametrize("size", [0, 1, 700, 40_000], ids=str)
    async def test_what_it_signs_is_a_signature_by_its_key(self, signer: Signer, size: int) -> None:
        data = os.urandom(size)
        blob = await signer.sign(data)
        assert signer.public.verify(data, blob)
        assert not signer.public.verify(data + b"x", blob)

    async def test_it_signs_for_many_at_once(self, signer: Signer) -> None:
        blobs = await asyncio.gather(*(signer.sign(bytes([number])) for number in range(30)))
        assert all(signer.public.verify(bytes([number]), blob) for number, blob in enumerate(blobs))

    async def test_it_shows_no_secret(self, signer: Signer) -> None:
        assert "PRIVATE" not in repr(signer)
        with pytest.raises(asyncssh.KeyExportError):
            signer.public.export_private_key()


@pytest.mark.parametrize("kind", signers.ALGORITHMS)
class TestFileSigner(SignerContract):
    @pytest.fixture
    def signer(self, kind: str) -> Signer:
        return FileSigner(asyncssh.generate_private_key(kind))


@pytest.mark.parametrize("kind", signers.ALGORITHMS)
class TestAgentSigner(SignerContract):
    @pytest.fixture
    async def signer(self, kind: str, tmp_path: Path) -> AsyncIterator[Signer]:
        keys = [asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key(kind)]
        async with ssh_agent(tmp_path / "agent.sock", *keys):
            yield AgentSigner(keys[1].convert_to_public(), tmp_path / "agent.sock")


class TestKmsSigner(SignerContract):
    @pytest.fixture
    def signer(self, kms: str) -> Signer:
        public = fetch_public(create_kms_key())
        return KmsSigner(public, public.get_comment() or "")


async def test_an_agent_that_was_away_is_used_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, key = tmp_path / "agent.sock", asyncssh.generate_private_key("ssh-ed25519")
    signer = AgentSigner(key.convert_to_public(), path)
    async with ssh_agent(path, key) as agent:
        assert await signer.sign(b"x")
        agent.kill()
        await agent.wait()
        with pytest.raises(Temporary, match="cannot sign at the moment"):
            await signer.sign(b"x")
    assert str(path) in caplog.text, "where it is is for the log, and not for who asked"
    async with ssh_agent(path, key):
        assert await signer.sign(b"x")


async def test_an_agent_without_the_key_says_which_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, key = tmp_path / "agent.sock", asyncssh.generate_private_key("ssh-ed25519")
    async with ssh_agent(path, asyncssh.generate_private_key("ssh-ed25519")):
        with pytest.raises(Temporary) as caught:
            await AgentSigner(key.convert_to_public(), path).sign(b"x")
    assert key.get_fingerprint() in caplog.text
    assert f"SSH_AUTH_SOCK={path} ssh-add" in caplog.text
    assert key.get_fingerprint() not in str(caught.value.as_json())


Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def _hangs_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(5)


async def _talks_rubbish(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readexactly(5)
    writer.write(b"\x00\x00\x00\x05\x0c\xff\xff\xff\xff")  # four billion keys, and not one follows
    await writer.drain()


@pytest.mark.parametrize("answer", [_says_nothing, _hangs_up, _talks_rubbish])
async def test_an_agent_that_breaks_its_protocol_is_a_matter_of_time(
    tmp_path: Path, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signers, "LIMIT", timedelta(seconds=0.3))

    over = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await answer(reader, writer)
        writer.close()
        await writer.wait_closed()
        over.set()

    server = await asyncio.start_unix_server(serve, tmp_path / "agent.sock")
    key = asyncssh.generate_private_key("ssh-ed25519").convert_to_public()
    with pytest.raises(Temporary):
        await AgentSigner(key, tmp_path / "agent.sock").sign(b"x")
    await asyncio.wait_for(over.wait(), 5)
    server.close()
    await server.wait_closed()


async def test_a_key_service_that_says_no_is_a_matter_of_time(kms: str, caplog: pytest.LogCaptureFixture) -> None:
    public = asyncssh.generate_private_key("ecdsa-sha2-nistp256").convert_to_public()
    with pytest.raises(Temporary):
        await KmsSigner(public, "arn:aws:kms:eu-central-1:123456789012:key/nosuch").sign(b"x")
    assert "AWS KMS does not sign" in caplog.text


async def test_a_key_service_that_does_not_answer_blocks_nobody(kms: str, monkeypatch: pytest.MonkeyPatch) -> None:
    public = await asyncio.to_thread(lambda: fetch_public(create_kms_key()))
    monkeypatch.setattr(signers, "LIMIT", timedelta(seconds=0.3))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL_KMS", f"http://127.0.0.1:{silent.getsockname()[1]}")
        began = asyncio.get_running_loop().time()
        with pytest.raises(Temporary):
            await KmsSigner(public, public.get_comment() or "").sign(b"x")
        assert asyncio.get_running_loop().time() - began < 2


async def test_the_public_half_of_a_service_key_has_its_name(kms: str) -> None:
    key = await asyncio.to_thread(create_kms_key)
    public = await asyncio.to_thread(fetch_public, key)
    assert public.get_algorithm() == "ecdsa-sha2-nistp256"
    # An ARN of AWS's, which ends in the id; moto says the id alone.
    assert (public.get_comment() or "").endswith(key)


@pytest.mark.parametrize("spec", ["RSA_2048", "ECC_NIST_P384"])
async def test_a_service_key_of_another_kind_is_not_taken(kms: str, spec: str) -> None:
    key = await asyncio.to_thread(create_kms_key, spec)
    with pytest.raises(ConfigError, match="cannot be a CA here"):
        await asyncio.to_thread(fetch_public, key)


async def test_a_service_key_that_is_not_there_is_named(kms: str) -> None:
    with pytest.raises(ConfigError, match="does not give the public half of alias/nosuch"):
        await asyncio.to_thread(fetch_public, "alias/nosuch")


async def test_a_gateway_whose_keys_are_in_a_key_service_lets_its_users_in(kms: str, lab: Lab) -> None:
    keys = lab.root / "site" / "authority"
    keys.mkdir(parents=True)
    for name in ("user_ca", "host_ca"):
        public = await asyncio.to_thread(lambda: fetch_public(create_kms_key()))
        rotate(keys / name, Holder(keys / f"{name}.pub", kms=Kms.AWS), public)
    held = [f"  {name}: {{kms: aws, public_key: authority/{name}.pub}}\n" for name in ("user_ca", "host_ca")]
    async with lab.gateway(extra="authority:\n" + "".join(held)) as site:
        assert not (keys / "user_ca").exists()
        async with Tunnels.open(await site.account("ana"), ["warehouse"], Tags()) as tunnels:
            await tunnels.test("warehouse")
