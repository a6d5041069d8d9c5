"""Guarantees 4 and 10 of docs/guarantees.md: cancel from anywhere, and starts of a running id.

4. Cancel is idempotent, says what it found, goes ahead of queued chunks, and is final.
10. An id that is running is refused, joined or replaced.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]


class Canceller(puck.Actor):
    """Cancels what it is told to."""

    async def on_receive(self, message: Any) -> Any:
        return await self.node.cancel(message)


class CancellerThread(puck.ThreadActor):
    """Does the same from a thread of its own."""

    def on_receive(self, message: Any) -> Any:
        return self.node.cancel(message).get()


# ----------------------------------------------------------------------------- 4: outcomes


async def test_4_cancel_says_what_it_found(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        running, done, failed, killed = (stage.Feed() for _ in range(4))
        for stream_id, feed in (("r", running), ("d", done), ("f", failed), ("k", killed)):
            await node.start_stream(feed.source, stream_id=stream_id)
        done.end()
        failed(ValueError("odd"))
        stage.owner(node, await node.stream("k")).kill()
        for stream_id in "dfk":
            await (await node.stream(stream_id)).wait()
        assert await node.cancel("r") == "cancelled"
        assert await node.cancel("r") == "already_cancelled"
        assert await node.cancel("d") == "already_done"
        assert await node.cancel("f") == "already_done"
        assert await node.cancel("k") == "already_done"
        assert await node.cancel("never seen") == "not_found"
        await clock.elapse(1000.0)
        assert await node.cancel("d") == "already_done"  # expired by now


async def test_4_cancel_works_from_the_loop_an_actor_a_thread_and_a_thread_actor(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        actor = await node.spawn(Canceller)
        thread_actor = await node.spawn(CancellerThread)

        def from_a_thread(stream_id: str) -> Any:
            return node.cancel(stream_id).get(timeout=10)

        ways: dict[str, Any] = {
            "loop": node.cancel,
            "actor": actor.call,
            "thread": lambda stream_id: asyncio.to_thread(from_a_thread, stream_id),
            "thread actor": thread_actor.call,
        }
        for way, cancel in ways.items():
            feed = stage.Feed()
            stream = await node.start_stream(feed.source, stream_id=way)
            audience = stage.Audience(node, stream)
            await audience.gather()
            feed("a")
            await stage.until(stage.reached(stream, 2))
            assert await cancel(way) == "cancelled"
            end = await audience.verdict()
            assert (end.reason, end.content) == ("user", "a")
            assert end.by is {"actor": actor, "thread actor": thread_actor}.get(way)


async def test_4_a_stream_can_cancel_itself(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:

        async def source(emit: Any) -> None:
            emit("a")
            await node.cancel("self", wait=True)
            emit("b")

        stream = await node.start_stream(source, stream_id="self")
        audience = stage.Audience(node, stream)
        await audience.gather()
        end = await audience.verdict()
        assert (end.kind, end.content) == ("cancelled", "")  # ahead of the chunk in the queue
        assert await node.cancel("self", wait=True) == "already_cancelled"


async def test_4_concurrent_cancels_from_everywhere_give_exactly_one_cancelled(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        actors = [await node.spawn(Canceller) for _ in range(5)]
        barrier = threading.Barrier(5)

        def from_a_thread() -> Any:
            barrier.wait(10)
            return node.cancel("s").get(timeout=10)

        feed = stage.Feed()
        stream = await node.start_stream(feed.source, stream_id="s")
        audience = stage.Audience(node, stream)
        await audience.gather()
        said = await asyncio.gather(
            *(asyncio.to_thread(from_a_thread) for _ in range(5)),
            *(actor.call("s") for actor in actors),
            *(node.cancel("s", wait=wait) for wait in (True, False)),
        )
        await audience.verdict()
        assert sorted(said) == ["already_cancelled"] * 11 + ["cancelled"]


# ------------------------------------------------------------------------------ 4: it is final


async def test_4_cancel_goes_ahead_of_a_thousand_queued_chunks(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        audience = stage.Audience(node, stream)
        await audience.gather()
        owner = stage.owner(node, stream)
        for _ in range(1000):
            owner.tell(puck.Chunk("content", "x"))
        assert await stream.cancel() == "cancelled"
        end = await audience.verdict()
        assert end.seq == 2
        assert end.content == ""


async def test_4_nothing_follows_a_cancel_that_has_been_answered(
    stage: AnyStage, clock: Clock
) -> None:
    async def torrent(emit: Any) -> None:
        while True:
            emit("x")
            await asyncio.sleep(0)

    for pause in range(12):
        async with puck.Node(clock=clock) as node:
            stream = await node.start_stream(torrent)
            audience = stage.Audience(node, stream)
            await audience.gather()
            await stage.turns(pause)
            assert await stream.cancel(wait=True) == "cancelled"
            seq = stage.log(stream).last_seq
            end = await audience.verdict()
            assert end.seq == seq
            assert end.content == "x" * (seq - 2)


async def test_4_wait_returns_when_the_source_has_closed_what_it_had_open(
    stage: AnyStage, clock: Clock
) -> None:
    let_go, closed = asyncio.Event(), asyncio.Event()

    async def source(emit: Any) -> None:
        emit("a")
        try:
            await asyncio.Event().wait()
        finally:
            await let_go.wait()
            closed.set()

    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(source)
        await stage.until(stage.reached(stream, 2))
        waiting = stream.cancel(wait=True)
        again = stream.cancel(wait=True)
        assert await stream.cancel() == "already_cancelled"
        await stage.settle()
        assert not waiting.done
        assert not again.done
        let_go.set()
        assert await waiting == "cancelled"
        assert closed.is_set()
        assert await again == "already_cancelled"


async def test_4_a_blocking_function_stops_at_its_next_emit(stage: AnyStage, clock: Clock) -> None:
    began, go_on = threading.Event(), threading.Event()
    emitted: list[str] = []

    def blocking(emit: Any) -> None:
        emit("a")
        began.set()
        go_on.wait(10)
        for letter in "bcd":
            try:
                emit(letter)
            except Exception:  # noqa: BLE001  # a function may swallow what is an Exception
                emitted.append("swallowed")
            emitted.append(letter)

    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(blocking)
        audience = stage.Audience(node, stream)
        await audience.gather()
        await asyncio.to_thread(began.wait, 10)
        await stage.until(stage.reached(stream, 2))
        waiting = stream.cancel(wait=True)
        end = await audience.verdict()
        assert (end.kind, end.content) == ("cancelled", "a")
        assert not waiting.done
        go_on.set()
        assert await waiting == "cancelled"
        assert not emitted


async def test_4_blocking_functions_do_not_wait_for_each_other_and_are_cancelled_alike(
    stage: AnyStage, clock: Clock
) -> None:
    go_on, everybody = threading.Event(), threading.Barrier(41)

    def blocking(emit: Any) -> None:
        everybody.wait(10)
        go_on.wait(10)
        emit("too late")

    async with puck.Node(clock=clock) as node:
        streams = [await node.start_stream(blocking) for _ in range(40)]
        await asyncio.to_thread(everybody.wait, 10)
        for stream in streams:
            assert await stream.cancel() == "cancelled"
        go_on.set()
        for stream in streams:
            assert await stream.cancel(wait=True) == "already_cancelled"
    assert stage.nothing_left(node)


# ------------------------------------------------------------------- 4: before there is a stream


async def test_4_a_cancel_that_comes_before_the_start_of_its_id_cancels_that_start(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        assert await node.cancel("s") == "not_found"
        stream = await node.start_stream(feed.source, stream_id="s")
        audience = stage.Audience(node, stream)
        await audience.gather()
        end = await audience.verdict()
        assert (end.kind, end.reason, end.seq) == ("cancelled", "user", 1)
        assert feed.runs == 0
        # It is the one start that was meant.
        await node.start_stream(feed.source, stream_id="s")
        await stage.until(feed.started)


async def test_4_such_a_cancel_is_forgotten_after_two_minutes(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        await node.cancel("s")
        await clock.elapse(121.0)
        await node.start_stream(feed.source, stream_id="s")
        await stage.until(feed.started)


@pytest.mark.parametrize("wait", [False, True])
async def test_4_a_stream_whose_supervisor_is_down_can_be_cancelled_before_it_has_an_actor(
    stage: AnyStage, clock: Clock, wait: bool
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stage.kill(node, "streams")
        starting = node.start_stream(feed.source, stream_id="s")
        stream = puck.Stream(node._desk, node._shelf.get("s", 0.0))
        audience = stage.Audience(node, stream)
        audience.reader()
        audience.actor_soon()
        assert await node.cancel("s", wait=wait) == "cancelled"
        await starting
        end = await audience.verdict()
        assert end.reason == "user"
        assert feed.runs == 0


@pytest.mark.parametrize("wait", [False, True])
async def test_4_a_cancel_that_meets_a_killed_actor_waits_for_its_last_word(
    stage: AnyStage, clock: Clock, wait: bool
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        stage.kill(node, "streams")
        stage.owner(node, stream).kill()
        assert not stream.ended
        assert await stream.cancel(wait=wait) == "already_done"
        assert (await stream.wait()).kind == "error"


@pytest.mark.parametrize("stream_id", [5, None, ["s"], b"s"])
async def test_4_what_can_be_no_id_is_refused_by_name(clock: Clock, stream_id: Any) -> None:
    async with puck.Node(clock=clock) as node:
        for operation in (node.cancel, node.snapshot, node.subscribe, node.stream):
            with pytest.raises(puck.InvalidOption, match="stream_id="):
                operation(stream_id)


# ------------------------------------------------------------------ 10: starts of a running id


async def test_10_a_running_id_is_refused_and_nothing_is_disturbed(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        first, second = stage.Feed(), stage.Feed()
        stream = await node.start_stream(first.source, stream_id="s")
        audience = stage.Audience(node, stream)
        await audience.gather()
        first("a")
        with pytest.raises(puck.StreamRunning, match="'s'"):
            await node.start_stream(second.source, stream_id="s")
        first("b")
        first.end()
        end = await audience.verdict()
        assert end.response.content == "ab"
        assert second.runs == 0


async def test_10_join_returns_the_stream_that_runs(stage: AnyStage, clock: Clock) -> None:
    class Joiner(puck.Actor):
        def __init__(self, seen: list[Any]) -> None:
            super().__init__()
            self._seen = seen

        def on_receive(self, message: Any) -> Any:
            match message:
                case ("join", source):
                    return self.node.start_stream(source, stream_id="s", if_running="join")
                case ("puck_stream", "s", event):
                    self._seen.append(event.seq)
                case _:
                    pass
            return None

    async with puck.Node(clock=clock) as node:
        first, second = stage.Feed(), stage.Feed()
        stream = await node.start_stream(first.source, stream_id="s")
        first("a")
        await stage.settle()
        seen: list[int] = []
        joiner = await node.spawn(Joiner, seen)
        joined = await (await joiner.call(("join", second.source)))
        first.end()
        assert await joined.wait() is await stream.wait()
        await stage.until(lambda: seen == [1, 2, 3])
        assert second.runs == 0


async def test_10_replace_cancels_the_one_that_runs_and_starts_anew(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        first, second = stage.Feed(), stage.Feed()
        stream = await node.start_stream(first.source, stream_id="s")
        audience = stage.Audience(node, stream)
        await audience.gather()
        first("a")
        await stage.until(stage.reached(stream, 2))
        replacing = await node.start_stream(second.source, stream_id="s", if_running="replace")
        others = stage.Audience(node, replacing)
        await others.gather()
        second("b")
        second.end()
        end = await audience.verdict()
        assert (end.reason, end.content) == ("replaced", "a")
        assert (await others.verdict()).response.content == "b"
        assert (await node.snapshot("s")).content == "b"
        await stage.until(first.stopped)


async def test_10_who_replaces_a_stream_it_follows_gets_the_old_end_and_then_the_new_stream(
    stage: AnyStage, clock: Clock
) -> None:
    class Regenerator(puck.Actor):
        def __init__(self, seen: list[Any]) -> None:
            super().__init__()
            self._seen = seen

        async def on_receive(self, message: Any) -> Any:
            match message:
                case ("puck_stream", "s", event):
                    self._seen.append((event.kind, event.seq))
                case source:
                    await self.node.start_stream(source, stream_id="s", if_running="replace")

    async with puck.Node(clock=clock) as node:
        first, second = stage.Feed(), stage.Feed()
        seen: list[Any] = []
        actor = await node.spawn(Regenerator, seen)
        await actor.call(first.source)
        first("a")
        await stage.until(lambda: len(seen) == 2)
        await actor.call(second.source)
        second("b")
        second.end()
        await stage.until(lambda: len(seen) == 6)
        assert seen == [
            ("started", 1),
            ("content", 2),
            ("cancelled", 3),
            ("started", 1),
            ("content", 2),
            ("done", 3),
        ]


async def test_10_many_that_replace_at_once_leave_one_running(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feeds = [stage.Feed() for _ in range(10)]
        streams = await asyncio.gather(
            *(node.start_stream(feed.source, stream_id="s", if_running="replace") for feed in feeds)
        )
        await stage.settle()
        assert sum(not stream.ended for stream in streams) == 1
        assert sum(feed.running for feed in feeds) == 1
        for stream in streams:
            if stream.ended:
                assert (await stage.ended(stream)).reason == "replaced"


async def test_10_replace_while_the_running_one_is_dead_and_its_supervisor_too(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        first, second = stage.Feed(), stage.Feed()
        stream = await node.start_stream(first.source, stream_id="s")
        stage.kill(node, "streams")
        stage.owner(node, stream).kill()
        await node.start_stream(second.source, stream_id="s", if_running="replace")
        assert (await stage.ended(stream)).reason.kind == "killed"
        second.end()
        assert (await (await node.stream("s")).result()).content == ""


async def test_10_an_ended_id_is_free_again(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        generations: list[int] = []
        for _ in range(3):
            feed = stage.Feed()
            stream = await node.start_stream(feed.source, stream_id="s")
            feed.end()
            await stream.wait()
            generations.append((await node.snapshot("s")).generation)
        assert generations == sorted(set(generations))


async def test_10_if_running_has_three_values(clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        with pytest.raises(puck.InvalidOption, match="if_running='maybe'"):
            node.start_stream(lambda emit: None, if_running="maybe")  # type: ignore[arg-type]
