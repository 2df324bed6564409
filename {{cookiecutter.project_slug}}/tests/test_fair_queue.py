"""The queue for connections is fair, has a time limit, and loses no place."""

import asyncio

import pytest
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.util import greenlet_spawn

from app.core.fair_queue import FairQueue


async def test_first_come_first_served() -> None:
    queue = FairQueue(places=1, timeout=5)
    order: list[int] = []

    async def come_twice(number: int) -> None:
        for _ in range(2):
            holder = await greenlet_spawn(queue.enter)
            order.append(number)
            await asyncio.sleep(0)
            queue.leave(holder)

    await asyncio.gather(*(come_twice(number) for number in range(10)))

    assert order == [*range(10), *range(10)]
    assert queue.free == 1


async def test_waiting_ends_with_an_error() -> None:
    queue = FairQueue(places=1, timeout=0.01)
    holder = queue.enter()

    with pytest.raises(PoolTimeoutError, match="all 1 connections were in use"):
        await greenlet_spawn(queue.enter)

    queue.leave(holder)
    assert queue.free == 1


@pytest.mark.parametrize("left_before", [False, True])
async def test_who_gives_up_loses_no_place(*, left_before: bool) -> None:
    queue = FairQueue(places=1, timeout=5)
    holder = queue.enter()
    waiting = asyncio.create_task(greenlet_spawn(queue.enter))
    await asyncio.sleep(0)

    if left_before:
        queue.leave(holder)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    if not left_before:
        queue.leave(holder)

    assert queue.free == 1
