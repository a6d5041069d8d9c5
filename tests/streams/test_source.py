"""Sources: the kinds of functions there are, and what a client's source sends."""

from __future__ import annotations

import functools
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck
from puckstream.streams.events import StartInfo

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]


async def generator() -> AsyncIterator[str]:
    yield "a"
    yield "b"


async def coroutine(emit: Any) -> None:
    emit("a")
    emit("b")


def blocking(emit: Any) -> None:
    assert threading.current_thread().name.startswith("puckstream-worker")
    emit("a")
    emit("b")


class Bound:
    async def generator(self) -> AsyncIterator[str]:
        yield "a"
        yield "b"

    async def coroutine(self, emit: Any) -> None:
        emit("a")
        emit("b")

    def blocking(self, emit: Any) -> None:
        blocking(emit)


class CallableGenerator:
    async def __call__(self) -> AsyncIterator[str]:
        yield "a"
        yield "b"


class CallableCoroutine:
    async def __call__(self, emit: Any) -> None:
        emit("a")
        emit("b")


async def with_arguments(first: str, emit: Any, *, second: str) -> None:
    emit(first)
    emit(second)


FUNCTIONS: dict[str, Any] = {
    "async generator": generator,
    "coroutine function": coroutine,
    "blocking function": blocking,
    "bound async generator": Bound().generator,
    "bound coroutine": Bound().coroutine,
    "bound blocking function": Bound().blocking,
    "object with an async generator": CallableGenerator(),
    "object with a coroutine": CallableCoroutine(),
    "partial": functools.partial(with_arguments, "a", second="b"),
    "partial generator": functools.partial(generator),
    "lambda": lambda emit: emit("ab"),
}


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS.keys())
async def test_a_function_is_called_its_own_way(clock: Clock, function: Any) -> None:
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(function)
        assert (await stream.result()).content == "ab"


@pytest.mark.parametrize("way", ["cancel", "bad chunk", "kill"])
async def test_a_generator_is_closed_before_its_stream_is_down(
    stage: AnyStage, clock: Clock, way: str
) -> None:
    closed: list[str] = []

    async def items() -> AsyncIterator[Any]:
        try:
            yield "a"
            yield 5 if way == "bad chunk" else "b"
            await gate.source(lambda _item: None)
        finally:
            closed.append("closed")

    gate = stage.Feed()
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(items)
        await stage.until(stage.reached(stream, 3))
        if way == "kill":
            stage.owner(node, stream).kill()
            await stage.until(lambda: closed)
        else:
            await stream.cancel(wait=True)
        assert closed == ["closed"]


def hands_on(emit: Any) -> Any:
    return coroutine(emit)


