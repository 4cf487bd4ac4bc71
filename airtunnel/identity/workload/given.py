"""A token that something else fetched: AIRTUNNEL_TOKEN holds it, or AIRTUNNEL_TOKEN_FILE says where it lies."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from airtunnel.errors import LoginRequired
from airtunnel.identity.workload.accept import taken
from airtunnel.identity.workload.file import read_secret
from airtunnel.wire.control import Published, WorkloadIssuer

TEXT, FILE = "AIRTUNNEL_TOKEN", "AIRTUNNEL_TOKEN_FILE"


@dataclass(frozen=True, slots=True)
class GivenToken:
    """The text of a variable."""

    environment: Mapping[str, str] = field(repr=False)
    name: str = "token"
    where: str = TEXT

    def wants(self, published: Published) -> tuple[WorkloadIssuer, ...]:
        return taken(published)[:1]  # the token is made already: for whom, is seen afterwards

    def advice(self, audience: str) -> tuple[str, ...]:
        return (f"{TEXT} needs a token for {audience}",) if audience else ()

    async def token(self, wanted: WorkloadIssuer, published: Published) -> str:
        """The token. Raises LoginRequired if the variable is not set, or empty: a secret of CI that a fork does not get."""
        if not (text := self.environment.get(self.where, "").strip()):
            state = "set, and empty" if self.where in self.environment else "not set"
            raise LoginRequired(f"{self.where} is {state}", details=self.advice(wanted.audience))
        return text


@dataclass(frozen=True, slots=True)
class TokenFile:
    """The text of a file, read at every use: whoever put it there also replaces it before it expires."""

    path: Path
    name: str = "token"

    @property
    def where(self) -> str:
        return str(self.path)

    def wants(self, published: Published) -> tuple[WorkloadIssuer, ...]:
        return taken(published)[:1]

    def advice(self, audience: str) -> tuple[str, ...]:
        return (f"{FILE} must name a file with a token for {audience}",) if audience else ()

    async def token(self, wanted: WorkloadIssuer, published: Published) -> str:
        """The token. Raises LoginRequired if there is no such file, ConfigError if it cannot be used."""
        return read_secret(self.path, "the token", private=False)
