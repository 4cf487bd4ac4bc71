"""The broker's connections towards servers that are down, silent, or not who they should be."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from airtunnel.credentials import postgres_broker
from airtunnel.credentials.postgres_broker import Broker, named_errors
from airtunnel.errors import CredentialUnavailable
from airtunnel.model import Address, Target
from tests.credentials.conftest import role_target

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
PORT_IN_MESSAGE = "127.0.0.1"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate of db.example.com with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "db.example.com")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=1))
    names = x509.SubjectAlternativeName([x509.DNSName("db.example.com"), x509.IPAddress(ip_address("192.0.2.1"))])
    made = builder.add_extension(names, critical=False).sign(key, hashes.SHA256())
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


@asynccontextmanager
async def listening(handler: Handler, password_file: Path) -> AsyncIterator[Target]:
    """A target at which `handler` answers."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        yield role_target(Address("127.0.0.1", port), password_file)


async def reach(target: Target) -> None:
    broker = Broker(target)
    try:
        with named_errors(f"postgres-role gave no login for {target.name}"):
            async with broker.connect():
                pass
    finally:
        await broker.aclose()


def speak_tls(certificate: Path, received: list[bytes]) -> Handler:
    """A server that takes TLS, and notes what is said inside."""

    async def handler(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        await reader.readexactly(8)
        writer.write(b"S")
        await writer.start_tls(context)
        received.append(await reader.read(1000))

    return handler


async def test_a_server_that_is_down_is_named_without_its_address(password_file: Path) -> None:
    async with listening(speak_tls(password_file, []), password_file) as target:
        pass
    with pytest.raises(CredentialUnavailable, match="gave no login for orders-db: connection refused") as caught:
        await reach(target)
    assert PORT_IN_MESSAGE not in str(caught.value)


async def test_a_server_that_says_nothing_is_given_up_in_time(password_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_broker, "DIAL_LIMIT", 0.1)

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with listening(silent, password_file) as target:
        with pytest.raises(CredentialUnavailable, match="orders-db: it does not answer in time"):
            await reach(target)


async def test_a_server_without_tls_is_not_told_anything(password_file: Path) -> None:
    received: list[bytes] = []

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(b"N")
        received.append(await reader.read())

    async with listening(plain, password_file) as target:
        with pytest.raises(CredentialUnavailable, match="orders-db: "):
            await reach(target)
    assert received == [b""]


@pytest.mark.parametrize(("ca", "name"), [(False, "db.example.com"), (True, None), (True, "other.example.com")])
async def test_a_server_that_cannot_prove_its_name_is_not_told_anything(
    certificate: Path, password_file: Path, ca: bool, name: str | None
) -> None:
    received: list[bytes] = []
    async with listening(speak_tls(certificate, received), password_file) as target:
        with pytest.raises(CredentialUnavailable, match="orders-db: certificate verify failed"):
            await reach(replace(target, tls_ca=str(certificate) if ca else None, tls_name=name))
    assert b"".join(received) == b""


async def test_the_name_in_the_certificate_may_differ_from_the_dialled_one(certificate: Path, password_file: Path) -> None:
    received: list[bytes] = []
    async with listening(speak_tls(certificate, received), password_file) as target:
        with pytest.raises(CredentialUnavailable):  # this server hangs up after the startup message
            await reach(replace(target, tls_ca=str(certificate), tls_name="db.example.com"))
    assert b"broker" in b"".join(received)


async def test_a_missing_ca_file_is_named_as_such(password_file: Path) -> None:
    target = replace(role_target(Address("db.example.com", 5432), password_file), tls_ca="/nowhere/ca.pem")
    with pytest.raises(CredentialUnavailable, match="orders-db: no such file"):
        await reach(target)


async def test_an_unknown_host_is_named_as_such(password_file: Path) -> None:
    with pytest.raises(CredentialUnavailable, match="orders-db: its host name is not known"):
        await reach(role_target(Address("db.invalid", 5432), password_file))