async def test_whatever_else_returns_something_awaitable_is_off_protocol(clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        for function in (hands_on, lambda _emit: generator()):
            stream = await node.start_stream(function)
            with pytest.raises(puck.StreamError, match=r"protocol: .* returned"):
                await stream.result()


async def test_a_function_that_takes_other_arguments_says_so(clock: Clock) -> None:
    async def greedy(emit: Any, more: Any) -> None:
        emit(more)

    async def greedy_generator(more: Any) -> AsyncIterator[Any]:
        yield more

    async with puck.Node(clock=clock) as node:
        for function in (greedy, greedy_generator, lambda: None):
            stream = await node.start_stream(function)
            with pytest.raises(puck.StreamError, match="crashed: the source raised TypeError"):
                await stream.result()


async def test_an_emit_that_outlives_its_stream_stops_whoever_calls_it(
    stage: AnyStage, clock: Clock
) -> None:
    kept: list[Any] = []

    async def leaky(emit: Any) -> None:
        emit("a")
        kept.append(emit)

    stopped: list[bool] = []

    def late() -> None:
        try:
            kept[0]("too late")
        except BaseException as error:  # noqa: BLE001  # that it is no Exception is the point
            stopped.append(not isinstance(error, Exception))

    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(leaky)
        assert (await stream.result()).content == "a"
        late()
        await stage.settle()
        late()
    late()
    assert stopped == [True] * 3


# ------------------------------------------------------------------------- structured partials


PARTIALS = [{"a": 1}, {"a": 1, "b": [2]}, {"a": 1, "b": [2, 3]}]


@pytest.mark.parametrize("way", ["done", "last chunk", "cancel", "raise", "kill"])
async def test_the_last_structured_partial_is_the_content_however_the_stream_ends(
    stage: AnyStage, clock: Clock, way: str
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        audience = stage.Audience(node, stream)
        await audience.gather()
        feed(*(puck.Chunk("content", partial) for partial in PARTIALS))
        await stage.until(stage.reached(stream, 4))
        assert (await stream.snapshot()).content == PARTIALS[-1]
        last: Any = PARTIALS[-1]
        if way == "done":
            feed.end()
        elif way == "last chunk":
            last = {"a": 2}
            feed.end(puck.Done(last_chunk=puck.Chunk("content", last)))
        elif way == "cancel":
            await stream.cancel()
        elif way == "raise":
            feed(ValueError("odd"))
        else:
            stage.owner(node, stream).kill()
        end = await audience.verdict()
        content = end.response.content if end.kind == "done" else end.content
        assert content == last
        assert [event.chunk.content for event in audience.seats[0].seen[1:4]] == PARTIALS


async def test_text_and_structure_in_one_answer_are_an_error_that_says_so(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        for first, second, problem in (
            ("text", {"a": 1}, "structured content cannot follow text, and a chunk held dict"),
            ({"a": 1}, "text", "text cannot follow structured content, and a chunk held str"),
        ):
            feed = stage.Feed()
            stream = await node.start_stream(feed.source)
            feed(puck.Chunk("content", first), puck.Chunk("content", second))
            end = await stage.ended(stream)
            assert (end.reason.kind, end.reason.message) == ("protocol", problem)
            assert end.content == first


# ------------------------------------------------------------------------------------ clients


class Recorder:
    """A backend that answers at once, and remembers what it was asked."""

    provider = "recorder"
    model = "m-1"

    def __init__(self) -> None:
        self.requests: list[puck.Request] = []

    @asynccontextmanager
    async def open(
        self, request: puck.Request, resources: puck.Resources
    ) -> AsyncGenerator[AsyncIterator[puck.Chunk]]:
        del resources
        self.requests.append(request)

        async def chunks() -> AsyncIterator[puck.Chunk]:
            yield puck.Chunk("content", "well")
            usage = puck.Usage(3, 1)
            yield puck.Chunk("finish", "", {"finish_reason": "stop", "usage": usage})

        yield chunks()


async def test_a_client_sends_system_prompt_context_and_prompt(
    stage: AnyStage, clock: Clock
) -> None:
    backend = Recorder()
    client = puck.Client(backend, system_prompt="Be brief.")
    context = puck.Context().user("one").assistant("two")
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(client, "three", context, temperature=0.5)
        started, _, _, done = await stage.events(stream)
    (request,) = backend.requests
    assert [(turn["role"], turn["content"]) for turn in request.messages] == [
        ("system", "Be brief."),
        ("user", "one"),
        ("assistant", "two"),
        ("user", "three"),
    ]
    assert request.options == {"temperature": 0.5}
    assert started.info == StartInfo("m-1", "recorder")
    assert done.response.usage == puck.Usage(3, 1)
    assert [turn["content"] for turn in done.context] == ["one", "two", "three", "well"]
    assert len(context) == 2


class Tagged(puck.Chunk):
    """A chunk of a user's own class."""


class Own:
    """A backend that yields what it is given."""

    provider, model = "own", "m"

    def __init__(self, *items: Any) -> None:
        self.items = items

    @asynccontextmanager
    async def open(self, request: Any, resources: Any) -> AsyncGenerator[Any]:
        del request, resources

        async def chunks() -> AsyncIterator[Any]:
            for item in self.items:
                yield item
            yield puck.Chunk("finish", "", {"finish_reason": "stop"})

        yield chunks()


async def test_a_backend_may_yield_text_and_chunks_of_its_own_class(clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        client = puck.Client(Own("a", Tagged("content", "b"), puck.Chunk("content", "c")))
        assert (await (await node.start_stream(client, "hello")).result()).content == "abc"


@pytest.mark.parametrize("item", [None, 1, ("content", "x", {}), b"x"])
async def test_what_else_a_backend_yields_is_an_error_and_not_lost(clock: Clock, item: Any) -> None:
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(puck.Client(Own("a", item)), "hello")
        end: Any = await stream.wait()
        assert (end.kind, end.reason.kind, end.content) == ("error", "protocol", "a")
        assert f"the stream's backend emitted {type(item).__name__}" in str(end.reason)


async def test_the_input_tokens_a_provider_does_not_count_are_estimated(clock: Clock) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "x" * 4000}}
    prompt: list[dict[str, Any]] = [{"type": "text", "text": "x" * 30}, image]
    async with puck.Node(clock=clock) as node:
        client = puck.Client(Own("well"), system_prompt="y" * 8)
        context = puck.Context().user("z").assistant("z")
        stream = await node.start_stream(client, prompt, context)
        assert (await stream.result()).usage == puck.Usage(10, 1, 0, estimated=True)
        function = await node.start_stream(coroutine)
        assert (await function.result()).usage.input is None
