"""A fixed login from a file."""

from pathlib import Path

import pytest

from airtunnel.credentials.file import CredentialFile
from airtunnel.credentials.source import Loan
from airtunnel.errors import CredentialUnavailable
from airtunnel.model import Address, CredentialSpec, Protocol, Target
from tests.credentials.conftest import PLACE, make_loan, rewrite
from tests.credentials.contract import SourceContract


def file_loan(path: Path) -> Loan:
    spec = CredentialSpec("file", {"path": str(path)}, PLACE)
    return make_loan(Target("legacy", Protocol.POSTGRES, Address("db", 5432), PLACE, credential=spec))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "login.toml"
    path.touch(mode=0o600)
    path.write_text('user = "reports"\npassword = "canary"\n')
    return path


class TestCredentialFile(SourceContract):
    @pytest.fixture
    def source(self) -> CredentialFile:
        return CredentialFile()

    @pytest.fixture
    def loan(self, path: Path) -> Loan:
        return file_loan(path)

    @pytest.fixture
    def hopeless(self, tmp_path: Path) -> Loan:
        return file_loan(tmp_path / "absent.toml")


async def test_a_changed_file_is_read_again(path: Path) -> None:
    source, loan = CredentialFile(), file_loan(path)
    assert (await source.lend(loan)).password == "canary"
    rewrite(path, 'user = "reports"\npassword = "another"\n')
    assert (await source.lend(loan)).password == "another"


async def test_a_file_that_others_may_read_is_refused(path: Path) -> None:
    rewrite(path, 'user = "u"', mode=0o640)
    with pytest.raises(CredentialUnavailable, match="may be read by others") as caught:
        await CredentialFile().lend(file_loan(path))
    assert caught.value.hint == f"chmod 600 {path}"


@pytest.mark.parametrize(
    "text",
    [
        'canary = = "x"',
        'user = "canary"',
        'user = "u"\npassword = 1',
        'user = "u"\npassword = ""',
        'user="u"\npassword="p"\nx="canary"',
    ],
)
async def test_a_file_that_is_not_a_login_is_refused_without_being_quoted(path: Path, text: str) -> None:
    rewrite(path, text)
    with pytest.raises(CredentialUnavailable, match="file gave no login for legacy") as caught:
        await CredentialFile().lend(file_loan(path))
    assert "canary" not in f"{caught.value} {caught.value.hint}"
    assert caught.value.__cause__ is None  # a parser's error may hold the text
