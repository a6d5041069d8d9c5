"""Guarantee 11: handlers run after the broadcast, and nothing they do disturbs the stream."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck
from puckstream.actors.feed import BACKLOG
from puckstream.streams.handler import HandlerActor
from tests.streams.upstream import Upstream, busy

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]

METHODS = ("on_start", "on_chunk", "on_retry", "on_done", "on_error", "on_cancel")


class Notes(puck.Handler):
    """Writes down what it is called with; the state is the text so far."""

    def __init__(self) -> None:
        self.notes: list[Any] = []
        self.over = asyncio.Event()

    async def on_start(self, stream_id: str, info: Any) -> str:
        self.notes.append(("start", stream_id, info.attempt))
        return ""

    async def on_chunk(self, chunk: Any, state: str) -> str:
        return f"{state}{chunk.content}"

    async def on_retry(self, info: Any, state: str) -> str:
        self.notes.append(("retry", info.attempt, state))
        return "" if info.reset else state

    async def on_done(self, event: Any, state: str) -> None:
        self.note("done", event.response.content, state)

    async def on_error(self, event: Any, state: str) -> None:
        self.note("error", event.reason.kind, state)

    async def on_cancel(self, event: Any, state: str) -> None:
        self.note("cancel", event.reason, state)

    def note(self, *what: Any) -> None:
        self.notes.append(what)
        self.over.set()


class Plain(puck.Handler):
    """The same in plain methods, which run in threads."""

    def __init__(self) -> None:
        self.notes: list[Any] = []
        self.threads: set[str] = set()
        self.over = threading.Event()

    def on_start(self, stream_id: str, info: Any) -> list[str]:
        self.threads.add(threading.current_thread().name)
        return []

    def on_chunk(self, chunk: Any, state: list[str]) -> list[str]:
        self.threads.add(threading.current_thread().name)
        return [*state, chunk.content]

    def on_done(self, event: Any, state: list[str]) -> None:
        self.notes.append(("done", "".join(state)))
        self.over.set()


def handlers(node: puck.Node) -> list[puck.ActorRef[Any]]:
    """Return the actors that call handlers."""
    assert node._system is not None
    return [ref for ref in node._system.actors.values() if ref.actor_class is HandlerActor]


# ---------------------------------------------------------------------------------- what it gets


async def test_11_a_handler_gets_every_event_and_hands_its_state_on(
    stage: AnyStage, clock: Clock
) -> None:
    notes = Notes()
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source, handler=notes)
        feed("a", "b", "c")
        feed.end()
        await notes.over.wait()
        assert notes.notes == [("start", stream.id, 1), ("done", "abc", "abc")]
        await stage.settle()
        assert not handlers(node)


async def test_11_a_handler_is_told_how_the_stream_ended(stage: AnyStage, clock: Clock) -> None:
    ways: dict[str, Any] = {
        "crashed": lambda feed, node, stream: feed(ValueError("odd")),
        "killed": lambda feed, node, stream: stage.owner(node, stream).kill(),
        "user": lambda feed, node, stream: stream.cancel(),
    }
    feed = stage.Feed()
    async with puck.Node(clock=clock) as node:
        for reason, end in ways.items():
            notes, feed = Notes(), stage.Feed()
            stream = await node.start_stream(feed.source, handler=notes)
            feed("a")
            await stage.until(stage.reached(stream, 2))
            end(feed, node, stream)
            await notes.over.wait()
            kind = "cancel" if reason == "user" else "error"
            assert notes.notes[-1] == (kind, reason, "a")
        # One that ends before it starts, and one that the node's end cancels.
        early, late = Notes(), Notes()
        await node.cancel("s")
        await node.start_stream(feed.source, stream_id="s", handler=early)
        await early.over.wait()
        assert early.notes == [("cancel", "user", None)]
        await node.start_stream(feed.source, handler=late)
    assert late.notes[-1] == ("cancel", "shutdown", "")


async def test_11_a_handler_is_told_of_a_retry_and_started_once(
    stage: AnyStage, clock: Clock
) -> None:
    notes = Notes()
    upstream = Upstream(("we", busy()), ("well",))
    retry = puck.Retry(2, after_first_token=True, chance=lambda: 0.0)
    async with puck.Node(clock=clock) as node:
        client = puck.Client(upstream)
        stream = await node.start_stream(client, "hello", handler=notes, retry=retry)
        await clock.elapse(1.0)
        await notes.over.wait()
    assert notes.notes == [
        ("start", stream.id, 1),
        ("retry", 2, "we"),
        ("done", "well", "well"),
    ]


async def test_11_one_handler_may_serve_many_streams(stage: AnyStage, clock: Clock) -> None:
    notes = Notes()
    async with puck.Node(clock=clock) as node:
        feeds = [stage.Feed() for _ in range(10)]
        for feed in feeds:
            await node.start_stream(feed.source, handler=notes)
        for number, feed in enumerate(feeds):
            feed(str(number))
            feed.end()
        await stage.settle()
    done = [what for what in notes.notes if what[0] == "done"]
    assert done == [("done", str(number), str(number)) for number in range(10)]


async def test_11_plain_methods_run_in_a_thread_one_after_the_other(
    stage: AnyStage, clock: Clock
) -> None:
    plain = Plain()
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        await node.start_stream(feed.source, handler=plain)
        feed(*"abcdefgh" * 10)
        feed.end()
        assert await asyncio.to_thread(plain.over.wait, 10)
    assert plain.notes == [("done", "abcdefgh" * 10)]
    assert {name.startswith("puckstream-worker") for name in plain.threads} == {True}


@pytest.mark.parametrize("lost", [(), ("pubsub",)], ids=["", "while PubSub is lost"])
async def test_11_a_handler_is_called_after_the_broadcast_of_the_same_event(
    stage: AnyStage, clock: Clock, lost: tuple[str, ...]
) -> None:
    arrived: list[tuple[int, int]] = []

    class Late(puck.Handler):
        async def on_chunk(self, chunk: Any, state: Any) -> None:
            for seat in audience.seats:
                assert seat.ref is not None
                # The first event was 'started'.
                arrived.append((chunk.content["n"] + 1, len(seat.seen) + seat.ref.mailbox_length))

    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source, handler=Late())
        audience = stage.Audience(node, stream)
        for _ in range(3):
            await audience.actor()
        for number in range(1, 51):
            feed(puck.Chunk("content", {"n": number}))
            await stage.turns(number % 4)
            if number % 20 == 0:
                clock.advance(60.0)
                stage.kill(node, *lost)
        feed.end()
        await audience.verdict()
        await stage.settle()
    assert len(arrived) == 150
    assert all(number <= count for number, count in arrived)


# ------------------------------------------------------------------------------ what it may do


class Odd(BaseException):
    """No Exception, and nobody's."""


