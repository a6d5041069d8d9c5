"""Guarantees 1, 2 and 6 of docs/guarantees.md, each with the fault injected.

1. Every stream has one terminal event, and every subscriber sees it: once, and last.
2. Events arrive in the order of their seq, without gap or duplicate.
6. A stream that failed is never started again.

`Audience.verdict` checks the first two for every follower; most tests differ only in the fault.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]

INFRASTRUCTURE = ("registry", "pubsub", "streams")
CASTS = [names for count in (1, 2, 3) for names in itertools.combinations(INFRASTRUCTURE, count)]
WAYS = ("kill", "crash")


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Injected faults fill pages with tracebacks."""
    caplog.set_level(logging.CRITICAL + 1)


def fault(stage: AnyStage, way: str) -> Callable[..., None]:
    return stage.kill if way == "kill" else stage.crash


# ------------------------------------------------------------- 1: the infrastructure goes down


@pytest.mark.parametrize("names", CASTS, ids="+".join)
@pytest.mark.parametrize("way", WAYS)
async def test_1_infrastructure_lost_before_the_start_costs_nothing(
    stage: AnyStage, clock: Clock, way: str, names: tuple[str, ...]
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        fault(stage, way)(node, *names)
        starting = node.start_stream(feed.source)
        stream = await starting
        audience = stage.Audience(node, stream)
        await audience.gather()
        feed("a", "b")
        feed.end()
        end = await audience.verdict()
        assert end.response.content == "ab"
        assert feed.runs == 1


@pytest.mark.parametrize("names", CASTS, ids="+".join)
@pytest.mark.parametrize("way", WAYS)
async def test_1_infrastructure_lost_right_after_the_start_costs_nothing(
    stage: AnyStage, clock: Clock, way: str, names: tuple[str, ...]
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        audience = stage.Audience(node, stream)
        audience.actor_soon()
        audience.reader()
        fault(stage, way)(node, *names)
        late = audience.actor_soon()
        await stage.settle()
        feed("a", "b")
        feed.end()
        end = await audience.verdict()
        assert end.response.content == "ab"
        assert late.seen[0].kind == "started"


@pytest.mark.parametrize("names", CASTS, ids="+".join)
@pytest.mark.parametrize("way", WAYS)
async def test_1_infrastructure_lost_mid_stream_costs_nothing(
    stage: AnyStage, clock: Clock, way: str, names: tuple[str, ...]
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        audience = stage.Audience(node, stream)
        await audience.gather()
        feed("a", "b")
        await stage.until(lambda: len(audience.seats[0].seen) > 1)
        fault(stage, way)(node, *names)
        feed("c")
        await stage.turns(3)
        await audience.actor(after=1)
        feed("d")
        feed.end()
        end = await audience.verdict()
        assert end.response.content == "abcd"
        assert feed.runs == 1


@pytest.mark.parametrize("names", CASTS, ids="+".join)
@pytest.mark.parametrize("way", WAYS)
async def test_1_infrastructure_lost_between_the_last_chunk_and_the_end_costs_nothing(
    stage: AnyStage, clock: Clock, way: str, names: tuple[str, ...]
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        audience = stage.Audience(node, stream)
        await audience.gather()
        feed("a", "b")
        snapshot = await stream.snapshot()
        while snapshot.seq < 3:
            await stage.turns(1)
            snapshot = await stream.snapshot()
        fault(stage, way)(node, *names)
        feed.end()
        await audience.verdict()


@pytest.mark.parametrize("names", CASTS, ids="+".join)
@pytest.mark.parametrize("way", WAYS)
async def test_1_infrastructure_lost_after_the_end_and_before_its_delivery_costs_nothing(
    stage: AnyStage, clock: Clock, way: str, names: tuple[str, ...]
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        audience = stage.Audience(node, stream)
        await audience.gather()
        # Inside the append of the terminal event: nobody has been told of it yet.
        stage.log(stream).on_end(lambda _event: fault(stage, way)(node, *names))
        feed("a")
        feed.end()
        await audience.verdict()
        late = await audience.actor()
        assert [event.seq for event in late.seen] == [1, 2, 3]


@pytest.mark.parametrize("names", CASTS, ids="+".join)
@pytest.mark.parametrize("way", WAYS)
async def test_1_infrastructure_lost_at_every_single_event_costs_nothing(
    stage: AnyStage, clock: Clock, way: str, names: tuple[str, ...]
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        audience = stage.Audience(node, stream)
        await audience.gather()

        def strike(_event: Any) -> None:
            clock.advance(60.0)  # so that no supervisor finds it too often
            fault(stage, way)(node, *names)

        stage.log(stream).on_append(strike)
        for letter in "abcdefgh":
            feed(letter)
            await stage.turns(3)
            audience.actor_soon()
        feed.end()
        end = await audience.verdict()
        assert end.response.content == "abcdefgh"


async def test_1_two_lost_one_after_the_other_while_the_first_is_restarted_cost_nothing(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        for first, second in itertools.permutations(INFRASTRUCTURE, 2):
            clock.advance(60.0)
            feed = stage.Feed()
            stream = await node.start_stream(feed.source)
            audience = stage.Audience(node, stream)
            await audience.gather()
            stage.kill(node, first)
            await asyncio.sleep(0)
            stage.kill(node, second)
            feed("a")
            await asyncio.sleep(0)
            feed.end()
            await audience.verdict()


# --------------------------------------------------------------- 1: the stream actor goes down


@pytest.mark.parametrize("names", [(), *CASTS], ids=lambda names: "+".join(names) or "alone")
async def test_1_a_killed_stream_actor_is_reported_and_its_worker_gone(
    stage: AnyStage, clock: Clock, names: tuple[str, ...]
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        audience = stage.Audience(node, stream)
        await audience.gather()
        feed("a")
        await stage.until(lambda: len(audience.seats[0].seen) == 2)
        stage.owner(node, stream).kill()
        stage.kill(node, *names)
        end = await audience.verdict()
        assert (end.kind, end.reason.kind, end.content) == ("error", "killed", "a")
        await stage.until(feed.stopped)
        assert feed.runs == 1  # guarantee 6
    assert stage.nothing_left(node)


@pytest.mark.parametrize("names", CASTS, ids="+".join)
async def test_1_a_stream_actor_killed_while_its_supervisor_is_down_is_reported_by_the_next(
    stage: AnyStage, clock: Clock, names: tuple[str, ...]
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        audience = stage.Audience(node, stream)
        await audience.gather()
        stage.kill(node, *names)
        stage.owner(node, stream).kill()
        assert not stream.ended or "streams" not in names
        end = await audience.verdict()
        assert end.reason.kind == "killed"


async def test_1_a_stream_actor_killed_with_chunks_in_its_mailbox_is_reported(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        audience = stage.Audience(node, stream)
        await audience.gather()
        owner = stage.owner(node, stream)
        for _ in range(100):
            owner.tell(puck.Chunk("content", "x"))
        owner.kill()
        end = await audience.verdict()
        assert end.reason.kind == "killed"


async def test_1_a_stream_actor_whose_handler_raises_anything_is_reported(
    stage: AnyStage, clock: Clock
) -> None:
    for error in (ValueError("odd"), SystemExit(3), asyncio.CancelledError(), GeneratorExit()):
        async with puck.Node(clock=clock) as node:
            feed = stage.Feed()
            stream = await node.start_stream(feed.source)
            audience = stage.Audience(node, stream)
            await audience.gather()
            owner = stage.owner(node, stream)

            def poisoned(_message: Any, error: BaseException = error) -> None:
                raise error

            actor: Any = owner._actor
            actor.on_receive = poisoned
            feed("a")
            end = await audience.verdict()
            assert (end.kind, end.reason.kind) == ("error", "crashed")
            await stage.until(feed.stopped)
        assert stage.nothing_left(node)


async def test_1_a_stream_whose_actor_cannot_start_has_its_end_all_the_same(
    stage: AnyStage, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with puck.Node(clock=clock) as node:

        def broken(_self: object) -> None:
            raise RuntimeError("no start")

        monkeypatch.setattr("puckstream.streams.stream.StreamActor._start_clocks", broken)
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        audience = stage.Audience(node, stream)
        await audience.gather()
        end = await audience.verdict()
        assert end.reason.kind == "crashed"
        assert "no start" in str(end.reason)
        assert feed.runs == 0


# ------------------------------------------------------------------------------ 6: billed once


@pytest.mark.parametrize("way", ["raise", "kill", "exit", "lose the supervisor"])
async def test_6_a_stream_that_failed_is_never_started_again(
    stage: AnyStage, clock: Clock, way: str
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        stream = await node.start_stream(feed.source)
        await stage.until(feed.started)
        if way == "raise":
            feed(ValueError("odd"))
        elif way == "kill":
            stage.owner(node, stream).kill()
        elif way == "exit":
            stage.owner(node, stream).exit("for a reason")
        else:
            for _ in range(3):
                stage.kill(node, "streams")
                clock.advance(60.0)
                await stage.settle()
            feed.end()
        await stream.wait()
        await clock.elapse(1000.0)
        assert feed.runs == 1
        assert not node.streaming(stream.id)


async def test_6_a_start_that_waits_for_its_supervisor_is_carried_out_once(
    stage: AnyStage, clock: Clock
) -> None:
    async with puck.Node(clock=clock) as node:
        feed = stage.Feed()
        for _ in range(3):
            stage.kill(node, "streams", "registry")
            clock.advance(60.0)
        starting = node.start_stream(feed.source)
        stage.kill(node, "streams")
        stream = await starting
        await stage.until(feed.started)
        feed.end()
        await stream.result()
        assert feed.runs == 1
