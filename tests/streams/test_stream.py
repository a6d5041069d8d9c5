"""The stream actor: its clocks (guarantee 7), its line in the tree, and what it hands on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]


async def open_stream(
    stage: AnyStage, node: puck.Node, timeout: Any
) -> tuple[Any, puck.Stream, Any]:
    feed = stage.Feed()
    stream = await node.start_stream(feed.source, timeout=timeout)
    audience = stage.Audience(node, stream)
    await audience.gather()
    await stage.until(feed.started)
    return feed, stream, audience


# -------------------------------------------------------------------------------- 7: clocks


async def test_7_total_runs_from_the_start_to_the_end(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        feed, stream, audience = await open_stream(stage, node, 10.0)
        for _ in range(9):
            feed("x")
            await clock.elapse(1.0)
        await clock.elapse(0.875)
        assert not stream.ended
        await clock.elapse(0.125)
        end = await audience.verdict()
        assert (end.kind, end.reason, end.content) == ("cancelled", "timeout_total", "x" * 9)
        await stage.until(feed.stopped)


async def test_7_first_runs_to_the_first_chunk_only(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        timeout = puck.Timeout(first=5.0)
        feed, stream, audience = await open_stream(stage, node, timeout)
        await clock.elapse(4.875)
        assert not stream.ended
        await clock.elapse(0.125)
        end = await audience.verdict()
        assert (end.reason, end.content) == ("timeout_first", "")
        await stage.until(feed.stopped)

        feed, stream, audience = await open_stream(stage, node, timeout)
        await clock.elapse(4.0)
        feed("x")
        await clock.elapse(1000.0)
        feed.end()
        assert (await audience.verdict()).kind == "done"


async def test_7_idle_runs_from_any_chunk_to_the_next(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        feed, stream, audience = await open_stream(stage, node, puck.Timeout(idle=5.0))
        await clock.elapse(100.0)  # the first chunk is another clock's business
        for _ in range(4):
            feed("x")
            await clock.elapse(4.0)
        assert not stream.ended
        await clock.elapse(0.875)
        assert not stream.ended
        await clock.elapse(0.125)
        end = await audience.verdict()
        assert (end.reason, end.content) == ("timeout_idle", "xxxx")
        await stage.until(feed.stopped)


async def test_7_a_stream_that_has_ended_is_not_timed_out(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        timeout = puck.Timeout(first=1.0, idle=1.0, total=1.0)
        feed, _, audience = await open_stream(stage, node, timeout)
        feed("x")
        feed.end()
        assert (await audience.verdict()).kind == "done"
        await clock.elapse(100.0)
        assert (await audience.verdict()).kind == "done"


async def test_7_the_clocks_go_on_while_the_infrastructure_is_replaced(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        _, _, audience = await open_stream(stage, node, 10.0)
        stage.kill(node, "streams", "pubsub", "registry")
        await clock.elapse(10.0)
        assert (await audience.verdict()).reason == "timeout_total"


# ------------------------------------------------------------------------------ what it does


async def test_the_events_of_a_function_say_what_it_did(stage: AnyStage, clock: Clock) -> None:
    context = puck.Context().user("hello")

    async def source(emit: Any) -> puck.Done:
        emit(puck.Chunk("thinking", "hm"))
        emit("text")
        emit(puck.Chunk("source", {"url": "x"}, {"rank": 1}))
        emit(puck.Chunk("", "no type"))
        return puck.Done(context.user("and more"), puck.Chunk("finish", "", {"model": "m"}))

    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(source)
        events = await stage.events(stream)
        kinds = [event.kind for event in events]
        assert kinds == ["started", "thinking", "content", "source", "unknown", "finish", "done"]
        assert events[3].chunk.rank == 1
        _, response, conversation = events[-1]
        assert (response.content, response.thinking) == ("text", "hm")
        assert [turn["content"] for turn in conversation] == ["hello", "and more", "text"]


async def test_a_subclass_of_chunk_is_a_chunk(stage: AnyStage, clock: Clock) -> None:
    class Mine(puck.Chunk):
        pass

    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        feed(Mine("content", "a", {"mine": True}))
        feed.end()
        _, content, _ = await stage.events(stream)
        assert (content.chunk.content, content.chunk.mine) == ("a", True)


async def test_the_tree_shows_every_stream_with_its_id_status_and_length(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source, stream_id="s")
        feed("a")
        await stage.until(stage.reached(stream, 2))
        assert "stream s · running · 2 events" in str(node.tree())
        feed.end()
        await stream.wait()
        await stage.settle()
        assert "stream s" not in str(node.tree())


async def test_a_running_stream_is_registered_under_its_topic_and_free_at_its_end(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source, stream_id="s")
        assert node.whereis(node.topic("s")) is stage.owner(node, stream)
        stage.kill(node, "registry")
        await stage.settle()
        assert node.whereis(stream.topic) is stage.owner(node, stream)
        assert node.streaming("s")
        await stream.cancel()
        assert node.whereis(stream.topic) is None
        assert not node.streaming("s")


async def test_messages_that_mean_nothing_to_a_stream_do_nothing_to_it(
    stage: AnyStage, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        stage.owner(node, stream).tell("what?")
        feed("a")
        feed.end()
        assert (await stream.result()).content == "a"
    assert "what?" in caplog.text
