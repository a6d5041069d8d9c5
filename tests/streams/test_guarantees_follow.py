"""Guarantees 2, 3, 5 and 13 of docs/guarantees.md: order, late join, leaving, and ids.

3. Who joins late gets everything from the log, then what happens, without gap or duplicate.
5. Leaving is not stopping.
13. Ids are taken as they are; the topic of stream ``1`` never receives ``10``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]


def seqs(seen: list[Any]) -> list[int]:
    return [event.seq for event in seen]


# ---------------------------------------------------------------------------------- 2: order


@pytest.mark.parametrize("followers", [1, 5])
async def test_2_a_burst_of_chunks_arrives_in_order_without_gap_or_duplicate(
    stage: AnyStage, clock: Clock, followers: int
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        audience = stage.Audience(node, stream)
        for _ in range(followers):
            await audience.gather()
        feed(*map(str, range(1000)))
        feed.end()
        end = await audience.verdict()
        assert end.seq == 1002
        texts = [event.chunk.content for event in audience.seats[0].seen[1:-1]]
        assert texts == [str(number) for number in range(1000)]


async def test_2_chunks_emitted_from_a_thread_arrive_in_order(
    stage: AnyStage, clock: Clock
) -> None:
    def source(emit: Any) -> puck.Done:
        for number in range(500):
            emit(str(number))
        return puck.Done(last_chunk="last")

    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(source)
        audience = stage.Audience(node, stream)
        await audience.gather()
        end = await audience.verdict()
        assert end.response.content == "".join(map(str, range(500))) + "last"


async def test_2_two_streams_side_by_side_do_not_mix(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        feeds = [stage.Feed(), stage.Feed()]
        streams = [await node.start_stream(feed.source) for feed in feeds]
        audiences = [stage.Audience(node, stream) for stream in streams]
        for audience in audiences:
            await audience.gather()
        for _ in range(20):
            for letter, feed in zip("ab", feeds, strict=True):
                feed(letter)
            await asyncio.sleep(0)
        for letter, feed, audience in zip("ab", feeds, audiences, strict=True):
            feed.end()
            end = await audience.verdict()
            assert end.response.content == letter * 20


# ------------------------------------------------------------------------------- 3: late join


async def test_3_joining_at_every_seq_brings_everything_once(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        audience = stage.Audience(node, stream)
        for letter in "abcdef":
            audience.actor_soon()
            audience.reader()
            await audience.actor()
            feed(letter)
            await asyncio.sleep(0)
        feed.end()
        await audience.verdict()
        await audience.actor()
        audience.reader()
        await audience.verdict()
        assert all(len(seat.seen) == 8 for seat in audience.seats)


async def test_3_joining_inside_every_append_brings_everything_once(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        audience = stage.Audience(node, stream)
        await audience.gather()
        stage.log(stream).on_append(lambda _event: audience.actor_soon())
        feed(*"abcdef")
        feed.end()
        await audience.verdict()
        assert len(audience.seats) == 3 + 7


async def test_3_after_n_resumes_behind_n(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        audience = stage.Audience(node, stream)
        feed(*"abcd")
        await stage.until(stage.reached(stream, 5))
        for after in range(6):
            await audience.actor(after)
            audience.reader(after)
        feed(*"ef")
        feed.end()
        await audience.verdict()


async def test_3_after_now_tails(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        feed(*"abcd")
        await stage.until(stage.reached(stream, 5))
        seen: list[Any] = []
        await node.spawn(stage.Viewer, stream.id, "now", seen)
        events = stream.subscribe(after="now")
        feed(*"ef")
        feed.end()
        assert seqs([event async for event in events]) == [6, 7, 8]
        await stage.until(lambda: len(seen) == 3)
        assert seqs(seen) == [6, 7, 8]


async def test_3_behind_a_position_the_stream_never_reaches_there_is_only_its_end(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        seen: list[Any] = []
        await node.spawn(stage.Viewer, stream.id, 100, seen)
        feed("a")
        feed.end()
        await stream.wait()
        assert seqs(await stage.events(stream, 100)) == [3]
        assert seqs(await stream.subscribe(after=100).collect()) == [3]
        await node.spawn(stage.Viewer, stream.id, 100, seen)
        await stage.until(lambda: len(seen) == 2)
        assert seqs(seen) == [3, 3]
        assert await stage.events(stream, 3) == []


async def test_3_subscribing_again_gives_one_copy(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        audience = stage.Audience(node, stream)
        seat = await audience.actor()
        assert seat.ref is not None
        positions: list[Any] = [0, 0, 2, "now"]
        for after in positions:
            feed("a")
            await stage.settle()
            await seat.ref.call(("subscribe", after))
            await node.subscribe(stream.id, after=after, subscriber=seat.ref)
        feed.end()
        # Again, between the end and its delivery.
        stage.log(stream).on_end(lambda _event: node.subscribe(stream.id, subscriber=seat.ref))
        await audience.verdict()
        assert len(seat.seen) == 6


async def test_3_a_starter_that_subscribes_as_well_gets_one_copy(
    stage: AnyStage, clock: Clock
) -> None:
    class Starter(puck.Actor):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[Any] = []

        async def on_receive(self, message: Any) -> Any:
            match message:
                case ("start", source):
                    stream = await self.node.start_stream(source)
                    await self.node.subscribe(stream.id)
                    return stream
                case "seen":
                    return self.seen
                case ("puck_stream", _, event):
                    self.seen.append(event)
                case _:
                    pass
            return None

    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        starter = await node.spawn(Starter)
        stream = await starter.call(("start", feed.source))
        feed("a")
        feed.end()
        await stream.wait()
        await stage.settle()
        assert seqs(await starter.call("seen")) == [1, 2, 3]


async def test_3_joining_after_the_end_replays_the_log(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        feed(*"abc")
        feed.end()
        await stream.wait()
        audience = stage.Audience(node, await node.stream(stream.id))
        for after in range(5):
            await audience.actor(after)
            audience.reader(after)
        await audience.verdict()
        assert seqs(await stage.events(stream, 5)) == []


async def test_3_a_snapshot_is_what_the_events_up_to_its_seq_amount_to(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        snapshots = [await node.snapshot(stream.id)]
        for letter in "abc":
            feed(letter, puck.Chunk("thinking", letter.upper()))
            await stage.turns(2)
            snapshots.append(await node.snapshot(stream.id))
        feed.end()
        await stream.wait()
        snapshots.append(await stream.snapshot())
        events = await stage.events(stream)
        for snapshot in snapshots:
            known = events[: snapshot.seq]
            text = "".join(event.chunk.content for event in known if event.kind == "content")
            thought = "".join(event.chunk.content for event in known if event.kind == "thinking")
            assert (snapshot.content, snapshot.thinking) == (text, thought)
        assert [each.status for each in snapshots] == ["running"] * 4 + ["done"]


async def test_3_a_reader_that_was_interrupted_goes_on_where_it_was(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        events = stream.subscribe()
        assert (await anext(events)).seq == 1
        waiting = asyncio.ensure_future(anext(events))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        assert events.seq == 1
        feed("a", "b")
        feed.end()
        assert seqs([event async for event in events]) == [2, 3, 4]


# --------------------------------------------------------------------------------- 5: leaving


async def test_5_subscribers_that_die_or_leave_do_not_touch_the_stream(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        audience = stage.Audience(node, stream)
        await audience.gather()
        leaving: list[Any] = []
        killed = await node.spawn(stage.Viewer, stream.id, 0, leaving)
        unsubscribed = await node.spawn(stage.Viewer, stream.id, 0, leaving)
        closed = stream.subscribe()
        killed.kill()
        await node.unsubscribe(stream.id, subscriber=unsubscribed)
        closed.close()
        left = len(leaving)
        feed("a")
        feed.end()
        end = await audience.verdict()
        assert end.kind == "done"
        assert len(leaving) == left
        assert [event async for event in closed] == []
        await node.unsubscribe("no such stream", subscriber=unsubscribed)


async def test_5_the_end_of_the_starter_does_not_end_the_stream(
    stage: AnyStage, clock: Clock
) -> None:
    class Starter(puck.Actor):
        def on_receive(self, message: Any) -> Any:
            if callable(message):
                return self.node.start_stream(message)
            return None

    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        starter = await node.spawn(Starter)
        stream = await (await starter.call(feed.source))
        starter.kill()
        feed("a")
        feed.end()
        assert (await stream.result()).content == "a"


async def test_5_what_the_function_of_a_stream_starts_ends_with_that_stream(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        inner = stage.Feed()

        async def outer(emit: Any) -> None:
            nested = await node.start_stream(inner.source, stream_id="inner")
            async for event in nested.subscribe():
                if event.kind == "content":
                    emit(event[1])

        stream = await node.start_stream(outer, stream_id="outer")
        inner("a")
        await stage.until(lambda: stage.log(stream).content == "a")
        await node.cancel("outer", wait=True)
        end = await stage.ended(await node.stream("inner"))
        assert (end.kind, end.content) == ("cancelled", "a")
        await stage.until(inner.stopped)


# ------------------------------------------------------------------------------------- 13: ids


async def test_13_the_topic_of_a_stream_never_receives_another(
    stage: AnyStage, clock: Clock
) -> None:
    ids = ["1", "10", "1:0", "1/0", "1*", "*", "#", ">", "puck:stream:1", " 1", "1 ", "é"]
    async with puck.Node(clock=clock) as node:
        feeds = {stream_id: stage.Feed() for stream_id in ids}
        audiences: dict[str, Any] = {}
        for stream_id, feed in feeds.items():
            stream = await node.start_stream(feed.source, stream_id=stream_id)
            audiences[stream_id] = stage.Audience(node, stream)
            await audiences[stream_id].gather()
        for stream_id, feed in feeds.items():
            feed(stream_id)
            feed.end()
            end = await audiences[stream_id].verdict()
            assert end.response.content == stream_id
            others = set(ids) - {stream_id}
            assert not any(node.topic(stream_id) == node.topic(other) for other in others)


async def test_13_a_generated_id_is_url_safe_and_never_the_same(clock: Clock) -> None:
    safe = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_")
    async with puck.Node(clock=clock) as node:
        ids = {node.generate_id() for _ in range(1000)}
        assert len(ids) == 1000
        assert all(set(each) <= safe for each in ids)


@pytest.mark.parametrize("stream_id", ["", "a\nb", "a\x00b", "x" * 201, 5, b"x", ["x"], "\u200b"])
async def test_13_an_id_that_cannot_be_is_refused_by_name(clock: Clock, stream_id: Any) -> None:
    async def source(emit: Any) -> None:
        emit("a")

    async with puck.Node(clock=clock) as node:
        with pytest.raises(puck.InvalidOption, match="stream_id="):
            node.start_stream(source, stream_id=stream_id)


async def test_13_an_id_of_200_printable_characters_is_taken_as_it_is(clock: Clock) -> None:
    async def source(emit: Any) -> None:
        emit("a")

    stream_id = "/?#%é漢字 :*" * 20
    assert len(stream_id) == 200
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(source, stream_id=stream_id)
        assert (await stream.result()).content == "a"
        assert (await node.snapshot(stream_id)).id == stream_id
