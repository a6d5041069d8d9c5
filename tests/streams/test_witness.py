"""Guarantee 12: whatever happens to a stream, telemetry is told of one start and of one end."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck
from puckstream.telemetry import (
    CONVERSATION,
    ChunkArrived,
    FirstChunk,
    HandlerFailed,
    Retrying,
    StreamCancelled,
    StreamEnded,
    StreamFailed,
    StreamStarted,
    StreamStopped,
)
from tests.streams.upstream import WAIT, Upstream, busy

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]

INFRASTRUCTURE = ("registry", "pubsub", "streams")


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Injected faults fill pages with tracebacks."""
    caplog.set_level(logging.CRITICAL + 1)


class Book:
    """Every record of a node, and whether each run has one start, first, and one end, last."""

    def __init__(self, node: puck.Node, *, chunks: bool = False) -> None:
        self.records: list[Any] = []
        node.telemetry.attach(self.records.append, chunks=chunks)

    @property
    def end(self) -> Any:
        """The one end there is."""
        (end,) = self.of(StreamEnded)
        return end

    def of(self, kind: type[Any]) -> list[Any]:
        return [record for record in self.records if isinstance(record, kind)]

    def balanced(self) -> bool:
        for run in {record.run for record in self.records}:
            mine = [record for record in self.records if record.run == run]
            if not isinstance(mine[0], StreamStarted) or not isinstance(mine[-1], StreamEnded):
                return False
        starts = Counter(record.run for record in self.of(StreamStarted))
        ends = Counter(record.run for record in self.of(StreamEnded))
        return starts == ends and set(starts.values()) <= {1}


