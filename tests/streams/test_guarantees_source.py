"""Guarantee 1 of docs/guarantees.md, one terminal event, whatever the stream's source does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Injected faults fill pages with tracebacks."""
    caplog.set_level(logging.CRITICAL + 1)


NO_CONTEXT: Any = 5


class Odd(BaseException):
    """No Exception, and nobody's."""


RAISED = [
    ValueError("odd"),
    StopIteration("odd"),
    StopAsyncIteration("odd"),
    asyncio.CancelledError(),
    SystemExit(3),
    GeneratorExit(),
    Odd("odd"),
    ExceptionGroup("several", [ValueError("odd")]),
    TimeoutError(),
    puck.StreamError("overloaded", "try later", status=503),
]


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("kind", ["coroutine", "generator", "thread"])
async def test_1_whatever_a_source_raises_is_an_event(
    stage: AnyStage, clock: Clock, kind: str, error: BaseException
) -> None:
    async def coroutine(emit: Any) -> None:
        emit("a")
        raise error

    async def generator() -> AsyncIterator[str]:
        yield "a"
        raise error

    def thread(emit: Any) -> None:
        emit("a")
        raise error

    source: Any = {"coroutine": coroutine, "generator": generator, "thread": thread}[kind]
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(source)
        audience = stage.Audience(node, stream)
        await audience.gather()
        end = await audience.verdict()
        assert (end.kind, end.content) == ("error", "a")
        assert end.reason.kind == ("overloaded" if end.reason is error else "crashed")
        assert (await node.start_stream(source)).id != stream.id  # the node is well
    assert stage.nothing_left(node)


def test_1_a_keyboard_interrupt_belongs_to_the_program_and_still_ends_the_stream(
    stage: AnyStage, clock: Clock
) -> None:
    seen: list[Any] = []

    async def main() -> None:
        async with puck.Node(clock=clock) as node:
            feed = stage.Feed()
            stream = await node.start_stream(feed.source)
            audience = stage.Audience(node, stream)
            await audience.actor()  # an iterator's task would be cancelled with the program
            feed("a", KeyboardInterrupt())
            try:
                seen.append(await audience.verdict())
            except asyncio.CancelledError:
                seen.append(await audience.verdict())
                raise

    with asyncio.Runner() as runner, pytest.raises(KeyboardInterrupt):
        runner.run(main())
    assert [event.reason.kind for event in seen] == ["crashed"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=["ctrl-c", "exit"])
def test_1_no_source_takes_down_a_loop_that_runs_in_a_thread(error: BaseException) -> None:
    async def coroutine(emit: Any) -> None:
        emit("a")
        raise error

    def thread(emit: Any) -> None:
        emit("a")
        raise error

    with puck.Node() as node:
        for source in (coroutine, thread):
            events = list(node.start_stream(source).get().subscribe())
            assert [event.kind for event in events] == ["started", "content", "error"]


class Unreadable:
    """Metadata of a kind of its own."""

    def __bool__(self) -> bool:
        raise RuntimeError("no truth in it")


