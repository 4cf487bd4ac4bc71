"""Where the gateway's keys are, as the file says it."""

from pathlib import Path

import pytest

from airtunnel.config.authority import AuthorityFiles, Holder, Kms, read_authority
from airtunnel.config.document import read_document
from airtunnel.config.table import whole
from airtunnel.errors import ConfigError


def read(directory: Path, text: str) -> AuthorityFiles:
    path = directory / "gateway.yaml"
    path.write_text(text)
    return whole(read_authority)(read_document(path))


def test_keys_are_files_in_one_directory(tmp_path: Path) -> None:
    files = read(tmp_path, "directory: keys\n")
    assert files == AuthorityFiles(tmp_path / "keys")
    assert [files.user_ca, files.host_ca, files.host_key] == [tmp_path / "keys" / n for n in ("user_ca", "host_ca", "host_key")]


def test_someone_else_may_hold_each(tmp_path: Path) -> None:
    files = read(
        tmp_path,
        "user_ca: {agent: /run/ca.sock, public_key: keys/people.pub}\nhost_ca: {kms: aws, public_key: /etc/at/hosts.pub}\n",
    )
    assert files.user_holder == Holder(tmp_path / "keys/people.pub", agent=Path("/run/ca.sock"))
    assert files.host_holder == Holder(Path("/etc/at/hosts.pub"), kms=Kms.AWS)
    assert (files.user_ca, files.host_ca) == (tmp_path / "keys/people", Path("/etc/at/hosts"))
    assert files.host_key == tmp_path / "authority" / "host_key"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("user_ca: {agent: a.sock}", "`public_key` is missing"),
        ("user_ca: {public_key: a.pub}", "say one of `agent: SOCKET` and `kms: aws`"),
        ("user_ca: {public_key: a.pub, agent: a.sock, kms: aws}", "say one of `agent: SOCKET` and `kms: aws`"),
        ("user_ca: {public_key: a, agent: a.sock}", "`public_key` is a file whose name ends in .pub, not a"),
        ("user_ca: {public_key: a.pub, kms: azure}", "`kms` is aws, not `azure`"),
        ("users_ca: {public_key: a.pub, kms: aws}", "unknown key `users_ca`; did you mean `user_ca`?"),
    ],
)
def test_what_is_wrong_is_named_at_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith("gateway.yaml:1:")
    assert said in str(caught.value)
