"""Guarantee 1 of docs/guarantees.md, one terminal event, whatever ends the node."""

from __future__ import annotations

import asyncio
import itertools
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]

INFRASTRUCTURE = ("registry", "pubsub", "streams")
CASTS = [names for count in (1, 2, 3) for names in itertools.combinations(INFRASTRUCTURE, count)]


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Injected faults fill pages with tracebacks."""
    caplog.set_level(logging.CRITICAL + 1)


async def test_1_an_orderly_shutdown_cancels_every_stream_and_says_so(
    stage: AnyStage, clock: Clock
) -> None:
    feeds = [stage.Feed() for _ in range(5)]
    async with puck.Node(clock=clock) as node:
        audiences: list[Any] = []
        for feed in feeds:
            stream = await node.start_stream(feed.source)
            audiences.append(stage.Audience(node, stream))
            await audiences[-1].gather()
            feed("a")
        await stage.settle()
    for audience in audiences:
        end = await audience.verdict()
        assert (end.kind, end.reason, end.content) == ("cancelled", "shutdown", "a")
    assert not any(feed.running for feed in feeds)
    assert stage.nothing_left(node)


@pytest.mark.parametrize("names", CASTS, ids="+".join)
async def test_1_a_shutdown_right_after_infrastructure_was_lost_is_still_orderly(
    stage: AnyStage, clock: Clock, names: tuple[str, ...]
) -> None:
    feed, waiting = stage.Feed(), stage.Feed()
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(feed.source)
        audience = stage.Audience(node, stream)
        await audience.gather()
        feed("a")
        await stage.until(lambda: len(audience.seats[0].seen) == 2)
        stage.kill(node, *names)
        starting = node.start_stream(waiting.source)
    end = await audience.verdict()
    assert (end.kind, end.reason, end.content) == ("cancelled", "shutdown", "a")
    assert starting.done  # one way or the other
    assert not feed.running
    assert not waiting.running
    assert stage.nothing_left(node)


@pytest.mark.parametrize("names", CASTS, ids="+".join)
async def test_1_when_the_supervisors_give_up_every_stream_ends_with_node_down(
    stage: AnyStage, clock: Clock, names: tuple[str, ...]
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        audience = stage.Audience(node, stream)
        await audience.gather()
        feed("a")
        await stage.until(lambda: len(audience.seats[0].seen) == 2)
        for _ in range(4):  # more than the root allows within five seconds
            stage.kill(node, *names)
            await stage.settle()
        end = await audience.verdict()
        assert (end.kind, end.reason.kind, end.content) == ("error", "node_down", "a")
        await stage.until(feed.stopped)
        with pytest.raises(puck.NodeNotRunning):
            await node.start_stream(feed.source)
    assert feed.runs == 1
    assert stage.nothing_left(node)


async def test_1_when_the_root_itself_is_killed_every_stream_ends_with_node_down(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        audience = stage.Audience(node, stream)
        await audience.gather()
        node.tree().ref.kill()
        end = await audience.verdict()
        assert end.reason.kind == "node_down"
        await stage.until(feed.stopped)
    assert stage.nothing_left(node)


def test_1_a_thread_that_iterates_gets_the_end_of_a_node_that_shuts_down(
    stage: AnyStage,
) -> None:
    seen: list[Any] = []
    first = threading.Event()

    async def source(emit: Any) -> None:
        emit("a")
        await asyncio.Event().wait()

    def follow(stream: puck.Stream) -> None:
        with stream.subscribe() as events:
            for event in events:
                seen.append(event)
                first.set()

    with puck.Node() as node:
        stream = node.start_stream(source).get()
        reader = threading.Thread(target=follow, args=(stream,))
        reader.start()
        assert first.wait(10)
    reader.join(10)
    assert [event.seq for event in seen] == list(range(1, len(seen) + 1))
    assert (seen[-1].kind, seen[-1].reason) == ("cancelled", "shutdown")
    # Who comes later still reads what there was.
    assert [event.seq for event in stream.subscribe()] == [event.seq for event in seen]
    assert stream.wait().get() is seen[-1]
