"""What the desk keeps (guarantee 9), and what it refuses by name."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]


async def quiet(emit: Any) -> None:
    emit("a")


# ----------------------------------------------------------------------------- 9: retention


async def test_9_an_ended_stream_stays_readable_for_its_retention_and_is_then_expired(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(quiet, stream_id="s")
        await stream.wait()
        await clock.elapse(299.875)
        assert (await node.snapshot("s")).status == "done"
        late = await node.stream("s")
        assert (await late.result()).content == "a"
        assert [event.seq for event in await stage.events(late)] == [1, 2, 3]
        audience = stage.Audience(node, late)
        await audience.actor()
        await audience.verdict()
        await clock.elapse(0.125)
        for operation in (node.snapshot, node.stream):
            with pytest.raises(puck.StreamExpired, match="'s'"):
                await operation("s")
        viewer = audience.seats[0].ref
        with pytest.raises(puck.StreamExpired):
            await node.subscribe("s", subscriber=viewer)
        # Who holds a handle holds the log.
        assert (await late.result()).content == "a"


async def test_9_an_id_never_seen_is_not_found(clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        for operation in (node.snapshot, node.stream):
            with pytest.raises(puck.StreamNotFound, match="'s'"):
                await operation("s")
        assert not node.streaming("s")


async def test_9_a_running_stream_never_expires(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock, retention=1.0, max_ended=0) as node:
        feed = stage.Feed()
        await node.start_stream(feed.source, stream_id="s")
        await clock.elapse(10_000.0)
        assert (await node.snapshot("s")).status == "running"
        feed.end()
        await (await node.stream("s")).wait()
        with pytest.raises(puck.StreamExpired):
            await node.snapshot("s")


async def test_9_no_more_than_max_ended_are_kept(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock, max_ended=3) as node:
        for number in range(5):
            await (await node.start_stream(quiet, stream_id=str(number))).wait()
        for number in range(2):
            with pytest.raises(puck.StreamExpired):
                await node.snapshot(str(number))
        for number in range(2, 5):
            await node.snapshot(str(number))


async def test_9_a_killed_stream_is_as_readable_as_any_other(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        feed("partial")
        await stage.until(stage.reached(stream, 2))
        stage.owner(node, stream).kill()
        await stream.wait()
        snapshot = await node.snapshot(stream.id)
        assert (snapshot.status, snapshot.content) == ("error", "partial")
        assert isinstance(snapshot.reason, puck.StreamError)


# ---------------------------------------------------------------------------------- starting


async def test_a_start_returns_before_the_source_runs(stage: AnyStage, clock: Clock) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        await node.start_stream(feed.source)
        assert feed.runs == 0


async def test_a_start_that_meets_a_failing_supervisor_has_an_end(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        supervisor = node.whereis_child("streams")
        assert supervisor is not None

        def broken(_message: Any) -> None:
            raise RuntimeError("injected")

        actor: Any = supervisor._actor
        actor.on_receive = broken
        stream = await node.start_stream(quiet)
        end = await stage.ended(stream)
        assert (end.kind, end.reason.kind) == ("error", "crashed")
        assert "injected" in str(end.reason)


async def test_an_actor_that_starts_a_stream_follows_it_unless_it_says_otherwise(
    stage: AnyStage, clock: Clock
) -> None:
    class Starter(puck.Actor):
        def __init__(self, subscribe: bool, seen: list[Any]) -> None:
            super().__init__()
            self._subscribe, self._seen = subscribe, seen

        async def on_start(self) -> None:
            await self.node.start_stream(quiet, subscribe=self._subscribe)

        def on_receive(self, message: Any) -> None:
            self._seen.append(message[2].kind)

    async with puck.Node(clock=clock) as node:
        for subscribe in (True, False):
            seen: list[Any] = []
            await node.spawn(Starter, subscribe, seen)
            await stage.settle()
            assert seen == (["started", "content", "done"] if subscribe else [])


async def test_streams_are_started_followed_and_cancelled_from_a_thread_that_runs_no_loop(
    stage: AnyStage,
) -> None:
    def work(node: puck.Node) -> list[Any]:
        stream = node.start_stream(quiet, stream_id="s").get()
        kinds = [event.kind for event in stream.subscribe()]
        with stream.subscribe(after=1) as events:
            kinds += [event.kind for event in events]
        kinds.append(stream.result().get().content)
        kinds.append(node.snapshot("s").get().status)
        kinds.append(node.cancel("s", wait=True).get())
        return kinds

    async with puck.Node() as node:
        assert await asyncio.to_thread(work, node) == [
            *("started", "content", "done"),
            *("content", "done"),
            "a",
            "done",
            "already_done",
        ]


# ---------------------------------------------------------------------------------- bad input

WRONG = {
    "a string for a source": (("openai:gpt",), {}, "source='openai:gpt'"),
    "nothing for a source": ((None,), {}, "source=None"),
    "a class for a source": ((dict,), {}, "source=<class 'dict'>"),
    "a prompt for a function": ((quiet, "hello"), {}, "prompt="),
    "a context that is none": ((quiet, None, ["hello"]), {}, "context="),
    "an option for a function": ((quiet,), {"temperature": 1}, "temperature=1"),
    "a timeout of zero": ((quiet,), {"timeout": 0}, "timeout=0"),
    "a timeout below zero": ((quiet,), {"timeout": -1.5}, "timeout=-1.5"),
    "a timeout in words": ((quiet,), {"timeout": "30s"}, "timeout='30s'"),
    "a timeout of True": ((quiet,), {"timeout": True}, "timeout=True"),
    "an unknown if_running": ((quiet,), {"if_running": "x"}, "if_running='x'"),
    "a client without a prompt": ((puck.Client("scripted:"),), {}, "prompt=None"),
    "a client with half a prompt": ((puck.Client("scripted:"), 5), {}, "prompt=5"),
}


@pytest.mark.parametrize(("args", "options", "named"), WRONG.values(), ids=WRONG.keys())
async def test_a_start_that_cannot_work_is_refused_at_once_by_name(
    clock: Clock, args: Any, options: Any, named: str
) -> None:
    async with puck.Node(clock=clock) as node:
        with pytest.raises(puck.InvalidOption) as refused:
            node.start_stream(*args, **options)
        assert named in str(refused.value)
        assert len(node._shelf) == 0


async def test_a_subscription_that_cannot_work_is_refused_at_once_by_name(
    stage: AnyStage, clock: Clock
) -> None:
    wrong: Any
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(stage.Feed().source)
        viewer = await node.spawn(puck.Actor)
        for wrong in (-1, 1.5, "then", None, True):
            with pytest.raises(puck.InvalidOption, match="after="):
                stream.subscribe(after=wrong)
            with pytest.raises(puck.InvalidOption, match="after="):
                node.subscribe(stream.id, after=wrong, subscriber=viewer)
        for wrong in (5, "viewer", node):
            with pytest.raises(puck.InvalidOption, match="subscriber="):
                node.subscribe(stream.id, subscriber=wrong)
            with pytest.raises(puck.InvalidOption, match="subscriber="):
                node.unsubscribe(stream.id, subscriber=wrong)
        with pytest.raises(puck.NotInActor):
            node.subscribe(stream.id)
        viewer.kill()
        with pytest.raises(puck.ActorDead):
            await node.subscribe(stream.id, subscriber=viewer)
        assert await stream.cancel() == "cancelled"
