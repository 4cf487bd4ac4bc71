"""The audit's part of the gateway's configuration."""

from pathlib import Path

import pytest

from airtunnel.config.audit import AuditConfig, read_audit
from airtunnel.config.document import Source, parse_document
from airtunnel.config.table import whole
from airtunnel.errors import ConfigError

HERE = Path("/etc/airtunnel")


def read(text: str) -> AuditConfig:
    return whole(read_audit)(parse_document(text.encode(), Source("gateway.yaml", HERE)))


def test_by_default_it_is_required_synced_and_rotated() -> None:
    assert read("file: a.jsonl") == AuditConfig(HERE / "a.jsonl", required=True, fsync=True, rotate=64 * 1024 * 1024)
    assert read("fsync: true").file == HERE / "audit" / "audit.jsonl"


def test_all_of_it_can_be_said() -> None:
    text = "{file: a.jsonl, required: false, fsync: false, rotate: 512KiB, checkpoints: /mnt/c, key: audit.key}"
    assert read(text) == AuditConfig(HERE / "a.jsonl", False, False, 512 * 1024, Path("/mnt/c"), HERE / "audit.key")


@pytest.mark.parametrize(("written", "size"), [("1B", 1), ("3KiB", 3072), ("64MiB", 67_108_864), ("2GiB", 2_147_483_648)])
def test_a_size_is_bytes(written: str, size: int) -> None:
    assert read(f"rotate: {written}").rotate == size


@pytest.mark.parametrize("written", ["64", "0MiB", "64MB", "-1MiB", "1.5GiB", "64 MiB", "9999999999999GiB", "[]", "''"])
def test_what_is_no_size_is_refused_where_it_stands(written: str) -> None:
    with pytest.raises(
        ConfigError, match=r"gateway\.yaml:1:9: `rotate` is a (size|text)|gateway\.yaml:1:9: `rotate` is one value"
    ):
        read(f"rotate: {written}")


def test_an_unknown_key_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown key `rotat`"):
        read("rotat: 64MiB")
