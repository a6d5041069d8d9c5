"""Who ends with whom: streams that functions and actors start."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
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


ENDS = ["cancel", "kill", "exit", "raise", "return", "bad chunk", "total", "stop"]


async def end_by(
    stage: AnyStage, node: puck.Node, stream: puck.Stream, feed: Any, way: str
) -> None:
    if way == "cancel":
        await stream.cancel()
    elif way == "kill":
        stage.owner(node, stream).kill()
    elif way == "exit":
        stage.owner(node, stream).exit("for a reason")
    elif way == "stop":
        stage.owner(node, stream).stop(block=False)
    elif way == "raise":
        feed(ValueError("odd"))
    elif way == "bad chunk":
        feed(puck.Chunk("done"))
    else:
        feed.end()


# ------------------------------------------------------------------------ streams of a stream


@pytest.mark.parametrize("way", [way for way in ENDS if way != "total"])
async def test_what_a_function_starts_ends_with_its_stream_however_that_ends(
    stage: AnyStage, clock: Clock, way: str
) -> None:
    async with puck.Node(clock=clock) as node:
        outer, inner, innermost = stage.Feed(), stage.Feed(), stage.Feed()
        started: list[puck.Stream] = []

        async def middle(emit: Any) -> None:
            started.append(await node.start_stream(innermost.source))
            await inner.source(emit)

        async def top(emit: Any) -> None:
            started.append(await node.start_stream(middle))
            await outer.source(emit)

        stream = await node.start_stream(top)
        await stage.until(innermost.started)
        audiences = [stage.Audience(node, one) for one in (stream, *started)]
        for audience in audiences:
            await audience.gather()
        await end_by(stage, node, stream, outer, way)
        await audiences[0].verdict()
        for audience in audiences[1:]:
            end = await audience.verdict()
            assert (end.kind, end.reason) == ("cancelled", "abandoned")
        for feed in (outer, inner, innermost):
            await stage.until(feed.stopped)
    assert stage.nothing_left(node)


async def test_a_cancel_that_waits_waits_for_every_connection_below(
    stage: AnyStage, clock: Clock
) -> None:
    closing = asyncio.Event()
    upstream = Upstream((HEAD, "a", WAIT), closing=closing)

    async with puck.Node(clock=clock) as node:

        async def middle(emit: Any) -> None:
            await (await node.start_stream(puck.Client(upstream), "hello")).result()

        async def top(emit: Any) -> None:
            await (await node.start_stream(middle)).result()

        stream = await node.start_stream(top)
        await stage.until(lambda: upstream.open_now)
        await stage.settle()
        cancelling = stream.cancel(wait=True)
        await stage.settle()
        assert stream.ended
        assert not cancelling.done
        closing.set()
        assert await cancelling == "cancelled"
        assert upstream.open_now == 0


async def test_a_stream_that_is_over_ends_what_it_started_before_its_worker_has_stopped(
    stage: AnyStage, clock: Clock
) -> None:
    go_on = asyncio.Event()
    inner = stage.Feed()

    async with puck.Node(clock=clock) as node:

        async def stubborn(emit: Any) -> None:
            await node.start_stream(inner.source)
            while not go_on.is_set():
                try:
                    await go_on.wait()
                except asyncio.CancelledError:
                    continue
            # Nothing more is started by one that is over.
            late = await node.start_stream(inner.source)
            ends.append(await late.wait())

        ends: list[Any] = []
        stream = await node.start_stream(stubborn)
        await stage.until(inner.started)
        await stream.cancel()
        await stage.until(inner.stopped)
        go_on.set()
        await stage.until(lambda: ends)
        assert (ends[0].kind, ends[0].reason, inner.runs) == ("cancelled", "abandoned", 1)


async def test_a_function_follows_several_models_and_their_events_are_not_its_actors(
    stage: AnyStage, clock: Clock
) -> None:
    models = [puck.Client(Upstream((f"{name} says ", "so"), provider=name)) for name in "ab"]

    async def both(emit: Any) -> puck.Done:
        streams = [await node.start_stream(model, "hello") for model in models]
        for stream in streams:
            async for event in stream.subscribe():
                if isinstance(event, puck.ContentEvent):
                    emit(event.chunk)
        return puck.Done(None, puck.Chunk("finish", "", {"finish_reason": "stop"}))

    async with puck.Node(clock=clock) as node:
        result = await (await node.start_stream(both)).result()
    assert (result.content, result.finish_reason) == ("a says sob says so", "stop")


def test_a_blocking_function_starts_streams_and_is_released_by_its_own_end() -> None:
    ended: list[Any] = []
    begun, over = threading.Event(), threading.Event()

    async def inner(emit: Any) -> None:
        emit("a")
        begun.set()
        await asyncio.Event().wait()

    with puck.Node() as node:

        def outer(emit: Any) -> None:
            try:
                stream = node.start_stream(inner).get()
                ended.extend(event.kind for event in stream.subscribe())
                stream.result().get()
            except puck.StreamCancelled as error:
                ended.append(error.reason)
                raise
            finally:
                over.set()

        stream = node.start_stream(outer).get()
        assert begun.wait(10)
        assert stream.cancel(wait=True).get(timeout=10) == "cancelled"
        assert over.is_set()
    assert ended == ["started", "content", "cancelled", "abandoned"]


async def test_what_a_function_starts_and_does_not_wait_for_ends_with_it(
    stage: AnyStage, clock: Clock
) -> None:
    inner = stage.Feed()

    async def careless(emit: Any) -> None:
        await node.start_stream(inner.source, stream_id="inner")
        emit("a")

    async with puck.Node(clock=clock) as node:
        await (await node.start_stream(careless)).result()
        assert (await (await node.stream("inner")).wait()).reason == "abandoned"  # type: ignore[union-attr]


# -------------------------------------------------------------------- models inside a function


async def test_a_function_asks_a_model_directly_and_its_connection_ends_with_the_stream(
    stage: AnyStage, clock: Clock
) -> None:
    upstream = Upstream(("well",), (HEAD, "a", WAIT))
    client = puck.Client(upstream, system_prompt="Be brief.")

    async def ask(emit: Any) -> None:
        for question in ("one", "two"):
            async with client.stream(question, temperature=0.5) as chunks:
                async for chunk in chunks:
                    emit(chunk)

    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(ask)
        await stage.until(stage.reached(stream, 3))
        assert upstream.open_now == 1
        assert await stream.cancel(wait=True) == "cancelled"
        assert upstream.open_now == 0
        assert (await stage.ended(stream)).content == "wella"
    assert [turn["content"] for turn in upstream.requests[1].messages] == ["Be brief.", "two"]
    assert upstream.requests[1].options == {"temperature": 0.5}


async def test_a_generator_asks_a_model_directly(stage: AnyStage, clock: Clock) -> None:
    upstream = Upstream((HEAD, "a", WAIT))

    async def ask() -> AsyncIterator[Any]:
        async with puck.Client(upstream).stream("hello") as chunks:
            async for chunk in chunks:
                yield chunk

    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(ask)
        await stage.until(stage.reached(stream, 2))
        assert await stream.cancel(wait=True) == "cancelled"
        assert upstream.open_now == 0


async def test_what_a_model_answers_a_function_with_is_the_functions_error(
    stage: AnyStage, clock: Clock
) -> None:
    upstream = Upstream((puck.StreamError("auth", "no key"),))

    async def ask(emit: Any) -> None:
        async with puck.Client(upstream).stream("hello") as chunks:
            async for chunk in chunks:
                emit(chunk)

    async with puck.Node(clock=clock) as node:
        assert (await stage.ended(await node.start_stream(ask))).reason.kind == "auth"


async def test_a_model_is_asked_by_any_code_of_a_node_and_by_no_other(clock: Clock) -> None:
    client = puck.Client(Upstream(("well",)))
    async with puck.Node(clock=clock):
        async with client.stream("hello") as chunks:
            assert [chunk.content async for chunk in chunks] == ["well"]
        with pytest.raises(puck.InvalidOption, match="prompt=5"):
            async with client.stream(5):  # type: ignore[arg-type]
                pass
    with pytest.raises(puck.NodeNotRunning, match="running node"):
        async with client.stream("hello"):
            pass


# --------------------------------------------------------------------------- streams of an actor


class Starter(puck.Actor):
    """Starts a stream when it is told, and writes down what it gets."""

    def __init__(self, source: Any, stream_id: str, *, owns: bool) -> None:
        super().__init__()
        self._source, self._id, self._owns = source, stream_id, owns

    async def on_start(self) -> None:
        owner = self.actor_ref if self._owns else None
        await self.node.start_stream(self._source, stream_id=self._id, owner=owner)

    def on_receive(self, message: Any) -> None:
        if message == "raise":
            raise RuntimeError("injected")


@pytest.mark.parametrize("way", ["stop", "kill", "exit", "raise"])
async def test_a_stream_ends_with_its_owner_when_asked_for(
    stage: AnyStage, clock: Clock, way: str
) -> None:
    async with puck.Node(clock=clock) as node:
        feeds = {"owned": stage.Feed(), "free": stage.Feed()}
        for name, feed in feeds.items():
            starter = await node.spawn(Starter, feed.source, name, owns=name == "owned")
            audience = stage.Audience(node, await node.stream(name))
            await audience.gather()
            feed("a")
            await stage.until(stage.reached(audience._stream, 2))
            if way == "stop":
                starter.stop(block=False)
            elif way == "kill":
                starter.kill()
            elif way == "exit":
                starter.exit("for a reason")
            else:
                starter.tell("raise")
            await starter.wait_stopped()
            await stage.settle()
            if name == "owned":
                end = await audience.verdict()
                assert (end.reason, end.by, end.content) == ("abandoned", starter, "a")
            else:
                assert node.streaming("free")
                feed.end()
                assert (await audience.verdict()).kind == "done"


async def test_any_actor_can_own_a_stream_and_one_that_has_ended_cannot(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        owner = await node.spawn(puck.Actor)
        feeds = [stage.Feed() for _ in range(3)]
        streams = [await node.start_stream(feed.source, owner=owner) for feed in feeds]
        assert await streams[0].cancel() == "cancelled"
        owner.kill()
        for stream in streams[1:]:
            assert (await stage.ended(stream)).reason == "abandoned"
        with pytest.raises(puck.ActorDead, match="cannot own"):
            await node.start_stream(feeds[0].source, stream_id="s", owner=owner)
        with pytest.raises(puck.StreamNotFound):
            await node.snapshot("s")
        wrong: Any
        for wrong in (5, "owner", node, True):
            with pytest.raises(puck.InvalidOption, match="owner="):
                node.start_stream(feeds[0].source, owner=wrong)


async def test_a_stream_can_own_another(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        first, second = stage.Feed(), stage.Feed()
        stream = await node.start_stream(first.source)
        owned = await node.start_stream(second.source, owner=stage.owner(node, stream))
        first.end()
        await stream.wait()
        assert (await stage.ended(owned)).reason == "abandoned"


async def test_an_owner_remembers_none_of_its_streams_that_have_ended(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        owner = await node.spawn(puck.Actor)

        async def brief(emit: Any) -> None:
            emit("a")

        for _ in range(100):
            await (await node.start_stream(brief, owner=owner)).wait()
        assert node._desk.opening.family.owned_by(owner) == ()
        assert owner._extra is not None
        assert len(owner._extra.on_death or ()) == 1
