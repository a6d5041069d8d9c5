"""Iterating: on any loop, in any thread, as slowly as one likes."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]


async def letters(emit: Any) -> None:
    for letter in "abc":
        emit(letter)
        await asyncio.sleep(0)


def kinds(events: list[Any]) -> list[str]:
    return [event.kind for event in events]


ALL = ["started", "content", "content", "content", "done"]


async def test_iteration_ends_with_the_terminal_event(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(letters)
        subscription = stream.subscribe()
        assert kinds([event async for event in subscription]) == ALL
        assert [event async for event in subscription] == []
        assert subscription.seq == 5


async def test_two_subscriptions_of_one_stream_are_independent(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(letters)
        slow = stream.subscribe()
        assert (await anext(slow)).seq == 1
        assert kinds(await stage.events(stream)) == ALL
        assert kinds([event async for event in slow]) == ALL[1:]


async def test_closing_ends_an_iteration_that_waits_and_not_the_stream(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        subscription = stream.subscribe(after=1)
        waiting = asyncio.ensure_future(anext(subscription, None))
        await stage.settle()
        assert not waiting.done()
        subscription.close()
        subscription.close()
        assert await waiting is None
        feed("a")
        feed.end()
        assert kinds(await stage.events(stream)) == ["started", "content", "done"]


async def test_closing_drops_what_was_not_handed_out(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(letters)
        await stream.wait()
        async with stream.subscribe() as subscription:
            await anext(subscription)
        assert [event async for event in subscription] == []
        assert subscription.seq == 1


async def test_a_timeout_around_a_step_loses_nothing(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        subscription = stream.subscribe()
        await anext(subscription)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await anext(subscription)
        feed("a")
        feed.end()
        assert kinds([event async for event in subscription]) == ["content", "done"]
        assert not stage.log(stream)._listeners


def test_another_loop_and_a_thread_without_one_follow_a_node_in_a_thread() -> None:
    async def follow(stream: puck.Stream) -> list[Any]:
        async with stream.subscribe() as events:
            return [event async for event in events]

    with puck.Node() as node:
        stream = node.start_stream(letters).get()
        assert kinds(asyncio.run(follow(stream))) == ALL
        with stream.subscribe() as events:
            assert kinds(list(events)) == ALL
        assert kinds(list(stream.subscribe(after=4))) == ["done"]


def test_a_thread_that_waits_is_let_go_by_a_close_from_another() -> None:
    silent, began = threading.Event(), threading.Event()

    async def source(emit: Any) -> None:
        emit("a")
        await asyncio.Event().wait()

    with puck.Node() as node:
        stream = node.start_stream(source).get()
        subscription = stream.subscribe(after=1)

        def follow() -> None:
            for _ in subscription:
                began.set()
            silent.set()

        reader = threading.Thread(target=follow)
        reader.start()
        assert began.wait(10)
        while not silent.wait(0.01):  # it may not have come to its next wait yet
            subscription.close()
        reader.join(10)
        assert not stream.ended
    subscription.close()


async def test_iterating_with_for_on_a_thread_that_runs_a_loop_is_refused(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(stage.Feed().source)
        events = iter(stream.subscribe())
        assert next(events).kind == "started"  # it is there, so nothing blocks
        with pytest.raises(puck.BlockingCall):
            next(events)
