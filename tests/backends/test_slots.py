"""Who gets a connection, and where."""

from __future__ import annotations

import asyncio

import pytest

from puckstream.backends.slots import Slots


async def test_the_lowest_shard_with_room_is_filled_first() -> None:
    slots = Slots(5, 2)
    assert [await slots.acquire() for _ in range(5)] == [0, 0, 1, 1, 2]
    slots.release(1)
    slots.release(0)
    assert await slots.acquire() == 0


def test_the_last_shard_takes_what_is_left() -> None:
    slots = Slots(5, 2)
    assert [slots.size(shard) for shard in range(3)] == [2, 2, 1]
    assert Slots(2, 32).size(0) == 2


async def test_whoever_came_first_gets_the_slot_that_is_given_back() -> None:
    slots = Slots(1, 1)
    await slots.acquire()
    waiting = [asyncio.ensure_future(slots.acquire()) for _ in range(2)]
    await asyncio.sleep(0)
    slots.release(0)
    assert await waiting[0] == 0
    assert not waiting[1].done()
    slots.release(0)
    assert await waiting[1] == 0
    assert slots.free == 0


async def test_a_caller_cancelled_while_waiting_leaves_the_slots_as_they_were() -> None:
    slots = Slots(1, 1)
    await slots.acquire()
    first, second = (asyncio.ensure_future(slots.acquire()) for _ in range(2))
    await asyncio.sleep(0)
    first.cancel()
    slots.release(0)
    assert await second == 0
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_slot_handed_to_a_caller_that_is_cancelled_in_that_moment_goes_on() -> None:
    slots = Slots(1, 1)
    await slots.acquire()
    first = asyncio.ensure_future(slots.acquire())
    await asyncio.sleep(0)
    slots.release(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert slots.free == 1
