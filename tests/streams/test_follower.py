"""Functions as subscribers."""

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


async def test_a_function_is_called_with_every_event_in_order(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(letters)
        seen: list[Any] = []
        ref = await stream.subscribe(seen.append)
        await ref.wait_stopped()
        assert [event.seq for event in seen] == [1, 2, 3, 4, 5]
        assert seen[-1] is await stream.wait()
        tail: list[Any] = []
        await (await stream.subscribe(tail.append, after=3)).wait_stopped()
        assert [event.seq for event in tail] == [4, 5]


async def test_an_async_function_is_called_with_one_event_at_a_time(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(letters)
        seen: list[Any] = []

        async def follow(event: Any) -> None:
            seen.append(("begin", event.seq))
            await asyncio.sleep(0)
            seen.append(("end", event.seq))

        await (await stream.subscribe(follow)).wait_stopped()
        assert seen == [(what, seq) for seq in range(1, 6) for what in ("begin", "end")]


async def test_a_transform_comes_first_and_drops_what_it_has_nothing_for(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(letters)
        seen: list[str] = []

        def some(event: Any) -> str | None:
            return event.chunk.content if event.seq in (2, 4) else None

        ref = await stream.subscribe(seen.append, transform=some)
        await ref.wait_stopped()
        assert seen == ["a", "c"]


async def test_a_function_that_raises_ends_its_own_subscription_only(
    stage: AnyStage, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        audience = stage.Audience(node, stream)
        await audience.gather()

        def fail(event: Any) -> None:
            if event.kind == "content":
                raise RuntimeError("no room")

        ref = await stream.subscribe(fail)
        feed("a", "b")
        await stage.settle()
        assert not ref.is_alive()
        assert "no room" in caplog.text
        feed.end()
        await audience.verdict()


async def test_stopping_the_actor_ends_the_subscription_and_not_the_stream(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed, seen = stage.Feed(), list[Any]()
        stream = await node.start_stream(feed.source)
        ref = await stream.subscribe(seen.append)
        feed("a")
        await stage.settle()
        await ref.stop(block=False)
        feed("b")
        feed.end()
        await stream.wait()
        await stage.settle()
        assert [event.seq for event in seen] == [1, 2]
        assert await stream.subscribers() == ()


async def test_a_function_that_is_slow_delays_nobody_and_gets_the_text_joined(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed, seen = stage.Feed(), list[Any]()
        gate = asyncio.Event()
        stream = await node.start_stream(feed.source)

        async def slow(event: Any) -> None:
            seen.append(event)
            await gate.wait()

        ref = await stream.subscribe(slow, backlog=10)
        feed(*map(str, range(200)))
        feed.end()
        end = await stream.wait()
        assert len(seen) == 1
        gate.set()
        await ref.wait_stopped()
        assert seen[-1] is end
        assert len(seen) < 20
        text = "".join(event.chunk.content for event in seen if event.kind == "content")
        assert text == "".join(map(str, range(200)))


def test_a_function_that_blocks_has_a_thread_of_its_own() -> None:
    gate, threads = threading.Event(), set[int]()

    def blocking(event: Any) -> None:
        threads.add(threading.get_ident())
        if event.kind == "content":
            gate.wait(10)

    with puck.Node() as node:
        stream = node.start_stream(letters).get()
        ref = stream.subscribe(blocking, in_thread=True).get()
        assert stream.result().get(timeout=10).content == "abc"  # nobody waits for it
        gate.set()
        ref.wait_stopped().get(timeout=10)
    assert len(threads) == 1
    assert threads.isdisjoint({threading.get_ident()})


async def test_what_is_no_function_is_refused(stage: AnyStage, clock: Clock) -> None:
    async def coroutine(_event: Any) -> None: ...

    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(letters)
        wrong: Any = "print"
        with pytest.raises(puck.InvalidOption, match="callback="):
            stream.subscribe(wrong)
        with pytest.raises(puck.InvalidOption, match="transform="):
            stream.subscribe(print, transform=wrong)
        with pytest.raises(puck.InvalidOption, match="in_thread="):
            stream.subscribe(coroutine, in_thread=True)
        with pytest.raises(puck.InvalidOption, match="backlog="):
            stream.subscribe(print, backlog=0)


@pytest.mark.parametrize("in_thread", [False, True])
async def test_a_function_that_starts_a_stream_goes_on_with_its_own(
    stage: AnyStage, clock: Clock, *, in_thread: bool
) -> None:
    seen: list[Any] = []
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)

        def start(event: Any) -> None:
            seen.append(event)
            if event.kind == "started":
                others.append(node.start_stream(letters))

        others: list[Any] = []
        ref = await stream.subscribe(start, in_thread=in_thread)
        await stage.until(lambda: others)
        other = await others[0]
        await other.wait()
        # Even one that is told of another stream does not take it for its own.
        ref.tell(("puck_stream", other.id, await other.wait()))
        ref.tell("odd")
        feed("a")
        feed.end()
        await ref.wait_stopped()
        assert [event.kind for event in seen] == ["started", "content", "done"]
        assert await other.subscribers() == ()


@pytest.mark.parametrize("in_thread", [False, True])
@pytest.mark.parametrize("after", [5, "now"])
async def test_a_function_that_comes_when_all_is_over_leaves_no_actor(
    stage: AnyStage, clock: Clock, after: Any, *, in_thread: bool
) -> None:
    seen: list[Any] = []
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(letters)
        await stream.wait()
        ref = await stream.subscribe(seen.append, after=after, in_thread=in_thread)
        await ref.wait_stopped()
        assert seen == []
