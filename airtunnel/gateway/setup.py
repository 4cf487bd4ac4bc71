"""`gateway init` and `gateway check`: a configuration that works from the start, and what is wrong with one that does not."""

import ipaddress
import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import resources
from pathlib import Path
from string import Template

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from airtunnel.config.gateway import GatewayConfig, load_gateway
from airtunnel.credentials.source import check_options
from airtunnel.errors import AirtunnelError, ConfigError
from airtunnel.gateway.authority import create_keys, load_authority
from airtunnel.gateway.providers import trusted
from airtunnel.identity.verify.verifier import Verifier
from airtunnel.policy.load import load_policy

TLS_LIFE = timedelta(days=397)
"""Apple's and the CA/Browser Forum's former limit for a server's certificate: no client refuses it for being too long."""
CA_LIFE = timedelta(days=3650)


@dataclass(frozen=True, slots=True)
class Checked:
    """What `check` found to be in order."""

    config: GatewayConfig
    targets: int
    rules: int
    commit: str | None


def init(directory: Path, *, host: str, issuer: str) -> Path:
    """Write a commented configuration, an example policy, keys and a TLS certificate for `host`. Returns the configuration.

    Raises ConfigError if there is a configuration already: nothing is overwritten.
    """
    config = directory / "gateway.yaml"
    if config.exists():
        raise ConfigError(f"{config}: there is a configuration already", hint=f"airtunnel gateway check --config {config}")
    try:
        (directory / "policy").mkdir(parents=True, exist_ok=True)
        for name, place in (("gateway.yaml", config), ("policy.yaml", directory / "policy" / "example.yaml")):
            text = resources.files("airtunnel.gateway").joinpath("skeleton", name).read_text("utf-8")
            place.write_text(Template(text).substitute(host=host, issuer=issuer), "utf-8")
        create_keys(directory / "authority")
        create_certificate(directory / "tls", (host,))
    except OSError as error:
        raise ConfigError(f"{error.filename or directory}: {(error.strerror or str(error)).lower()}") from error
    return config


def check(path: Path) -> Checked:
    """Everything that can be said of a configuration without opening a port or asking a target.

    Raises ConfigError for one fault, an ExceptionGroup of them for several.
    """
    config = load_gateway(path)
    faults: list[AirtunnelError] = []
    policy = None
    try:
        policy = load_policy(config.policy, config.environment)
        for target in policy.targets.values():
            try:
                check_options(target)
            except ConfigError as error:
                faults.append(error)
    except ConfigError as error:
        faults.append(error)
    except ExceptionGroup as group:
        faults.extend(one for one in group.exceptions if isinstance(one, AirtunnelError))
    for step in (
        lambda: load_authority(config.authority),
        lambda: _check_tls(config),
        lambda: Verifier(trusted(config.providers)),  # files of groups, and tokens that could be meant for two
    ):
        try:
            step()
        except ConfigError as error:
            faults.append(error)
    if policy is None or faults:
        raise faults[0] if len(faults) == 1 else ExceptionGroup(f"{path} has {len(faults)} faults", faults)
    return Checked(config, len(policy.targets), len(policy.rules), policy.commit)


def create_certificate(directory: Path, hosts: tuple[str, ...]) -> None:
    """A CA (`ca.pem`) and a server certificate (`gateway.pem`, `gateway.key`) for the hosts. What exists stays as it is."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if (directory / "gateway.pem").exists():
        return
    now = datetime.now(UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "airtunnel gateway CA")])
    usage = dict.fromkeys(
        ("key_agreement", "content_commitment", "data_encipherment", "encipher_only", "decipher_only", "key_encipherment"),
        False,
    )
    ca = (
        _builder(ca_name, ca_name, ca_key.public_key(), now, CA_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(digital_signature=False, key_cert_sign=True, crl_sign=True, **usage), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    certificate = (
        _builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0][:64])]), ca_name, key.public_key(), now, TLS_LIFE)
        .add_extension(x509.SubjectAlternativeName([_name(host) for host in hosts]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    # The CA's key is not kept: what it could sign besides is nothing anybody needs.
    _write(directory / "ca.pem", ca.public_bytes(serialization.Encoding.PEM), 0o644)
    _write(directory / "gateway.pem", certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(directory / "gateway.key", private, 0o600)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write(path: Path, data: bytes, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)


def _check_tls(config: GatewayConfig) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(config.tls.certificate, config.tls.key)
        certificate = x509.load_pem_x509_certificate(config.tls.certificate.read_bytes())
    except (OSError, ssl.SSLError, ValueError) as error:
        raise ConfigError(f"{config.tls.certificate}: certificate and key cannot be used: {error}") from error
    if certificate.not_valid_after_utc < datetime.now(UTC):
        raise ConfigError(f"{config.tls.certificate}: expired at {certificate.not_valid_after_utc:%Y-%m-%d %H:%M} UTC")
    if config.tls.key.stat().st_mode & 0o077:
        raise ConfigError(f"{config.tls.key}: others may read this private key", hint=f"chmod 600 {config.tls.key}")
