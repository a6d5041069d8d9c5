"""Opening streams: one id at a time (guarantee 10), and none any more when the node drains."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck
from tests.streams.upstream import HEAD, WAIT, Upstream

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Injected faults fill pages with tracebacks."""
    caplog.set_level(logging.CRITICAL + 1)


# ------------------------------------------------------------------------- 10: replace and join


async def test_10_a_replaced_stream_that_hangs_as_it_closes_holds_up_nobody(
    stage: AnyStage, clock: Clock
) -> None:
    closing = asyncio.Event()
    first, second = Upstream((HEAD, "a", WAIT), closing=closing), Upstream(("well",))
    async with puck.Node(clock=clock) as node:
        old = await node.start_stream(puck.Client(first), "hello", stream_id="s")
        await stage.until(stage.reached(old, 2))
        audience = stage.Audience(node, old)
        await audience.gather()
        new = await node.start_stream(
            puck.Client(second), "hello", stream_id="s", if_running="replace"
        )
        assert (await new.result()).content == "well"
        end = await stage.ended(old)
        assert (end.kind, end.reason, end.content) == ("cancelled", "replaced", "a")
        assert first.open_now == 1
        closing.set()
        await stage.until(lambda: not first.open_now)


@pytest.mark.parametrize("running", ["before its start", "running", "waiting for a retry"])
async def test_10_a_stream_is_replaced_at_every_step_of_its_life(
    stage: AnyStage, clock: Clock, running: str
) -> None:
    overloaded = puck.StreamError("overloaded", "later", retryable=True)
    first = {
        "before its start": Upstream((WAIT, HEAD, "a")),
        "running": Upstream((HEAD, "a", WAIT)),
        "waiting for a retry": Upstream((overloaded,)),
    }[running]
    async with puck.Node(clock=clock) as node:
        starting = node.start_stream(puck.Client(first), "hello", stream_id="s", retry=5)
        if running != "before its start":
            await starting
            await stage.settle()
        new = await node.start_stream(
            puck.Client(Upstream(("well",))), "hello", stream_id="s", if_running="replace"
        )
        assert (await new.result()).content == "well"
        end = await stage.ended(await starting)
        assert (end.kind, end.reason) == ("cancelled", "replaced")
        await clock.elapse(100.0)
        assert first.calls <= 1
        assert not first.open_now


