"""A configuration that works from the start, and what is said of one that does not."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from airtunnel.errors import ConfigError
from airtunnel.gateway.setup import check, create_certificate, init
from tests.lab import POLICY, Lab


def test_what_init_writes_passes_check_and_keeps_its_keys_private(tmp_path: Path) -> None:
    config = init(tmp_path / "gw", host="gateway.example.com", issuer="https://login.example.com")
    checked = check(config)
    assert checked.targets >= 1
    assert checked.rules >= 1
    private = [path for path in (tmp_path / "gw").rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]
    assert len(private) == 4
    assert all(path.stat().st_mode & 0o077 == 0 for path in private)


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    config = init(tmp_path, host="g", issuer="https://login.example.com")
    config.write_text("mine")
    with pytest.raises(ConfigError, match="already") as refused:
        init(tmp_path, host="g", issuer="https://login.example.com")
    assert config.read_text() == "mine"
    assert "gateway check" in str(refused.value.hint)


def test_the_certificate_is_good_for_its_hosts_and_signs_nothing(tmp_path: Path) -> None:
    create_certificate(tmp_path, ("gateway.example.com", "127.0.0.1"))
    certificate = x509.load_pem_x509_certificate((tmp_path / "gateway.pem").read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["gateway.example.com", "127.0.0.1"]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert certificate.not_valid_after_utc > datetime.now(UTC)
    ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
    before = (tmp_path / "gateway.pem").read_bytes()
    create_certificate(tmp_path, ("other",))
    assert (tmp_path / "gateway.pem").read_bytes() == before


def test_several_faults_are_told_together(lab: Lab) -> None:
    directory = lab.write(POLICY.replace("source: postgres-role", "source: postgres-rule"))
    (directory / "authority" / "user_ca").chmod(0o644)
    (directory / "tls" / "gateway.key").chmod(0o644)
    with pytest.raises(ExceptionGroup) as faults:
        check(directory / "gateway.yaml")
    said = [str(fault) for fault in faults.value.exceptions]
    assert len(said) == 4
    assert any("postgres-rule" in one and "policy.yaml" in one for one in said)
    assert sum("others may read this private key" in one for one in said) == 2


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda keys: (keys / "host_ca").unlink(), "host_ca: there is no such key"),
        (lambda keys: (keys / "user_ca.next").write_text("rubbish"), "user_ca.next: "),
        (lambda keys: (keys / "user_ca.old.pub").write_text("rubbish"), "user_ca.old.pub: this is not a public key"),
        (lambda keys: (keys / "host_ca.old.pub").write_bytes((keys / "user_ca.pub").read_bytes()), "share a key"),
        (
            lambda keys: ((keys / "real").touch(0o640), (keys / "host_key").unlink(), (keys / "host_key").symlink_to("real")),
            "real",
        ),
    ],
    ids=["missing", "broken next", "broken old", "shared", "link to a readable file"],
)
def test_what_is_wrong_with_the_keys_is_a_fault(lab: Lab, harm: Callable[[Path], object], said: str) -> None:
    directory = lab.write()
    harm(directory / "authority")
    with pytest.raises(ConfigError) as caught:
        check(directory / "gateway.yaml")
    assert said in f"{caught.value} {caught.value.hint}"


def test_a_key_that_belongs_to_another_certificate_is_a_fault(lab: Lab, tmp_path: Path) -> None:
    directory = lab.write()
    create_certificate(tmp_path / "other", ("x",))
    (directory / "tls" / "gateway.key").write_bytes((tmp_path / "other" / "gateway.key").read_bytes())
    with pytest.raises(ConfigError, match="certificate and key cannot be used"):
        check(directory / "gateway.yaml")
