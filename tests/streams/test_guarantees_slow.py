"""Guarantee 8: slow subscribers. The number is that of docs/guarantees.md."""

from __future__ import annotations

import asyncio
import itertools
import random
import threading
import tracemalloc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck
from puckstream.actors.feed import BACKLOG

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]


def complaints(seen: list[Any], after: int = 0) -> list[str]:
    """Say what of the first two guarantees does not hold; a joined event stands for its deltas."""
    found: list[str] = []
    for event in seen:
        if event.first_seq != after + 1 or event.seq < event.first_seq:
            found.append(f"{event.first_seq} to {event.seq} came behind {after}")
        after = event.seq
    ends = [event.seq for event in seen if event.terminal]
    if len(ends) != 1 or not seen[-1].terminal:
        found.append(f"the terminal events are {ends} of {len(seen)} events")
    return found


def text_of(seen: list[Any]) -> str:
    return "".join(event.chunk.content for event in seen if event.kind == "content")


class OneASecond(puck.Actor):
    """Handles an event per second of the node's clock."""

    def __init__(self, clock: Any, seen: list[Any], pause: float = 1.0) -> None:
        super().__init__()
        self.clock, self.seen, self.pause = clock, seen, pause

    async def on_receive(self, message: Any) -> None:
        self.seen.append(message[2])
        over = asyncio.Event()
        self.clock.call_later(self.pause, over.set)
        await over.wait()


async def paced(emit: Any, clock: Any, count: int, words: Callable[[int], Any]) -> None:
    """Emit a hundred chunks a second."""
    for number in range(count):
        emit(words(number))
        if number % 100 == 99:
            over = asyncio.Event()
            clock.call_later(1.0, over.set)
            await over.wait()


