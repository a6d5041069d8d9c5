"""Iterating: on any loop, in any thread, as slowly as one likes."""

from __future__ import annotations

import asyncio
import itertools
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


# ------------------------------------------------------------------------------------ who lags


def long_text(count: int) -> Any:
    async def source(emit: Any) -> None:
        for number in range(count):
            emit(f"{number} ")

    return source


def spans(events: list[Any]) -> list[tuple[int, int]]:
    return [(event.first_seq, event.seq) for event in events]


async def test_who_lags_further_than_the_backlog_gets_the_rest_joined(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(long_text(500))
        subscription = stream.subscribe(backlog=10)
        first = await anext(subscription)
        await stream.wait()
        assert first.seq == 1
        rest = [event async for event in subscription]
        assert rest[-1] is await stream.wait()
        assert len(rest) <= 12
        text = "".join(event.chunk.content for event in rest[:-1])  # type: ignore[union-attr]
        assert text == (await stream.result()).content
        assert spans([first, *rest])[0][0] == 1
        positions = spans([first, *rest])
        assert all(one[1] + 1 == two[0] for one, two in itertools.pairwise(positions))
        statistics = subscription.statistics()
        assert (statistics.lag, statistics.dropped) == (0, 0)
        assert statistics.delivered == 1 + len(rest)
        assert statistics.delivered + statistics.coalesced == 502


async def test_what_waits_for_who_iterates_is_never_more_than_its_backlog(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(long_text(500))
        await stream.wait()
        for backlog in (1, 10, 1000):
            subscription = stream.subscribe(backlog=backlog)
            async for _ in subscription:
                assert len(subscription._read) <= backlog


@pytest.mark.parametrize("wrong", [{"backlog": 0}, {"after": -1}, {"transform": 1}])
async def test_what_cannot_be_is_refused(stage: AnyStage, clock: Clock, wrong: Any) -> None:
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(letters)
        with pytest.raises(puck.InvalidOption, match=next(iter(wrong))):
            stream.subscribe(**wrong)
        for refused in (
            lambda: stream.subscribe().coalesce(0),
            lambda: stream.subscribe().coalesce(float("nan")),
            lambda: stream.subscribe().buffer(0),
            lambda: stream.subscribe(in_thread=True),  # type: ignore[call-overload]  # no callback
            lambda: stream.progress(-1),
            lambda: stream.subscribe(transform=str).text(),
        ):
            with pytest.raises(puck.InvalidOption):
                refused()


# ----------------------------------------------------------------------------------- transform


async def test_a_transform_replaces_events_and_drops_those_it_has_nothing_for(
    stage: AnyStage, clock: Clock
) -> None:
    def upper(event: Any) -> str | None:
        return event.chunk.content.upper() if event.kind == "content" else None

    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(letters)
        assert [item async for item in stream.subscribe(transform=upper)] == ["A", "B", "C"]
        assert await stream.subscribe(transform=upper, after=2).collect() == ["B", "C"]


async def test_what_a_transform_raises_goes_to_who_iterates_and_nobody_else(
    stage: AnyStage, clock: Clock
) -> None:
    def fail(event: Any) -> Any:
        if event.seq == 3:
            raise RuntimeError("not this one")
        return event

    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(letters)
        subscription = stream.subscribe(transform=fail)
        assert [(await anext(subscription)).seq for _ in range(2)] == [1, 2]
        with pytest.raises(RuntimeError, match="not this one"):
            await anext(subscription)
        assert kinds([event async for event in subscription]) == ALL[3:]
        assert kinds(await stage.events(stream)) == ALL
        with pytest.raises(RuntimeError, match="not this one"):
            await stream.subscribe(transform=fail).collect()


# --------------------------------------------------------------------------- coalesce and buffer


async def test_coalescing_hands_text_out_once_in_an_interval(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        feed, seen = stage.Feed(), list[Any]()
        stream = await node.start_stream(feed.source)

        async def follow() -> None:
            async for event in stream.subscribe(after=1).coalesce(0.5):
                seen.append((clock.now() - 1000.0, event))

        task = asyncio.create_task(follow())
        for _ in range(20):
            feed("x")
            await clock.elapse(0.1)
        feed.end()
        await task
        assert [event.kind for _, event in seen] == ["content"] * 5 + ["done"]
        texts = [event.chunk.content for _, event in seen[:-1]]
        assert "".join(texts) == "x" * 20
        assert [round(at, 3) for at, _ in seen] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.0]
        assert clock.delays == []


async def test_coalescing_holds_nothing_back_once_something_else_happens(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        subscription = stream.subscribe(after=1).coalesce(60.0)
        feed("a", "b", puck.Chunk("thinking", "x"), puck.Chunk("citation", "", {"url": "u"}))
        await stage.settle()
        events = [await anext(subscription) for _ in range(3)]
        assert spans(events) == [(2, 3), (4, 4), (5, 5)]
        feed("c", "d")
        await stage.settle()
        held = asyncio.ensure_future(anext(subscription))
        await stage.settle()
        assert not held.done()
        feed.end()
        await stream.wait()
        assert (await held).seq == 7
        assert [event.kind async for event in subscription] == ["done"]


async def test_buffering_hands_text_out_in_pieces_of_a_size(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        feed, seen = stage.Feed(), list[str]()
        stream = await node.start_stream(feed.source)

        async def follow() -> None:
            async for piece in stream.subscribe().buffer(5).text():
                seen.append(piece)

        task = asyncio.create_task(follow())
        for text in ("ab", "cd", "ef", "g", "hijklmno", "p"):
            feed(text)
            await stage.settle()
        assert seen == ["abcdef", "ghijklmno"]
        feed.end()
        await task
        assert seen == ["abcdef", "ghijklmno", "p"]


async def test_a_buffer_is_emptied_after_the_interval_at_the_latest(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed, seen = stage.Feed(), list[str]()
        stream = await node.start_stream(feed.source)

        async def follow() -> None:
            async for piece in stream.subscribe().buffer(5).coalesce(1.0).text():
                seen.append(piece)

        task = asyncio.create_task(follow())
        feed("ab")
        await clock.elapse(0.9)
        assert seen == []
        await clock.elapse(0.2)
        assert seen == ["ab"]
        feed("cdefgh")
        await clock.elapse(0.1)
        assert seen == ["ab", "cdefgh"]
        feed.end()
        await task


async def test_leaving_while_text_is_held_back_leaves_no_timer_and_no_listener(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        feed("a", "b")
        await stage.settle()
        subscription = stream.subscribe().coalesce(60.0)
        assert [(await anext(subscription)).seq for _ in range(2)] == [1, 3]
        feed("c")
        await stage.settle()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await anext(subscription)
        assert not stage.log(stream)._listeners
        assert clock.delays == []
        subscription.close()


# -------------------------------------------------------------------------------- text, collect


async def test_text_is_the_pieces_to_show(stage: AnyStage, clock: Clock) -> None:
    async def source(emit: Any) -> None:
        emit(puck.Chunk("thinking", "hm"))
        emit("a")
        emit(puck.Chunk("citation", "", {"url": "u"}))
        emit("b")

    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(source)
        assert [piece async for piece in stream.subscribe().text()] == ["a", "b"]
        assert await stream.subscribe().text().collect() == ["a", "b"]


async def test_the_text_of_structured_content_is_its_last_state_as_json(
    stage: AnyStage, clock: Clock
) -> None:
    async def source(emit: Any) -> None:
        emit(puck.Chunk("content", {"a": 1}))
        emit(puck.Chunk("content", {"a": 1, "b": 2}))

    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(source)
        assert [piece async for piece in stream.subscribe().text()] == ['{"a": 1, "b": 2}']


async def test_text_ends_with_an_error_if_there_is_no_answer(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        failed, cancelled = stage.Feed(), stage.Feed()
        streams = [await node.start_stream(feed.source) for feed in (failed, cancelled)]
        failed("a", puck.StreamError("server", "broken"))
        cancelled("a")
        await stage.settle()
        await streams[1].cancel()
        for stream, error in zip(streams, (puck.StreamError, puck.StreamCancelled), strict=True):
            text = stream.subscribe().text()
            assert await anext(text) == "a"
            with pytest.raises(error):
                await anext(text)
            assert [piece async for piece in text] == []
            with pytest.raises(error):
                await stream.subscribe().text().collect()


async def test_text_is_whole_though_part_of_it_was_skipped(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock, log_bytes=2000) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        feed("first ")
        await stage.settle()
        text = stream.subscribe().text()
        assert await anext(text) == "first "
        feed(*("x" * 900 for _ in range(20)))
        feed.end()
        await stream.wait()
        assert "".join([piece async for piece in text]) == "x" * 18_000


async def test_collect_brings_everything_that_is_left_at_the_end(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(letters)
        subscription = stream.subscribe()
        await anext(subscription)
        assert kinds(await subscription.collect()) == ALL[1:]
        assert await subscription.collect() == []
        assert [event async for event in subscription] == []
        closed = stream.subscribe()
        closed.close()
        assert await closed.collect() == []
    assert kinds(await stream.subscribe().collect()) == ALL  # after the node's end, too


async def test_the_text_of_a_structure_whose_partials_are_gone_comes_once() -> None:
    async with puck.Node(log_bytes=4000) as node:

        async def source(emit: Any) -> None:
            for number in range(100):
                emit(puck.Chunk("content", {"n": number, "pad": "y" * 200}))

        stream = await node.start_stream(source)
        (whole,) = [piece async for piece in stream.subscribe().text()]
        assert whole == (await stream.result()).text


async def test_the_text_from_now_on_has_nothing_of_before_even_if_it_is_gone() -> None:
    async with puck.Node(log_bytes=4000) as node:
        went_on = asyncio.Event()

        async def source(emit: Any) -> None:
            emit("old")
            await went_on.wait()
            for _ in range(100):
                emit(puck.Chunk("raw", "z" * 100))
                emit("n")

        stream = await node.start_stream(source)
        await anext(stream.subscribe(after=1))
        text = stream.subscribe(after="now").text()
        went_on.set()
        await stream.wait()
        assert "".join([piece async for piece in text]) == "n" * 100