async def test_10_a_cancel_that_comes_between_the_end_and_the_next_start_cancels_that_start(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        old, new = stage.Feed(), stage.Feed()
        first = await node.start_stream(old.source, stream_id="s")
        await stage.until(old.started)
        said: list[Any] = []
        stage.log(first).on_end(lambda _event: said.append(node.cancel("s")))
        starting = node.start_stream(new.source, stream_id="s", if_running="replace")
        second = await starting
        end = await stage.ended(second)
        assert (await stage.ended(first)).reason == "replaced"
        assert (end.kind, end.reason, new.runs) == ("cancelled", "user", 0)
        assert await said[0] == "cancelled"
        # It was meant for that one start.
        third = await node.start_stream(new.source, stream_id="s")
        new.end()
        assert (await stage.ended(third)).kind == "done"


async def test_10_a_start_that_waits_to_replace_learns_of_the_end_of_the_node(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        await node.start_stream(stage.Feed().source, stream_id="s")
        stage.kill(node, "streams")
        starting = node.start_stream(stage.Feed().source, stream_id="s", if_running="replace")
    with pytest.raises(puck.NodeNotRunning):
        await starting


async def test_10_a_stream_at_the_limit_is_replaced_in_its_own_place(
    stage: AnyStage, clock: Clock
) -> None:
    closing = asyncio.Event()
    first, second = Upstream((HEAD, "a", WAIT), closing=closing), Upstream(("well",))
    async with puck.Node(clock=clock, limits=1) as node:
        old = await node.start_stream(puck.Client(first), "hello", stream_id="s")
        await stage.until(stage.reached(old, 2))
        new = await node.start_stream(
            puck.Client(second), "hello", stream_id="s", if_running="replace"
        )
        assert (await stage.ended(old)).reason == "replaced"
        await stage.settle()
        assert (await new.snapshot()).status == "queued"
        closing.set()
        assert (await new.result()).content == "well"


async def test_10_a_stream_that_is_replaced_leaves_its_place_to_the_next_and_not_to_the_line(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock, limits=puck.Limits(1, queue=1)) as node:
        running, second, third, waiting = (stage.Feed() for _ in range(4))
        await node.start_stream(running.source, stream_id="s")
        await stage.until(running.started)
        queued = await node.start_stream(waiting.source)
        # The second one is replaced before it has come to its place.
        starts = [
            node.start_stream(feed.source, stream_id="s", if_running="replace")
            for feed in (second, third)
        ]
        last = (await starts[0], await starts[1])[1]
        await stage.until(third.started)
        assert (await queued.snapshot()).status == "queued"
        assert waiting.runs == 0
        third.end()
        assert (await stage.ended(last)).kind == "done"
        await stage.until(waiting.started)
        waiting.end()


async def test_10_an_actor_whose_start_is_refused_keeps_its_subscription(
    stage: AnyStage, clock: Clock
) -> None:
    class Eager(puck.Actor):
        async def on_receive(self, message: Any) -> Any:
            match message:
                case ("puck_stream", "s", event):
                    seen.append(event)
                case source:
                    with pytest.raises(puck.StreamRunning):
                        await self.node.start_stream(source, stream_id="s")
                    return "refused"
            return None

    seen: list[Any] = []
    async with puck.Node(clock=clock) as node:
        feed, other = stage.Feed(), stage.Feed()
        await node.start_stream(feed.source, stream_id="s")
        eager = await node.spawn(Eager)
        await node.subscribe("s", subscriber=eager)
        feed("a")
        await stage.settle()
        for _ in range(3):
            assert await eager.call(other.source) == "refused"
        feed("b")
        feed.end()
        await stage.settle()
    assert [event.seq for event in seen] == [1, 2, 3, 4]
    assert seen[-1].response.content == "ab"
    assert other.runs == 0


async def test_10_who_joins_a_queued_stream_gets_all_of_it(stage: AnyStage, clock: Clock) -> None:
    upstream = Upstream((WAIT, "well"))
    client = puck.Client(upstream, limits=puck.Limits(1, queue=1))
    async with puck.Node(clock=clock) as node:
        await node.start_stream(client, "hello")
        queued = await node.start_stream(client, "hello", stream_id="s")
        joined = await node.start_stream(client, "hello", stream_id="s", if_running="join")
        audience = stage.Audience(node, joined)
        await audience.gather()
        upstream.gate.open()
        end = await audience.verdict()
        assert end is await queued.wait()
        assert upstream.calls == 2


# ------------------------------------------------------------------------------------ 1: draining


async def test_1_a_node_that_drains_lets_streams_end_and_cancels_what_is_left(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feeds = [stage.Feed() for _ in range(3)]
        streams = [await node.start_stream(feed.source) for feed in feeds]
        audiences = [stage.Audience(node, stream) for stream in streams]
        for audience in audiences:
            await audience.gather()
        ending = asyncio.create_task(node.shutdown(drain=10.0))
        await clock.elapse(5.0)
        feeds[0]("a")
        feeds[0].end()
        assert (await audiences[0].verdict()).kind == "done"
        feeds[1](ValueError("odd"))
        assert (await audiences[1].verdict()).kind == "error"
        await clock.elapse(4.0)
        assert not streams[2].ended
        late = audiences[2].reader()
        await clock.elapse(1.0)
        end = await audiences[2].verdict()
        assert (end.kind, end.reason) == ("cancelled", "shutdown")
        assert late.seen[-1] is end
        await ending
    assert stage.nothing_left(node)


async def test_1_a_node_whose_streams_have_ended_waits_no_longer(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feeds = [stage.Feed() for _ in range(3)]
        for feed in feeds:
            await node.start_stream(feed.source)
        ending = asyncio.create_task(node.shutdown(drain=1000.0))
        for feed in feeds:
            await stage.settle()
            assert not ending.done()
            feed.end()
        await ending
    async with puck.Node(clock=clock) as node:
        await node.shutdown(drain=1000.0)


async def test_1_a_node_that_drains_accepts_no_stream_but_what_running_ones_start(
    stage: AnyStage, clock: Clock
) -> None:
    async def inner(emit: Any) -> None:
        emit("a")

    async def outer(emit: Any) -> None:
        await go_on.wait()
        emit((await (await node.start_stream(inner)).result()).content)

    go_on = asyncio.Event()
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(outer)
        ending = asyncio.create_task(node.shutdown(drain=10.0))
        await stage.settle()
        for if_running in ("error", "join", "replace"):
            with pytest.raises(puck.NodeNotRunning, match="starts no more streams"):
                await node.start_stream(inner, stream_id=stream.id, if_running=if_running)
        assert (await stream.snapshot()).status == "running"
        assert not ending.done()
        go_on.set()
        assert (await stream.result()).content == "a"
        await ending


async def test_1_a_second_shutdown_cuts_the_drain_short_and_leaving_the_node_does_not(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(stage.Feed().source)
        first = asyncio.create_task(node.shutdown(drain=1000.0))
        await clock.elapse(10.0)
        second = asyncio.create_task(node.shutdown(drain=5.0))
        await clock.elapse(4.0)
        assert not stream.ended
        await clock.elapse(1.0)
        await asyncio.gather(first, second)
        assert (await stage.ended(stream)).reason == "shutdown"

    feed = stage.Feed()
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(feed.source)
        ending = asyncio.create_task(node.shutdown(drain=1000.0))
        await stage.settle()
        asyncio.get_running_loop().call_soon(feed.end)
    await ending
    assert (await stage.ended(stream)).kind == "done"


def test_1_a_node_in_a_thread_drains_too(stage: AnyStage) -> None:
    begun: list[asyncio.Event] = []

    async def source(emit: Any) -> None:
        begun.append(asyncio.Event())
        emit("a")
        await begun[0].wait()

    with puck.Node() as node:
        stream = node.start_stream(source).get()
        for event in stream.subscribe():
            if event.kind == "content":
                break
        assert node._system is not None
        loop = node._system.loop
        loop.call_soon_threadsafe(loop.call_later, 0.05, begun[0].set)
        with pytest.raises(puck.InvalidOption, match="drain=-1"):
            node.close(drain=-1)
        node.close(drain=20.0)
    assert stream.wait().get().kind == "done"


@pytest.mark.parametrize("lost", [("streams",), ("pubsub",), ("registry", "pubsub", "streams")])
async def test_1_infrastructure_lost_while_the_node_drains_costs_nothing(
    stage: AnyStage, clock: Clock, lost: tuple[str, ...]
) -> None:
    async with puck.Node(clock=clock) as node:
        feeds = [stage.Feed(), stage.Feed()]
        audiences = []
        for feed in feeds:
            audiences.append(stage.Audience(node, await node.start_stream(feed.source)))
            await audiences[-1].gather()
        ending = asyncio.create_task(node.shutdown(drain=10.0))
        await clock.elapse(1.0)
        stage.kill(node, *lost)
        await clock.elapse(1.0)
        feeds[0]("a")
        feeds[0].end()
        assert (await audiences[0].verdict()).kind == "done"
        await clock.elapse(8.0)
        assert (await audiences[1].verdict()).reason == "shutdown"
        await ending
    assert stage.nothing_left(node)


async def test_a_drain_that_cannot_be_is_refused_by_name(clock: Clock) -> None:
    wrong: Any
    async with puck.Node(clock=clock) as node:
        for wrong in (-1, float("inf"), "10", None, True):
            with pytest.raises(puck.InvalidOption, match="drain="):
                await node.shutdown(drain=wrong)
        assert (await node.start_stream(lambda emit: emit("a"))) is not None
