"""A gate lets through as many as it is told, in order."""

from __future__ import annotations

import asyncio

import pytest

from puckstream.testing.gate import Gate


async def test_each_release_lets_the_longest_waiting_through() -> None:
    gate = Gate()
    passed: list[int] = []

    async def one(number: int) -> None:
        await gate.wait()
        passed.append(number)

    tasks = [asyncio.ensure_future(one(number)) for number in range(3)]
    await asyncio.sleep(0)
    gate.release(2)
    await asyncio.gather(*tasks[:2])
    assert passed == [0, 1]
    gate.open()
    await tasks[2]
    await gate.wait()


async def test_what_nobody_waits_for_is_kept() -> None:
    gate = Gate()
    gate.release(2)
    await gate.wait()
    await gate.wait()
    task = asyncio.ensure_future(gate.wait())
    await asyncio.sleep(0)
    assert not task.done()
    gate.open()
    await task


@pytest.mark.parametrize("released_first", [False, True])
async def test_a_cancelled_waiter_takes_no_turn(released_first: bool) -> None:
    gate = Gate()
    first, second = (asyncio.ensure_future(gate.wait()) for _ in range(2))
    await asyncio.sleep(0)
    if released_first:
        gate.release()
        first.cancel()
    else:
        first.cancel()
        gate.release()
    await second
    with pytest.raises(asyncio.CancelledError):
        await first
