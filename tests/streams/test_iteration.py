"""Iterating leaves nothing behind, however it ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]


async def silent(emit: Any) -> None:
    emit("a")
    await asyncio.Event().wait()


async def listening(stage: AnyStage, stream: puck.Stream) -> None:
    while not stage.log(stream)._listeners:
        await asyncio.sleep(0)


async def test_a_step_that_is_cancelled_leaves_no_listener_and_loses_nothing(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        subscription = stream.subscribe(after=1)
        for _ in range(3):
            step = asyncio.ensure_future(anext(subscription))
            await listening(stage, stream)
            step.cancel()
            await asyncio.wait([step])
            assert not stage.log(stream)._listeners
        feed("a")
        feed.end()
        assert [event.seq async for event in subscription] == [2, 3]


async def test_who_reads_a_long_log_lets_others_have_their_turn(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        feed(*(puck.Chunk("citation", "") for _ in range(5000)))
        feed.end()
        await stream.wait()
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.create_task(count())
        assert [event.seq async for event in stream.subscribe()] == list(range(1, 5003))
        counting.cancel()
        assert turns >= 5


async def test_an_iteration_that_is_dropped_is_forgotten(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        async for event in stream.subscribe():
            assert event.seq == 1
            break
        gc.collect()
        assert await stream.subscribers() == ()
        assert not stage.log(stream)._listeners


async def test_a_stream_that_ends_when_nobody_follows_counts_who_iterates(
    stage: AnyStage, clock: Clock
) -> None:
    """Until they leave the context, reach the end, or are dropped."""
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source, on_abandoned="cancel", grace=5.0)
        async with stream.subscribe() as events:
            await anext(events)
            await clock.elapse(60.0)
            assert not stream.ended
        reports = stream.progress()
        await anext(reports)
        await clock.elapse(60.0)
        assert not stream.ended
        del reports
        gc.collect()
        await clock.elapse(6.0)
        end: Any = await stream.wait()
        assert (end.kind, end.reason) == ("cancelled", "abandoned")


def test_a_keyboard_interrupt_ends_a_blocking_iteration_and_nothing_else(
    stage: AnyStage,
) -> None:
    main = threading.main_thread().ident
    assert main is not None
    with puck.Node() as node:
        stream = node.start_stream(silent).get()

        async def interrupt(emit: Any) -> None:
            await listening(stage, stream)
            signal.pthread_kill(main, signal.SIGINT)

        seen: list[Any] = []

        def follow() -> None:
            for event in stream.subscribe():
                seen.append(event)
                if event.seq == 2:
                    node.start_stream(interrupt).get()

        with pytest.raises(KeyboardInterrupt):
            follow()
        assert [event.seq for event in seen] == [1, 2]
        assert node.streaming(stream.id)
        assert node.cancel(stream.id).get() == "cancelled"  # the loop has taken in the rest
        assert not stage.log(stream)._listeners


def test_a_thread_that_leaves_its_loop_early_or_dies_leaves_nothing(stage: AnyStage) -> None:
    with puck.Node() as node:
        stream = node.start_stream(silent).get()

        def leave() -> None:
            for _ in stream.subscribe():
                break

        def die() -> None:
            with contextlib.suppress(RuntimeError):
                for _ in stream.subscribe():
                    raise RuntimeError

        for target in (leave, die):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join(10)
        gc.collect()
        assert stream.subscribers().get() == ()
        assert not stage.log(stream)._listeners
        assert node.streaming(stream.id)


def test_the_end_of_the_node_lets_every_thread_go() -> None:
    ends: list[str] = []

    def follow(stream: puck.Stream, began: threading.Event) -> None:
        for event in stream.subscribe():
            began.set()
            ends.append(event.kind)

    with puck.Node() as node:
        stream = node.start_stream(silent).get()
        began = [threading.Event() for _ in range(4)]
        threads = [threading.Thread(target=follow, args=(stream, each)) for each in began]
        for thread in threads:
            thread.start()
        for each in began:
            assert each.wait(10)
    for thread in threads:
        thread.join(10)
        assert not thread.is_alive()
    assert ends.count("cancelled") == 4
