from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import puckstream as puck
from puckstream.backends.base import Usage
from puckstream.streams.progress import Progress

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]


async def test_every_change_is_reported_and_the_end_is_the_last(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed, seen = stage.Feed(), list[Progress]()
        stream = await node.start_stream(feed.source)

        async def follow() -> None:
            async for report in stream.progress():
                seen.append(report)

        task = asyncio.create_task(follow())
        await clock.elapse(1.0)
        feed("abcdefgh")
        await clock.elapse(2.0)
        feed("abcdefgh")
        feed.end()
        await task
        assert [report.status for report in seen] == ["running", "running", "running", "done"]
        first, chunk, _, last = seen
        assert (first.seq, first.elapsed, first.first_chunk, first.rate) == (1, 0.0, None, None)
        assert (chunk.seq, chunk.elapsed, chunk.first_chunk, chunk.rate) == (2, 1.0, 1.0, None)
        assert (last.seq, last.elapsed, last.first_chunk, last.rate) == (4, 3.0, 1.0, 2.0)
        assert last.usage == Usage(None, 4, 0, estimated=True)


async def test_reports_come_at_most_once_in_an_interval_and_the_last_at_once(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed, seen = stage.Feed(), list[tuple[float, int]]()
        stream = await node.start_stream(feed.source)

        async def follow() -> None:
            async for report in stream.progress(1.0):
                seen.append((round(clock.now() - 1000.0, 3), report.seq))

        task = asyncio.create_task(follow())
        for _ in range(25):
            feed("a")
            await clock.elapse(0.1)
        feed.end()
        await task
        assert seen == [(0.0, 1), (1.0, 12), (2.0, 22), (2.5, 27)]
        assert clock.delays == []


async def test_who_comes_late_gets_the_end_and_who_is_slow_the_latest(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        slow = stream.progress()
        await anext(slow)
        feed("a", "b", "c")
        feed.end()
        await stream.wait()
        for reports in (slow, stream.progress()):
            (report,) = [report async for report in reports]
            assert (report.status, report.seq) == ("done", 5)
            assert reports.statistics().lag == 0


def test_a_thread_follows_progress() -> None:
    async def source(emit: Any) -> None:
        emit("a")

    with puck.Node() as node:
        stream = node.start_stream(source).get()
        assert list(stream.progress())[-1].status == "done"


async def test_a_step_that_is_cancelled_loses_no_report(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        reports = stream.progress()
        await anext(reports)
        step = asyncio.ensure_future(anext(reports))
        await stage.settle()
        # In the very turn in which its report comes.
        stream.wait()._when_done(step.cancel)
        feed.end()
        await stage.until(step.done)
        assert step.cancelled()
        assert [report.status async for report in reports] == ["done"]
