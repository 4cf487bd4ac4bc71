"""A fixed login from a file: for targets that cannot make temporary ones. TOML, mode 0600, read again when it changes.

user = "reports"
password = "..."
"""

import tomllib
from pathlib import Path

from airtunnel.credentials.secret_file import SecretFile
from airtunnel.credentials.source import Loan, spec_of
from airtunnel.errors import CredentialUnavailable
from airtunnel.model import Lease, Target


class CredentialFile:
    """The source `file`. Its leases share one login, so nothing is taken back: only the gateway ends the session."""

    def __init__(self) -> None:
        self._files: dict[Path, SecretFile] = {}

    async def lend(self, loan: Loan) -> Lease:
        path = Path(spec_of(loan.target).options["path"])
        try:
            text = self._files.setdefault(path, SecretFile(path)).read()
        except CredentialUnavailable as error:
            raise CredentialUnavailable(
                f"file gave no login for {loan.target.name}: {error.message}", hint=error.hint
            ) from error
        user, password = _parse(text, f"file gave no login for {loan.target.name}: {path}")
        return Lease(loan.lease_id, "file", user, password, loan.until)

    async def take_back(self, target: Target, lease_id: str) -> None:
        """Nothing to do."""

    async def sweep(self, target: Target) -> int:
        """Nothing to do."""
        return 0

    async def aclose(self) -> None:
        """Nothing is open."""


def _parse(text: str, where: str) -> tuple[str, str]:
    try:
        body = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        # Not `from` the cause: its message may quote the file.
        raise CredentialUnavailable(f"{where} is not TOML", hint='write: user = "..." and password = "..."') from None
    match body:
        case {"user": str(user), "password": str(password)} if len(body) == 2 and user and password:
            return user, password
        case _:
            raise CredentialUnavailable(f"{where} does not hold just a user and a password")