async def test_12_the_end_has_duration_usage_and_time_to_the_first_chunk(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        book = Book(node, chunks=True)
        feed = stage.Feed()
        stream = await node.start_stream(feed.source, stream_id="one")
        await stage.settle()
        await clock.elapse(2.0)
        feed("four")
        await stage.settle()
        await clock.elapse(0.5)
        feed("more")
        await stage.settle()
        await clock.elapse(1.0)
        feed.end()
        await stream.wait()
    started, first, chunk, end = book.records
    assert (started.stream_id, started.at, started.parent) == ("one", 1000.0, None)
    assert (first.at, first.seconds, first.attempt) == (1002.0, 2.0, 1)
    assert (chunk.at, chunk.seconds) == (1002.5, 0.5)
    assert isinstance(end, StreamStopped)
    assert (end.at, end.duration, end.time_to_first_chunk) == (1003.5, 3.5, 2.0)
    assert (end.chunks, end.attempt, end.response.content) == (2, 1, "fourmore")
    assert (end.usage.output, end.usage.estimated) == (2, True)
    assert end.provider is end.model is end.response_model is None


async def test_12_a_models_stream_says_whom_it_asked_and_what_was_counted() -> None:
    usage = puck.Usage(input=7, output=3)
    finish = puck.Chunk("finish", "", {"usage": usage, "model": "upstream-1-0613"})
    upstream = Upstream(("hello", finish))
    async with puck.Node() as node:
        book = Book(node)
        await (await node.start_stream(puck.Client(upstream), "hi")).wait()
    started = book.records[0]
    assert (started.provider, started.model) == ("upstream", "upstream-1")
    assert started.context[0]["content"] == "hi"
    assert book.end.usage == usage
    assert (book.end.model, book.end.response_model) == ("upstream-1", "upstream-1-0613")


async def test_the_address_of_a_provider_is_told_where_its_backend_says_it(
    stage: AnyStage,
) -> None:
    upstream = Upstream((WAIT,))
    upstream.base_url = "https://models.example:8443/v1"  # type: ignore[attr-defined]
    async with puck.Node() as node:
        book = Book(node)
        await node.start_stream(puck.Client(upstream), "hi")
        await stage.settle()
    assert book.records[0].base_url == "https://models.example:8443/v1"


# ------------------------------------------------------------------------------------ the ends


async def test_12_a_source_that_raises_is_an_end(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        book = Book(node)
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        feed("part", ValueError("odd"))
        await stream.wait()
    assert isinstance(book.end, StreamFailed)
    assert (book.end.error.kind, book.end.content) == ("crashed", "part")
    assert book.balanced()


@pytest.mark.parametrize("before_the_first_chunk", [True, False])
async def test_12_a_cancel_is_an_end(
    stage: AnyStage, clock: Clock, before_the_first_chunk: bool
) -> None:
    async with puck.Node(clock=clock) as node:
        book = Book(node)
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        if not before_the_first_chunk:
            feed("part")
        await stage.settle()
        await clock.elapse(1.5)
        await node.cancel(stream.id, by="the user")
    assert isinstance(book.end, StreamCancelled)
    assert (book.end.reason, book.end.by, book.end.duration) == ("user", "the user", 1.5)
    assert book.end.content == ("" if before_the_first_chunk else "part")
    assert book.end.time_to_first_chunk == (None if before_the_first_chunk else 0.0)


async def test_12_a_clock_that_runs_out_is_an_end(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        book = Book(node)
        await node.start_stream(stage.Feed().source, timeout=puck.Timeout(first=3.0))
        await stage.settle()
        await clock.elapse(3.0)
    assert (book.end.reason, book.end.duration) == ("timeout_first", 3.0)


async def test_12_a_cancel_before_the_start_is_a_start_and_an_end(clock: Clock) -> None:
    upstream = Upstream(("never",))
    async with puck.Node(clock=clock) as node:
        book = Book(node)
        await node.cancel("x")
        await (await node.start_stream(puck.Client(upstream), "hi", stream_id="x")).wait()
    assert book.balanced()
    assert (book.end.reason, book.end.duration, upstream.calls) == ("user", 0.0, 0)


async def test_12_a_killed_stream_actor_is_an_end(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        book = Book(node)
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        feed("part")
        await stage.settle()
        await clock.elapse(4.0)
        stage.owner(node, stream).kill()
        await stream.wait()
    assert isinstance(book.end, StreamFailed)
    assert (book.end.error.kind, book.end.duration, book.end.content) == ("killed", 4.0, "part")
    assert book.balanced()


async def test_12_a_stream_killed_while_its_supervisor_is_down_has_one_end(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        book = Book(node)
        stream = await node.start_stream(stage.Feed().source)
        stage.kill(node, "streams")
        stage.owner(node, stream).kill()
        await stream.wait()
    assert book.end.error.kind == "killed"
    assert book.balanced()


@pytest.mark.parametrize("gives_up", [False, True])
async def test_12_the_end_of_the_node_is_an_end_of_every_stream(
    stage: AnyStage, clock: Clock, gives_up: bool
) -> None:
    async with puck.Node(clock=clock) as node:
        book = Book(node)
        for _ in range(5):
            await node.start_stream(stage.Feed().source)
        if gives_up:
            for _ in range(4):
                stage.kill(node, "pubsub", "streams")
                await stage.settle()
    assert book.balanced()
    ends = book.of(StreamEnded)
    assert len(ends) == 5
    if gives_up:
        assert {end.error.kind for end in ends} == {"node_down"}
    else:
        assert {end.reason for end in ends} == {"shutdown"}


async def test_12_a_replaced_stream_has_its_own_end(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        book = Book(node)
        await node.start_stream(stage.Feed().source, stream_id="x")
        await node.start_stream(stage.Feed().source, stream_id="x", if_running="replace")
    first, second = book.of(StreamEnded)
    assert (first.run, first.reason) == (1, "replaced")
    assert (second.run, second.reason) == (2, "shutdown")
    assert book.balanced()


async def test_12_a_stream_that_waits_for_its_place_has_a_start_and_an_end(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock, limits=puck.Limits(1, queue=1)) as node:
        book = Book(node)
        await node.start_stream(stage.Feed().source)
        waiting = await node.start_stream(stage.Feed().source, stream_id="waiting")
        with pytest.raises(puck.TooManyStreams):
            await node.start_stream(stage.Feed().source, stream_id="refused")
        await clock.elapse(2.0)
        await waiting.cancel()
    assert book.balanced()
    assert [start.stream_id for start in book.of(StreamStarted)][1:] == ["waiting"]
    ends = {end.stream_id: end for end in book.of(StreamEnded)}
    assert ends["waiting"].duration == 2.0


async def test_12_no_schedule_of_faults_costs_a_start_or_an_end(stage: AnyStage) -> None:
    """Seeded; a failure names its seed."""
    for seed in range(150):
        chance = random.Random(seed)
        async with puck.Node(clock=stage.Clock()) as node:
            book = Book(node, chunks=True)
            feeds: list[Any] = []
            streams: list[puck.Stream] = []
            for _ in range(chance.randrange(1, 6)):
                feeds.append(stage.Feed())
                streams.append(await node.start_stream(feeds[-1].source))
                feeds[-1](*"ab"[: chance.randrange(3)])
                if chance.random() < 0.3:
                    chance.choice(feeds)(chance.choice([ValueError(), SystemExit(1), 5]))
                if chance.random() < 0.3:
                    chance.choice(feeds).end()
                if chance.random() < 0.4:
                    stage.owner(node, chance.choice(streams)).kill()
                if chance.random() < 0.3:
                    chance.choice([stage.kill, stage.crash])(node, chance.choice(INFRASTRUCTURE))
                if chance.random() < 0.3:
                    await chance.choice(streams).cancel(wait=chance.random() < 0.5)
                await stage.turns(chance.randrange(4))
        assert book.balanced(), f"seed {seed}: {book.records}"
        assert len(book.of(StreamEnded)) == len(streams), f"seed {seed}"


# ------------------------------------------------------------------------- retries and handlers


async def test_12_a_retry_is_told_with_whom_and_when(stage: AnyStage, clock: Clock) -> None:
    first = Upstream((busy(),), provider="first")
    second = Upstream(("fine",), provider="second")
    second.base_url = "http://second.example"  # type: ignore[attr-defined]
    retry = puck.Retry(2, backoff=puck.Backoff(min=1.0, jitter=0.0))
    async with puck.Node(clock=clock) as node:
        book = Book(node)
        stream = await node.start_stream(
            puck.Client(first), "hi", retry=retry, fallback=[puck.Client(second)]
        )
        await stage.settle()
        await clock.elapse(1.0)
        await stream.wait()
    again, other = book.of(Retrying)
    assert (again.attempt, again.delay, again.provider) == (2, 1.0, "first")
    assert (other.attempt, other.delay, other.model) == (3, 0.0, "second-1")
    assert (again.base_url, other.base_url) == (None, "http://second.example")
    assert again.error.kind == "overloaded"
    assert (book.end.attempt, book.end.provider, book.end.duration) == (3, "second", 1.0)
    assert book.of(FirstChunk)[0].attempt == 3
    assert book.balanced()


async def test_12_a_failing_handler_is_told_by_method(stage: AnyStage, clock: Clock) -> None:
    class Broken(puck.Handler):
        def on_chunk(self, chunk: Any, state: Any) -> Any:
            raise ValueError(chunk.content)

    async with puck.Node(clock=clock) as node:
        book = Book(node)
        feed = stage.Feed()
        stream = await node.start_stream(feed.source, handler=Broken(), stream_id="x")
        feed("odd")
        await stage.until(lambda: book.of(HandlerFailed))
        feed.end()
        await stream.wait()
    (failed,) = book.of(HandlerFailed)
    assert (failed.stream_id, failed.method, str(failed.error)) == ("x", "on_chunk", "odd")
    assert book.balanced()


async def test_12_a_handler_that_is_given_up_is_told(stage: AnyStage, clock: Clock) -> None:
    class Stuck(puck.Handler):
        async def on_start(self, stream_id: str, info: Any) -> Any:
            await asyncio.Event().wait()

    async with puck.Node(clock=clock) as node:
        book = Book(node)
        await node.start_stream(stage.Feed().source, handler=Stuck())
        await stage.settle()
        await clock.elapse(30.0)
    (failed,) = book.of(HandlerFailed)
    assert failed.method == "on_start"
    assert isinstance(failed.error, TimeoutError)


# ------------------------------------------------------------------------------------- kinship


async def test_a_stream_started_by_a_streams_function_names_its_parent(clock: Clock) -> None:
    upstream = Upstream(("inner",))

    async with puck.Node(clock=clock) as node:

        async def outer(emit: Any) -> None:
            stream = await node.start_stream(puck.Client(upstream), "hi")
            emit((await stream.result()).content)

        book = Book(node)
        await (await node.start_stream(outer)).wait()
    first, second = book.of(StreamStarted)
    assert (first.parent, second.parent) == (None, first.run)


async def test_the_conversation_of_the_starters_context_is_told() -> None:
    async with puck.Node() as node:
        book = Book(node)
        CONVERSATION.set("chat-7")
        await (await node.start_stream(puck.Client(Upstream(("a",))), "hi")).wait()
    assert book.records[0].conversation == "chat-7"


async def test_a_burst_of_chunks_is_told_chunk_by_chunk(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        book = Book(node, chunks=True)
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        feed(*"abcdefgh" * 100)
        feed.end()
        await stream.wait()
    assert len(book.of(ChunkArrived)) == 799
    assert book.end.chunks == 800