OFF_PROTOCOL = {
    "emits a number": (5,),
    "emits None": (None,),
    "emits bytes": (b"x",),
    "text after a struct": (puck.Chunk("content", {"a": 1}), "text"),
    "a struct after text": ("text", puck.Chunk("content", {"a": 1})),
    "a chunk that says done": (puck.Chunk("done", "x"),),
    "a chunk that says error": (puck.Chunk("error", "x"),),
    "a chunk that says cancelled": (puck.Chunk("cancelled", "x"),),
    "a chunk that says started": (puck.Chunk("started", "x"),),
    "a thought that is no text": (puck.Chunk("thinking", 5),),
    "metadata that is none": (puck.Chunk("content", "x", Unreadable()),),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("items", OFF_PROTOCOL.values(), ids=OFF_PROTOCOL.keys())
async def test_1_a_function_that_breaks_the_protocol_ends_with_an_error_that_says_so(
    stage: AnyStage, clock: Clock, items: tuple[Any, ...]
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        audience = stage.Audience(node, stream)
        await audience.gather()
        feed(*items, "too late")
        end = await audience.verdict()
        assert (end.kind, end.reason.kind) == ("error", "protocol")
        await stage.until(feed.stopped)


@pytest.mark.parametrize(
    "result", [5, "text", puck.Chunk("content", "x"), puck.Done(context=NO_CONTEXT)], ids=repr
)
async def test_1_a_function_that_returns_junk_ends_with_an_error_that_says_so(
    stage: AnyStage, clock: Clock, result: Any
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        audience = stage.Audience(node, stream)
        await audience.gather()
        feed("a")
        feed.end(result)
        end = await audience.verdict()
        assert (end.kind, end.reason.kind, end.content) == ("error", "protocol", "a")


async def test_1_a_source_that_swallows_its_cancellation_is_stopped_at_its_next_emit(
    stage: AnyStage, clock: Clock
) -> None:
    swallowed, go_on = asyncio.Event(), asyncio.Event()
    emitted: list[str] = []

    async def stubborn(emit: Any) -> None:
        emit("a")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed.set()
        await go_on.wait()
        for letter in "bcd":
            emit(letter)
            emitted.append(letter)

    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(stubborn)
        audience = stage.Audience(node, stream)
        await audience.gather()
        cancelling = node.cancel(stream.id, wait=True)
        end = await audience.verdict()
        assert (end.reason, end.content) == ("user", "a")
        await swallowed.wait()
        assert not cancelling.done
        go_on.set()
        assert await cancelling == "cancelled"
        assert not emitted


async def test_1_a_source_that_never_ends_is_cancelled_again_and_then_left_behind(
    stage: AnyStage, clock: Clock
) -> None:
    cancels: list[int] = []
    let_go = asyncio.Event()

    async def deaf(emit: Any) -> None:
        emit("a")
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                cancels.append(len(cancels))

    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(deaf)
        audience = stage.Audience(node, stream)
        await audience.gather()
        cancelling = node.cancel(stream.id, wait=True)
        await audience.verdict()
        await clock.elapse(5.0)
        assert len(cancels) == 2
        assert not cancelling.done
        await clock.elapse(5.0)
        assert await cancelling == "cancelled"  # nobody waits for ever
        assert stage.zombies(node) == 1  # and the node knows what it could not end
        let_go.set()
        await stage.until(lambda: not stage.zombies(node))


async def test_1_a_generator_that_never_waits_does_not_hold_up_its_own_cancel(
    stage: AnyStage, clock: Clock
) -> None:
    async def torrent() -> AsyncIterator[str]:
        while True:
            yield "x"

    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(torrent)
        audience = stage.Audience(node, stream)
        await audience.gather()
        assert await node.cancel(stream.id, wait=True) == "cancelled"
        await audience.verdict()


async def test_1_a_worker_ends_with_its_stream_however_that_ends(
    stage: AnyStage, clock: Clock
) -> None:
    ways: dict[str, Callable[[puck.Node, puck.Stream], object]] = {
        "cancel": lambda node, stream: node.cancel(stream.id),
        "kill": lambda node, stream: stage.owner(node, stream).kill(),
        "exit": lambda node, stream: stage.owner(node, stream).exit("for a reason"),
        "shut down": lambda node, stream: stage.owner(node, stream).exit(),
        "stop": lambda node, stream: stage.owner(node, stream).stop(block=False),
        "bad chunk": lambda node, stream: stage.owner(node, stream).tell(puck.Chunk("done")),
    }
    for way, end in ways.items():
        async with puck.Node(clock=clock) as node:
            feed = stage.Feed()
            stream = await node.start_stream(feed.source)
            audience = stage.Audience(node, stream)
            await audience.gather()
            await stage.until(feed.started)
            end(node, stream)
            await audience.verdict()
            await stage.until(feed.stopped)
            assert not [task for task in asyncio.all_tasks() if ":worker" in task.get_name()], way
        assert stage.nothing_left(node)
