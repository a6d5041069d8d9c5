"""The handle: what a start returns."""

from __future__ import annotations

import asyncio
import traceback
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]


async def test_a_handle_shows_where_its_stream_is(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source, stream_id="s")
        assert repr(stream) == "<Stream 's': running>"
        assert (stream.topic, stream.ended) == (node.topic("s"), False)
        feed.end()
        await stream.wait()
        assert repr(stream) == "<Stream 's': done>"
        assert stream.ended


async def test_the_result_is_the_response_or_raises_what_happened(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        done, failed, cancelled = (stage.Feed() for _ in range(3))
        streams = [await node.start_stream(feed.source) for feed in (done, failed, cancelled)]
        done("a")
        done.end()
        assert (await streams[0].result()).content == "a"
        failure = puck.StreamError("overloaded", "try later", status=503)
        failed(failure)
        with pytest.raises(puck.StreamError) as raised:
            await streams[1].result()
        assert raised.value is failure
        cancelled("partial")
        await stage.until(stage.reached(streams[2], 2))
        await streams[2].cancel()
        with pytest.raises(puck.StreamCancelled) as stopped:
            await streams[2].result()
        assert (stopped.value.reason, stopped.value.content) == ("user", "partial")


async def test_many_can_wait_and_one_that_stops_waiting_disturbs_nobody(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        waiting = [asyncio.ensure_future(_wait(stream)) for _ in range(5)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        feed.end()
        ends = await asyncio.gather(*waiting[1:])
        assert len(set(map(id, ends))) == 1


async def _wait(stream: puck.Stream) -> Any:
    return await stream.wait()


def test_the_end_of_a_stream_can_be_had_after_the_end_of_its_node() -> None:
    async def source(emit: Any) -> None:
        emit("a")
        await asyncio.Event().wait()

    with puck.Node() as node:
        stream = node.start_stream(source).get()
        first = next(iter(stream.subscribe()))
    end: Any = stream.wait().get()
    assert (first.kind, end.kind, end.reason) == ("started", "cancelled", "shutdown")


async def test_a_handle_cancels_its_own_run_and_never_another_of_its_id(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        done, replaced, running = (stage.Feed() for _ in range(3))
        first = await node.start_stream(done.source, stream_id="s")
        done.end()
        await first.wait()
        second = await node.start_stream(replaced.source, stream_id="s")
        third = await node.start_stream(running.source, stream_id="s", if_running="replace")
        assert await first.cancel(wait=True) == "already_done"
        assert await second.cancel(wait=True) == "already_cancelled"
        assert replaced.stopped()
        assert not third.ended
        assert await third.cancel() == "cancelled"
        # Nor one that is still to come.
        assert await first.cancel() == "already_done"
        fourth = await node.start_stream(letter, stream_id="s")
        assert (await fourth.result()).content == "a"


async def letter(emit: Any) -> None:
    emit("a")


async def test_a_failure_read_again_and_again_does_not_grow(stage: AnyStage, clock: Clock) -> None:
    depths: set[int] = set()
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        feed(puck.StreamError("overloaded", "try later"))
        for _ in range(5):
            with pytest.raises(puck.StreamError) as raised:
                await stream.result()
            depths.add(len(list(traceback.walk_tb(raised.value.__traceback__))))
    assert len(depths) == 1
