"""Where a cancellation gets in, and what becomes of the others."""

from __future__ import annotations

import asyncio

import pytest

from puckstream.backends.cancellation import Door, through_doors, to_the_end


class Work:
    """Waits at a door; tidies up, if it is cancelled there, by waiting in every known way."""

    def __init__(self) -> None:
        self.door = Door()
        self.second: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.log: list[str] = []

    async def run(self) -> str:
        try:
            await self.door
        except asyncio.CancelledError:
            self.log.append("cancelled")
            await asyncio.sleep(0)
            self.log.append(await self.second)
            await asyncio.sleep(0)
            self.log.append("tidy")
            raise
        return "done"


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


async def test_undisturbed_work_returns_its_result() -> None:
    work = Work()
    task = asyncio.ensure_future(through_doors(work.run()))
    await turns()
    work.door.open()
    assert await task == "done"


async def test_an_error_of_what_the_work_waits_for_reaches_the_work() -> None:
    waits: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(through_doors(waits))
    await turns()
    waits.set_exception(ValueError("broken"))
    with pytest.raises(ValueError, match="broken"):
        await task


async def test_a_cancellation_elsewhere_waits_for_the_next_door() -> None:
    log: list[str] = []
    inside: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run() -> None:
        await asyncio.sleep(0)
        await inside
        log.append("undisturbed")
        try:
            await Door()
        finally:
            log.append("cancelled")

    task = asyncio.ensure_future(through_doors(run()))
    await turns()
    task.cancel()
    await turns()
    assert log == []
    inside.set_result(None)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["undisturbed", "cancelled"]


async def test_a_cancellation_that_meets_no_door_is_raised_at_the_end() -> None:
    inside: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    task = asyncio.ensure_future(through_doors(inside))
    await turns()
    task.cancel()
    await turns()
    inside.set_result("unwanted")
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_before_the_first_step_is_one_at_the_first_door() -> None:
    work = Work()
    work.second.set_result("closed")

    async def run() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await through_doors(work.run())

    with pytest.raises(asyncio.CancelledError):
        await asyncio.ensure_future(run())
    assert work.log == ["cancelled", "closed", "tidy"]


async def test_a_cancellation_at_a_door_goes_in_and_later_ones_wait_for_the_end() -> None:
    work = Work()
    task = asyncio.ensure_future(through_doors(work.run()))
    await turns()
    task.cancel()
    for _ in range(5):  # at every step of the tidying: at a bare turn of the loop, at a future
        await asyncio.sleep(0)
        task.cancel()
    assert not task.done()
    work.second.set_result("closed")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.log == ["cancelled", "closed", "tidy"]


async def test_two_cancellations_at_once_are_one() -> None:
    work = Work()
    task = asyncio.ensure_future(through_doors(work.run()))
    await turns()
    task.cancel()
    task.cancel()
    await turns()
    work.second.set_result("closed")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.log == ["cancelled", "closed", "tidy"]


async def test_an_error_while_tidying_does_not_hide_the_second_cancellation() -> None:
    work = Work()
    task = asyncio.ensure_future(through_doors(work.run()))
    await turns()
    task.cancel()
    await turns()
    task.cancel()
    await turns()
    work.second.set_exception(OSError("no route"))
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    assert isinstance(caught.value.__cause__, OSError)


async def test_work_that_must_end_sees_no_cancellation_and_its_caller_does_afterwards() -> None:
    work = Work()
    task = asyncio.ensure_future(to_the_end(work.run()))
    await turns()
    task.cancel()
    await turns()
    task.cancel()
    await turns()
    assert not task.done()
    assert work.log == []
    work.door.open()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert work.log == []


async def test_work_that_must_end_and_is_left_alone_returns_its_result() -> None:
    work = Work()
    task = asyncio.ensure_future(to_the_end(work.run()))
    await turns()
    work.door.open()
    assert await task == "done"


async def test_a_timeout_around_it_stays_a_timeout() -> None:
    work = Work()
    work.second.set_result("closed")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await through_doors(work.run())
    assert work.log == ["cancelled", "closed", "tidy"]


async def test_what_is_dropped_half_way_is_closed() -> None:
    work = Work()
    coroutine = through_doors(work.run())
    coroutine.send(None)
    coroutine.close()
    assert work.log == []
