"""Guarantee 5: leaving is not stopping, unless it was asked for with ``on_abandoned="cancel"``."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]


async def abandonable(
    stage: AnyStage, node: puck.Node, **options: Any
) -> tuple[Any, puck.Stream, Any]:
    feed = stage.Feed()
    stream = await node.start_stream(feed.source, on_abandoned="cancel", grace=5.0, **options)
    await stage.until(feed.started)
    return feed, stream, stage.Audience(node, stream)


async def test_5_when_the_last_subscriber_leaves_the_grace_begins(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed, stream, audience = await abandonable(stage, node)
        first, second = await audience.actor(), await audience.actor()
        await clock.elapse(100.0)
        feed("a")
        first.ref.kill()
        await clock.elapse(100.0)
        assert not stream.ended
        await node.unsubscribe(stream.id, subscriber=second.ref)
        await clock.elapse(4.875)
        assert not stream.ended
        await clock.elapse(0.125)
        end = await stage.ended(stream)
        assert (end.kind, end.reason, end.content, end.by) == ("cancelled", "abandoned", "a", None)
        await stage.until(feed.stopped)


async def test_5_a_subscriber_that_comes_back_within_the_grace_saves_the_stream(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed, stream, audience = await abandonable(stage, node)
        seat = await audience.actor()
        await node.unsubscribe(stream.id, subscriber=seat.ref)
        await clock.elapse(4.0)
        await node.subscribe(stream.id, after=len(seat.seen), subscriber=seat.ref)
        await clock.elapse(100.0)
        assert not stream.ended
        # Whoever leaves again has the whole grace again.
        await node.unsubscribe(stream.id, subscriber=seat.ref)
        await clock.elapse(4.0)
        await node.subscribe(stream.id, after=len(seat.seen), subscriber=seat.ref)
        await clock.elapse(0.5)
        await node.unsubscribe(stream.id, subscriber=seat.ref)
        await clock.elapse(4.0)
        assert not stream.ended
        await node.subscribe(stream.id, after=len(seat.seen), subscriber=seat.ref)
        feed.end()
        assert (await audience.verdict()).kind == "done"


async def test_5_who_iterates_follows_until_he_leaves_or_is_gone(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        for way in ("close", "drop", "cancel", "break"):
            _, stream, _ = await abandonable(stage, node)
            events = stream.subscribe()

            async def read(events: Any = events, way: str = way) -> None:
                async for _ in events:
                    if way == "break":
                        return

            reading = asyncio.create_task(read())
            del read
            await clock.elapse(4.0)
            if way == "break":
                await reading
            else:
                await clock.elapse(100.0)
                reading.cancel()
                await asyncio.wait([reading])
            assert not stream.ended, way
            if way == "close":
                events.close()
                events.close()
            del events, reading
            gc.collect()
            await clock.elapse(5.0)
            assert (await stage.ended(stream)).reason == "abandoned", way


async def test_5_who_iterates_in_a_thread_follows(stage: AnyStage) -> None:
    def work(node: puck.Node, stream: puck.Stream) -> str:
        with stream.subscribe() as events:
            for event in events:
                if event.kind == "content":
                    break
        end = stream.wait().get(timeout=10)
        return str(getattr(end, "reason", end.kind))

    async def source(emit: Any) -> None:
        emit("a")
        await asyncio.Event().wait()

    async with puck.Node() as node:
        stream = await node.start_stream(source, on_abandoned="cancel", grace=0.05)
        assert await asyncio.to_thread(work, node, stream) == "abandoned"


async def test_5_a_stream_nobody_ever_follows_is_abandoned_after_its_grace(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        _, stream, _ = await abandonable(stage, node)
        result = stream.result()  # to wait for the result is not to follow
        await clock.elapse(5.0)
        with pytest.raises(puck.StreamCancelled, match="abandoned"):
            await result


async def test_5_neither_the_handler_nor_the_stream_itself_follows(
    stage: AnyStage, clock: Clock
) -> None:
    class Idle(puck.Handler):
        async def on_chunk(self, chunk: Any, state: Any) -> None:
            pass

    async with puck.Node(clock=clock) as node:
        _, stream, _ = await abandonable(stage, node, handler=Idle())
        await clock.elapse(5.0)
        assert (await stage.ended(stream)).reason == "abandoned"


async def test_5_an_actor_that_starts_a_stream_follows_it(stage: AnyStage, clock: Clock) -> None:
    class Starter(puck.Actor):
        async def on_start(self) -> None:
            await self.node.start_stream(
                feed.source, stream_id="s", on_abandoned="cancel", grace=5.0
            )

    feed = stage.Feed()
    async with puck.Node(clock=clock) as node:
        starter = await node.spawn(Starter)
        await clock.elapse(100.0)
        assert node.streaming("s")
        starter.kill()
        await clock.elapse(5.0)
        assert (await node.snapshot("s")).reason == "abandoned"


async def test_5_the_loss_of_pubsub_abandons_nobody_and_hides_nobodys_leaving(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed, stream, audience = await abandonable(stage, node)
        seat = await audience.actor()
        stage.kill(node, "pubsub", "streams", "registry")
        await clock.elapse(60.0)
        assert not stream.ended
        stage.kill(node, "pubsub")
        seat.ref.kill()
        await clock.elapse(5.0)
        assert (await stage.ended(stream)).reason == "abandoned"
        await stage.until(feed.stopped)


async def test_5_a_run_that_is_replaced_leaves_its_followers_to_the_next(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        _, first, audience = await abandonable(stage, node, stream_id="s")
        await audience.actor()
        following = stage.Feed()
        second = await node.start_stream(
            *(following.source,),
            stream_id="s",
            if_running="replace",
            on_abandoned="cancel",
            grace=5.0,
        )
        assert (await stage.ended(first)).reason == "replaced"
        events = second.subscribe()
        await clock.elapse(60.0)
        assert not second.ended
        events.close()
        await clock.elapse(5.0)
        assert (await stage.ended(second)).reason == "abandoned"


async def test_5_a_stream_that_has_ended_is_not_abandoned(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        feed, _, audience = await abandonable(stage, node)
        seat = await audience.actor()
        feed.end()
        assert (await audience.verdict()).kind == "done"
        seat.ref.kill()
        await clock.elapse(60.0)
        assert not clock.delays
        assert not node.pubsub._table.watchers


async def test_5_a_collect_that_is_given_up_follows_no_longer(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        _, stream, _ = await abandonable(stage, node)
        collected = stream.subscribe().collect()

        async def wait() -> None:
            await collected

        for _ in range(2):
            waiting = asyncio.create_task(wait())
            await clock.elapse(60.0)
            assert not stream.ended
            waiting.cancel()
            await clock.elapse(4.0)
            assert not stream.ended
        await clock.elapse(1.0)
        assert (await stage.ended(stream)).reason == "abandoned"
        assert [event.kind for event in await collected] == ["started", "cancelled"]


async def test_a_grace_that_cannot_be_is_refused_by_name(stage: AnyStage, clock: Clock) -> None:
    wrong: Any
    async with puck.Node(clock=clock) as node:
        for wrong in (-1, float("inf"), float("nan"), "5s", True, None):
            with pytest.raises(puck.InvalidOption, match="grace="):
                node.start_stream(stage.Feed().source, grace=wrong)
        for wrong in ("stop", True, None):
            with pytest.raises(puck.InvalidOption, match="on_abandoned="):
                node.start_stream(stage.Feed().source, on_abandoned=wrong)
