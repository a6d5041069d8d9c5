"""Guarantees 1 and 2 at every step of a stream's life, one fault at a time and two.

The steps are those of a model that waits at a gate: before the response's head, before the first
chunk, behind each chunk, and before the connection is closed. Nothing depends on how many turns
of the loop anything takes: every step is reached, the fault injected, and then the gate opened.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

import puckstream as puck
from tests.streams.upstream import HEAD, WAIT, Upstream, busy

if TYPE_CHECKING:
    from puckstream.testing.clock import VirtualClock as Clock
    from tests.streams.conftest import Stage

    AnyStage = type[Stage]


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Injected faults fill pages with tracebacks."""
    caplog.set_level(logging.CRITICAL + 1)


ANSWER = (WAIT, HEAD, WAIT, "a", WAIT, "b", WAIT, "c", WAIT)
STEPS = {
    "before the start": -1,
    "before the head": 0,
    "before the first chunk": 1,
    "behind the first chunk": 2,
    "mid-stream": 3,
    "behind the last chunk": 4,
    "at the end": 5,
}

Injection = Callable[["AnyStage", puck.Node, puck.Stream], object]


def cancel_worker(stage: AnyStage, node: puck.Node, stream: puck.Stream) -> None:
    extra = stage.owner(node, stream)._extra
    if extra is not None and extra.tasks:
        extra.tasks["worker"].cancel()


def crash_stream(stage: AnyStage, node: puck.Node, stream: puck.Stream) -> None:
    owner = stage.owner(node, stream)
    if owner._actor is not None:
        actor: Any = owner._actor
        actor.on_receive = poisoned
        owner._deliver("anything")


def poisoned(_message: Any) -> None:
    raise RuntimeError("injected")


def infrastructure(way: str, *names: str) -> Injection:
    return lambda stage, node, _stream: (stage.kill if way == "kill" else stage.crash)(node, *names)


OF_THE_STREAM: dict[str, Injection] = {
    "the stream's actor is killed": lambda s, node, stream: s.owner(node, stream).kill(),
    "the stream's actor crashes": crash_stream,
    "the stream's actor is told to exit": lambda s, node, stream: s.owner(node, stream).exit("odd"),
    "the stream's actor is stopped": lambda s, n, stream: s.owner(n, stream).stop(block=False),
    "the worker is cancelled": cancel_worker,
}
OF_THE_NODE: dict[str, Injection] = {
    f"{'+'.join(names)} {way}ed": infrastructure(way, *names)
    for names in (("registry",), ("pubsub",), ("streams",), ("registry", "pubsub", "streams"))
    for way in ("kill", "crash")
}


async def reach(stage: AnyStage, node: puck.Node, upstream: Upstream, step: int) -> Any:
    """Start a stream, seat an audience, and bring it to ``step``; returns the audience."""
    stream = await node.start_stream(puck.Client(upstream), "hello", handler=puck.Handler())
    audience = stage.Audience(node, stream)
    await audience.gather()
    await stage.settle()
    upstream.gate.release(step)
    await stage.settle()
    return audience


async def go_on(stage: AnyStage, clock: Clock, audience: Any, upstream: Upstream) -> Any:
    audience.actor_soon()
    audience.reader()
    upstream.gate.open()
    await clock.elapse(20.0)
    end = await audience.verdict()
    assert not upstream.open_now
    assert upstream.calls == 1
    return end


@pytest.mark.parametrize("step", [step for step in STEPS if STEPS[step] >= 0])
@pytest.mark.parametrize("fault", OF_THE_STREAM)
async def test_1_a_stream_that_goes_down_at_any_step_has_one_end(
    stage: AnyStage, clock: Clock, fault: str, step: str
) -> None:
    upstream = Upstream(ANSWER)
    async with puck.Node(clock=clock) as node:
        audience = await reach(stage, node, upstream, STEPS[step])
        OF_THE_STREAM[fault](stage, node, audience._stream)
        end = await go_on(stage, clock, audience, upstream)
    if step == "at the end":
        assert (end.kind, end.response.content) == ("done", "abc")
    elif "stopped" in fault:
        assert (end.kind, end.reason) == ("cancelled", "shutdown")
    else:
        expected = "killed" if "killed" in fault else "crashed"
        assert (end.kind, end.reason.kind) == ("error", expected)
        assert end.content == "abc"[: max(0, STEPS[step] - 1)]
    assert stage.nothing_left(node)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("fault", OF_THE_NODE)
