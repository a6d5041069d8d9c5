"""The streams supervisor: it starts, watches and adopts, and never restarts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import puckstream as puck
from puckstream.streams.supervisor import StartStream

if TYPE_CHECKING:
    from puckstream.supervision.tree import Tree
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]


def streams(node: puck.Node) -> Tree:
    found = node.tree().find("streams")
    assert found is not None
    return found


async def test_its_successor_adopts_the_streams_that_run(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        feeds = [stage.Feed() for _ in range(3)]
        refs = [stage.owner(node, await node.start_stream(feed.source)) for feed in feeds]
        known: list[Any] = [None]
        for way in (stage.kill, stage.crash):
            known.append(streams(node).ref)
            way(node, "streams")
            await stage.until(lambda: streams(node).ref not in known)
            assert [below.ref for below in streams(node).children] == refs
            assert all(feed.running == 1 for feed in feeds)
        # They are children like others: their ends are seen, and so is the node's shutdown.
        refs[0].kill()
        await stage.until(lambda: len(streams(node).children) == 2)
    assert not any(feed.running for feed in feeds)


async def test_a_second_request_to_start_a_stream_starts_nothing(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        record = node._shelf.get(stream.id, 0.0)
        plan: Any = SimpleNamespace(record=record)  # nothing else of it may be looked at
        assert await node._desk.service.call(StartStream(plan)) is record.owner
        feed.end()
        await stream.wait()
        assert await node._desk.service.call(StartStream(plan)) is None
        assert feed.runs == 1


async def test_an_ended_stream_leaves_the_tree(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        ways: list[Any] = [
            lambda feed, _stream: feed.end(),
            lambda feed, _stream: feed(ValueError("odd")),
            lambda _feed, stream: stream.cancel(),
            lambda _feed, stream: stage.owner(node, stream).kill(),
        ]
        for way in ways:
            feed = stage.Feed()
            stream = await node.start_stream(feed.source)
            assert len(streams(node).children) == 1
            way(feed, stream)
            await stage.until(lambda: not streams(node).children)
        assert streams(node).restarts_in_window == 0
