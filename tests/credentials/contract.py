"""What every credential source must do. A test class inherits it and gives the fixtures `source`, `loan` and `hopeless`."""

import pytest

from airtunnel.credentials.source import Loan, Source
from airtunnel.errors import CredentialUnavailable


class SourceContract:
    """`loan` can be lent; `hopeless` is a loan whose source cannot lend."""

    async def test_a_lease_has_the_id_that_the_caller_chose_and_ends_in_time(self, source: Source, loan: Loan) -> None:
        lease = await source.lend(loan)
        assert (lease.id, lease.source, lease.expires_at) == (loan.lease_id, _name(loan), loan.until)
        assert lease.user
        assert lease.password

    async def test_a_printed_lease_does_not_show_its_password(self, source: Source, loan: Loan) -> None:
        lease = await source.lend(loan)
        assert lease.password not in f"{lease} {lease!r}"

    async def test_a_lease_may_be_taken_back_twice(self, source: Source, loan: Loan) -> None:
        lease = await source.lend(loan)
        await source.take_back(loan.target, lease.id)
        await source.take_back(loan.target, lease.id)

    async def test_a_lease_that_never_was_may_be_taken_back(self, source: Source, loan: Loan) -> None:
        await source.take_back(loan.target, "0123456789ab")

    async def test_sweeping_leaves_a_living_lease_alone(self, source: Source, loan: Loan) -> None:
        await source.lend(loan)
        assert await source.sweep(loan.target) == 0

    async def test_a_failure_names_the_source_and_the_target(self, source: Source, hopeless: Loan) -> None:
        with pytest.raises(CredentialUnavailable, match=f"^{_name(hopeless)} .*{hopeless.target.name}"):
            await source.lend(hopeless)

    async def test_it_may_be_closed_twice(self, source: Source, loan: Loan) -> None:
        await source.lend(loan)
        await source.aclose()
        await source.aclose()


def _name(loan: Loan) -> str:
    assert loan.target.credential is not None
    return loan.target.credential.source
