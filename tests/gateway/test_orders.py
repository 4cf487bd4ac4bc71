"""What operators did at the store comes into one audit, once."""

import asyncio

import pytest

from airtunnel.errors import AuditUnavailable
from airtunnel.gateway.orders import Order
from airtunnel.gateway.store import Store
from tests.gateway.conftest import Opener

ONE = Order("01a", "session.killed", "of ana (by root at ops)", session="s1")
TWO = Order("01b", "lock.set", "target warehouse: restore (by root at ops)", target="warehouse")


async def test_orders_are_written_in_their_order_and_once_among_all_gateways(opener: Opener) -> None:
    written: list[Order] = []

    async def write(order: Order) -> None:
        written.append(order)

    async with opener() as store, opener() as other:
        await store.orders.put(TWO)
        await store.orders.put(ONE)
        await asyncio.gather(*(one.orders.take(write) for one in (store, other, store)))
        assert written == [ONE, TWO]
        await other.orders.take(write)
        assert written == [ONE, TWO]


async def test_an_order_that_could_not_be_written_is_tried_again(any_store: Store) -> None:
    written: list[Order] = []

    async def full(order: Order) -> None:
        raise AuditUnavailable("the disk is full")

    async def write(order: Order) -> None:
        written.append(order)

    await any_store.orders.put(ONE)
    with pytest.raises(AuditUnavailable):
        await any_store.orders.take(full)
    await any_store.orders.take(write)
    assert written == [ONE]