async def test_1_infrastructure_that_goes_down_at_any_step_costs_nothing(
    stage: AnyStage, clock: Clock, fault: str, step: str
) -> None:
    upstream = Upstream(ANSWER)
    async with puck.Node(clock=clock) as node:
        nowhere: Any = None
        if step == "before the start":
            OF_THE_NODE[fault](stage, node, nowhere)
        audience = await reach(stage, node, upstream, max(0, STEPS[step]))
        if step != "before the start":
            OF_THE_NODE[fault](stage, node, nowhere)
        end = await go_on(stage, clock, audience, upstream)
    assert (end.kind, end.response.content) == ("done", "abc")
    assert stage.nothing_left(node)


@pytest.mark.parametrize("step", [step for step in STEPS if STEPS[step] >= 0])
@pytest.mark.parametrize("first", OF_THE_NODE)
async def test_1_a_stream_that_goes_down_with_the_infrastructure_has_one_end(
    stage: AnyStage, clock: Clock, first: str, step: str
) -> None:
    for fault in OF_THE_STREAM.values():
        upstream = Upstream(ANSWER)
        async with puck.Node(clock=clock) as node:
            audience = await reach(stage, node, upstream, STEPS[step])
            OF_THE_NODE[first](stage, node, audience._stream)
            fault(stage, node, audience._stream)
            end = await go_on(stage, clock, audience, upstream)
        assert end.kind == ("done" if step == "at the end" else end.kind)
        assert stage.nothing_left(node)
        clock.advance(60.0)


@pytest.mark.parametrize("fault", [*OF_THE_NODE, *OF_THE_STREAM])
async def test_1_whatever_goes_down_between_two_attempts_there_is_one_end(
    stage: AnyStage, clock: Clock, fault: str
) -> None:
    upstream = Upstream((busy(),), ("well",))
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(puck.Client(upstream), "hello", retry=2)
        audience = stage.Audience(node, stream)
        await audience.gather()
        await stage.settle()
        (OF_THE_NODE | OF_THE_STREAM)[fault](stage, node, stream)
        await clock.elapse(20.0)
        end = await audience.verdict()
    # Between attempts there is no worker to lose.
    goes_on = fault in OF_THE_NODE or "worker" in fault
    assert end.kind == ("done" if goes_on else "cancelled" if "stopped" in fault else "error")
    assert upstream.calls == (2 if goes_on else 1)


@pytest.mark.parametrize("fault", [*OF_THE_NODE, *OF_THE_STREAM])
async def test_1_whatever_goes_down_while_a_stream_is_queued_there_is_one_end(
    stage: AnyStage, clock: Clock, fault: str
) -> None:
    upstream = Upstream((WAIT, "well"))
    client = puck.Client(upstream, limits=puck.Limits(1, queue=1))
    async with puck.Node(clock=clock) as node:
        await node.start_stream(client, "hello")
        stream = await node.start_stream(client, "hello")
        audience = stage.Audience(node, stream)
        await audience.gather()
        (OF_THE_NODE | OF_THE_STREAM)[fault](stage, node, stream)
        await clock.elapse(20.0)
        upstream.gate.open()
        end = await audience.verdict()
    goes_on = fault in OF_THE_NODE or "worker" in fault
    assert end.kind == ("done" if goes_on else "cancelled" if "stopped" in fault else "error")


# ----------------------------------------------------------- 7: the clocks, and what will not end


@pytest.mark.parametrize("reason", ["timeout_first", "timeout_idle", "timeout_total"])
@pytest.mark.parametrize("way", ["deaf while it waits", "hangs as it closes", "deaf as it closes"])
async def test_7_a_clock_that_runs_out_ends_a_stream_whose_backend_will_not_end(
    stage: AnyStage, clock: Clock, way: str, reason: str
) -> None:
    closing = None if "waits" in way else asyncio.Event()
    answer = (WAIT,) if reason == "timeout_first" else (HEAD, "a", WAIT)
    upstream = Upstream(answer, closing=closing, deaf="deaf" in way)
    timeout = {
        "timeout_first": puck.Timeout(first=5.0),
        "timeout_idle": puck.Timeout(idle=5.0),
        "timeout_total": puck.Timeout(total=5.0),
    }[reason]
    async with puck.Node(clock=clock) as node:
        stream = await node.start_stream(puck.Client(upstream), "hello", timeout=timeout)
        audience = stage.Audience(node, stream)
        await audience.gather()
        await clock.elapse(4.875)
        assert not stream.ended
        await clock.elapse(0.125)
        end = await audience.verdict()
        assert (end.kind, end.reason) == ("cancelled", reason)
        assert end.content == ("" if reason == "timeout_first" else "a")
        # Who waits for the connection waits ten seconds at most: five, and five more.
        closed = stream.cancel(wait=True)
        await clock.elapse(10.0)
        assert await closed == "already_cancelled"
        assert upstream.open_now == (1 if "deaf" in way else 0)
        assert stage.zombies(node) == (1 if "deaf" in way else 0)
        upstream.gate.open()
        if closing is not None:
            closing.set()
        await stage.until(lambda: not stage.zombies(node))