RAISED = [ValueError("odd"), asyncio.CancelledError(), SystemExit(3), GeneratorExit(), Odd("odd")]


def raising(error: BaseException, *, plain: bool) -> puck.Handler:
    """Return a handler whose every method raises."""

    def broken(_self: Any, *_args: Any) -> Any:
        raise error

    async def broken_async(_self: Any, *_args: Any) -> Any:
        raise error

    methods: dict[str, Any] = dict.fromkeys(METHODS, broken if plain else broken_async)
    handler: puck.Handler = type("Raising", (puck.Handler,), methods)()
    return handler


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("plain", [True, False], ids=["plain", "async"])
async def test_11_whatever_a_handler_raises_is_reported_once_and_disturbs_nothing(
    stage: AnyStage, clock: Clock, error: BaseException, plain: bool, caplog: Any
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source, handler=raising(error, plain=plain))
        audience = stage.Audience(node, stream)
        await audience.gather()
        feed(*"abcde")
        feed.end()
        end = await audience.verdict()
        assert end.response.content == "abcde"
        while handlers(node):
            await asyncio.to_thread(handlers(node)[0].wait_stopped().get)
    reports = [record.message for record in caplog.records if "failed in its" in record.message]
    assert [report.rpartition(" ")[2] for report in reports] == ["on_start", "on_chunk", "on_done"]
    assert "failed again: {'on_chunk': 4}" in caplog.text