@pytest.mark.parametrize("slow_kind", ["actor", "iterator"])
async def test_8_one_event_a_second_beside_99_quick_ones_on_a_stream_of_10000(
    stage: AnyStage, clock: Clock, slow_kind: str
) -> None:
    """The quick have every event alone and in its second; the slow one the whole text, the end."""
    chunks, quick = 10_000, 99

    async def source(emit: Any) -> None:
        await paced(emit, clock, chunks, lambda number: f"{number} ")

    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(source)
        seats: list[list[tuple[float, Any]]] = [[] for _ in range(quick)]

        def quick_one(seat: list[tuple[float, Any]]) -> Callable[[Any], None]:
            return lambda event: seat.append((clock.now(), event))

        for seat in seats:
            await stream.subscribe(quick_one(seat))
        slow: list[Any] = []
        task = None
        if slow_kind == "actor":
            ref = await node.spawn(OneASecond, clock, slow)
            await node.subscribe(stream.id, subscriber=ref)
        else:

            async def follow() -> None:
                async for event in stream.subscribe():
                    slow.append(event)
                    over = asyncio.Event()
                    clock.call_later(1.0, over.set)
                    await over.wait()

            task = asyncio.create_task(follow())
        await clock.elapse(chunks / 100 + 1)
        end = await stream.wait()
        text = end.response.content  # type: ignore[union-attr]
        for seat in seats:
            assert [event.seq for _, event in seat] == list(range(1, chunks + 3))
            assert all(at == 1000.0 + (event.seq - 2) // 100 for at, event in seat[1:-1])
        (statistics,) = await node.subscribers(stream.id)
        assert statistics.queued <= BACKLOG
        assert statistics.lag > 8000
        await clock.elapse(2 * BACKLOG)
        if task is not None:
            await task
        assert complaints(slow) == []
        assert slow[-1] is end
        assert text_of(slow) == text
        assert len(slow) <= BACKLOG + 200
        assert await stream.subscribers() == ()


async def test_8_memory_stays_bounded_however_many_are_slow_and_however_long_it_goes_on(
    stage: AnyStage, clock: Clock
) -> None:
    """What a slow subscriber holds does not grow with the stream, nor does the log."""
    async with puck.Node(clock=clock, log_bytes=20_000) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        refs = [await node.spawn(OneASecond, clock, [], pause=1e9) for _ in range(20)]
        for ref in refs:
            await node.subscribe(stream.id, subscriber=ref, backlog=50)

        async def emit(count: int) -> int:
            for _ in range(count // 100):
                feed(*(puck.Chunk("content", {"x": 1.5}) for _ in range(100)))
                await clock.settle()
            return tracemalloc.get_traced_memory()[0]

        tracemalloc.start()
        try:
            begun = await emit(1_000)
            grown = await emit(4_000) - begun
        finally:
            tracemalloc.stop()
        assert grown < 50_000
        assert all(each.queued <= 50 for each in await node.subscribers(stream.id))
        assert stage.log(stream).size <= 20_000
        for ref in refs:
            ref.kill()


async def test_8_what_cannot_be_joined_is_skipped_with_the_answer_as_it_stands(
    stage: AnyStage, clock: Clock
) -> None:
    """So that who lags behind the log ends with the whole answer and the terminal event."""
    async with puck.Node(clock=clock, log_bytes=50_000) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        seen: list[Any] = []
        ref = await node.spawn(OneASecond, clock, seen)
        await node.subscribe(stream.id, subscriber=ref, backlog=5)
        iteration = stream.subscribe(backlog=5)
        await anext(iteration)
        partials = [{"step": number} for number in range(2000)]
        feed(*(puck.Chunk("content", partial) for partial in partials))
        feed.end()
        end = await stream.wait()
        await clock.elapse(20.0)
        rest: list[Any] = [event async for event in iteration]
        for events, after in ((seen, 0), (rest, 1)):
            assert complaints(events, after) == []
            assert events[-1] is end
            (skipped,) = [event for event in events if event.kind == "skipped"]
            assert skipped.response.content == partials[-1]
        late = await stage.events(stream)
        assert [event.kind for event in late] == ["skipped", "done"]


async def test_8_a_slow_subscriber_is_not_waited_for_at_the_end_of_the_stream(
    stage: AnyStage, clock: Clock
) -> None:
    """Cancel, result and the stream's actor do not depend on it."""
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        ref = await node.spawn(OneASecond, clock, [], pause=1e9)
        await node.subscribe(stream.id, subscriber=ref, backlog=5)
        feed(*"abcdefghijklmnopqrstuvwxyz")
        await stage.settle()
        assert await node.cancel(stream.id, wait=True) == "cancelled"
        assert (await stream.wait()).kind == "cancelled"
        assert not node.streaming(stream.id)
        ref.kill()


@pytest.mark.parametrize("seed", range(10))
async def test_8_infrastructure_lost_at_any_moment_costs_who_lags_nothing(
    stage: AnyStage, clock: Clock, seed: int
) -> None:
    """Registry, PubSub and supervisor die at random; backlogs and paces are random, too."""
    chance = random.Random(seed)
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        everybody: list[tuple[list[Any], int]] = []
        for _ in range(300):
            match chance.randrange(10):
                case 0:
                    seen: list[Any] = []
                    after = chance.randint(0, stage.log(stream).last_seq)
                    pause = chance.choice([0.0, 0.3, 2.0])
                    ref = await node.spawn(OneASecond, clock, seen, pause)
                    backlog = chance.choice([1, 3, 20])
                    subscribed = node.subscribe(
                        stream.id, subscriber=ref, after=after, backlog=backlog
                    )
                    everybody.append((seen, after))
                    del subscribed
                case 1:
                    stage.kill(node, chance.choice(["pubsub", "registry", "streams"]))
                    await clock.elapse(2.0)  # within what the root allows
                case 2:
                    await clock.elapse(chance.random())
                case 3:
                    feed(puck.Chunk("citation", "", {"url": "u"}))
                case _:
                    feed(*("x" for _ in range(chance.randint(1, 10))))
        feed.end()
        end = await stream.wait()
        stage.kill(node, "pubsub")
        await clock.elapse(5000.0)
        assert len(everybody) > 10
        for seen, after in everybody:
            assert complaints(seen, after) == []
            assert seen[-1] is end
        joined = [event for seen, _ in everybody for event in seen if event.first_seq < event.seq]
        assert joined


async def test_8_an_orderly_shutdown_brings_who_lags_its_end(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        feed, seen = stage.Feed(), list[Any]()
        stream = await node.start_stream(feed.source)
        ref = await node.spawn(OneASecond, clock, seen)
        await node.subscribe(stream.id, subscriber=ref, backlog=5)
        feed(*"abcdefghijklmnopqrstuvwxyz")
        await stage.settle()
        stopping = asyncio.create_task(node.shutdown(timeout=100.0))
        await clock.elapse(50.0)
        await stopping
        assert complaints(seen) == []
        assert (seen[-1].kind, seen[-1].reason) == ("cancelled", "shutdown")
        assert text_of(seen) == "abcdefghijklmnopqrstuvwxyz"


async def test_8_the_next_run_of_an_id_waits_for_who_still_reads_the_last(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        old, new, seen = stage.Feed(), stage.Feed(), list[Any]()
        await node.start_stream(old.source, stream_id="one")
        ref = await node.spawn(OneASecond, clock, seen)
        await node.subscribe("one", subscriber=ref, backlog=5)
        old(*"abcdefghijklmnopqrstuvwxyz")
        await stage.settle()
        stream = await node.start_stream(new.source, stream_id="one", if_running="replace")
        await node.subscribe("one", subscriber=ref, backlog=5)
        new(*"abc")
        new.end()
        await stream.wait()
        await clock.elapse(50.0)
        first_end = next(index for index, event in enumerate(seen) if event.terminal)
        assert complaints(seen[: first_end + 1]) == []
        assert seen[first_end].reason == "replaced"
        assert complaints(seen[first_end + 1 :]) == []
        assert seen[-1].kind == "done"


def test_8_threads_that_iterate_slowly_end_with_the_whole_text() -> None:
    async def source(emit: Any) -> None:
        for number in range(3000):
            emit(f"{number} ")
            if number % 100 == 0:
                await asyncio.sleep(0)

    def follow(stream: puck.Stream, ended: threading.Event, seen: list[Any]) -> None:
        for event in stream.subscribe(backlog=20):
            seen.append(event)
            if len(seen) == 5:
                ended.wait(10)

    with puck.Node() as node:
        stream = node.start_stream(source).get()
        ended = threading.Event()
        everybody: list[list[Any]] = [[] for _ in range(4)]
        threads = [
            threading.Thread(target=follow, args=(stream, ended, seen)) for seen in everybody
        ]
        for thread in threads:
            thread.start()
        response = stream.result().get(timeout=10)
        ended.set()
        for thread in threads:
            thread.join(10)
        for seen in everybody:
            assert complaints(seen) == []
            assert text_of(seen) == response.content
            assert len(seen) < 1000


async def test_8_statistics_say_how_far_each_has_come(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        ref = await node.spawn(OneASecond, clock, [], pause=1e9)
        await node.subscribe(stream.id, subscriber=ref, backlog=5)
        iteration = stream.subscribe()
        await anext(iteration)
        feed(*"abcdefghij")
        await stage.settle()
        actor, iterating = await node.subscribers(stream.id)
        assert (actor.subscriber, iterating.subscriber) == (ref, iteration)
        assert (actor.dropped, iterating.dropped) == (0, 0)
        assert (actor.seq + actor.lag, iterating.seq + iterating.lag) == (11, 11)
        assert (iterating.delivered, iterating.lag) == (1, 10)
        assert await stream.subscribers() == (actor, iterating)
        iteration.close()
        assert await node.subscribers(stream.id) == (actor,)
        with pytest.raises(puck.StreamNotFound):
            await node.subscribers("no such stream")
        wrong: Any = 1
        with pytest.raises(puck.InvalidOption):
            node.subscribers(wrong)
        feed.end()
        ref.kill()


def test_what_is_complained_about() -> None:
    """The judge of this module is judged, too."""
    done: Any = puck.DoneEvent(puck.Response(), puck.Context(), seq=3)
    one, two = (puck.StartedEvent(None, seq=seq) for seq in (1, 2))  # type: ignore[arg-type]
    assert complaints([one, two, done]) == []
    for wrong in itertools.permutations([one, two, done]):
        in_order = [event.seq for event in wrong] == [1, 2, 3]
        assert (complaints(list(wrong)) == []) == in_order
    assert complaints([one, done])
    assert complaints([one, two])
    assert complaints([one, two, done], after=1)