@pytest.mark.parametrize("method", ["on_start", "on_chunk", "on_done"])
@pytest.mark.parametrize("way", ["async", "deaf", "plain"])
async def test_11_a_handler_that_hangs_holds_nobody_up_and_is_given_up(
    stage: AnyStage, clock: Clock, method: str, way: str, caplog: Any
) -> None:
    let_go, let_thread_go, begun = asyncio.Event(), threading.Event(), threading.Event()
    calls: list[str] = []

    async def hang(_self: Any, *_args: Any) -> Any:
        calls.append(method)
        await let_go.wait()

    async def hang_deaf(_self: Any, *_args: Any) -> Any:
        calls.append(method)
        while not let_go.is_set():
            try:
                await let_go.wait()
            except asyncio.CancelledError:
                continue

    def hang_plain(_self: Any, *_args: Any) -> Any:
        calls.append(method)
        begun.set()
        let_thread_go.wait(20)

    hanging = {"async": hang, "deaf": hang_deaf, "plain": hang_plain}[way]
    handler: puck.Handler = type("Hanging", (puck.Handler,), {method: hanging})()
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source, handler=handler)
        audience = stage.Audience(node, stream)
        await audience.gather()
        feed(*"abcde")
        feed.end()
        assert (await audience.verdict()).response.content == "abcde"
        if way == "plain":
            assert await asyncio.to_thread(begun.wait, 10)
        await clock.elapse(29.0)
        assert "given up" not in caplog.text
        await clock.elapse(1.0)
        await stage.settle()
        assert caplog.text.count("is given up") == 1
        assert stage.zombies(node) == (0 if way == "async" else 1)
        let_go.set()
        let_thread_go.set()
        await clock.elapse(100.0)
        assert calls == [method]


async def test_11_a_slow_handler_does_not_slow_the_stream_and_loses_no_text(
    stage: AnyStage, clock: Clock
) -> None:
    go_on, over = asyncio.Event(), asyncio.Event()

    class Slow(puck.Handler):
        timeout = None
        text = ""
        calls = 0

        async def on_chunk(self, chunk: Any, state: Any) -> None:
            await go_on.wait()
            self.calls += 1
            self.text += chunk.content

        async def on_done(self, event: Any, state: Any) -> None:
            over.set()

    slow = Slow()
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source, handler=slow)
        feed(*("x" for _ in range(5000)))
        feed.end()
        assert (await stream.result()).content == "x" * 5000
        (ref,) = handlers(node)
        await stage.settle()
        assert ref.mailbox_length <= BACKLOG  # what waits is joined; its memory is bounded
        go_on.set()
        await over.wait()
    assert slow.text == "x" * 5000
    assert slow.calls <= BACKLOG + 2


async def test_11_a_handler_that_is_killed_takes_nothing_with_it(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source, handler=Notes())
        audience = stage.Audience(node, stream)
        await audience.gather()
        feed("a")
        await stage.settle()
        (ref,) = handlers(node)
        ref.kill()
        feed("b")
        feed.end()
        assert (await audience.verdict()).response.content == "ab"


async def test_11_a_handler_may_start_streams_whose_events_are_not_its_business(
    stage: AnyStage, clock: Clock
) -> None:
    class Starting(Notes):
        async def on_start(self, stream_id: str, info: Any) -> str:
            await node.start_stream(other)
            return await super().on_start(stream_id, info)

    async def other(emit: Any) -> None:
        emit("of the other")

    notes = Starting()
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source, handler=notes)
        await stage.settle()
        feed("a")
        feed.end()
        await notes.over.wait()
    assert notes.notes == [("start", stream.id, 1), ("done", "a", "a")]


async def test_what_is_no_handler_is_refused_by_name(stage: AnyStage, clock: Clock) -> None:
    wrong: Any
    async with puck.Node(clock=clock) as node:
        for wrong in (Notes, print, 5, {"on_chunk": print}):
            with pytest.raises(puck.InvalidOption, match="handler="):
                node.start_stream(stage.Feed().source, handler=wrong)
        for wrong in ("30s", -1, True):
            hasty = puck.Handler()
            hasty.timeout = wrong
            with pytest.raises(puck.InvalidOption, match=r"handler\.timeout="):
                node.start_stream(stage.Feed().source, handler=hasty)
