from __future__ import annotations

import asyncio
import gc
import itertools
import logging
from collections.abc import Iterator
from contextlib import aclosing
from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.signals import KILLED
from puckstream.errors import ActorDead, CallTimeout, InvalidOption, TooManyChildren
from puckstream.node import Node
from puckstream.supervision.job import callers
from puckstream.supervision.tasks import TaskSupervisor
from puckstream.testing.gate import Gate


class Host(Actor):
    """Runs the coroutine functions it is sent, as its own code, and keeps all other messages."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []
        self.kept: Any = None

    def on_receive(self, message: Any) -> Any:
        if callable(message):
            return message(self)
        self.got.append(message)
        return None


class TrappingHost(Host):
    trap_exit = True


class Crew:
    """A function for streams, whose runs end when they are told to."""

    def __init__(self) -> None:
        self.gates: dict[Any, Gate] = {}
        self.running: list[Any] = []
        self.most = 0

    def __call__(self, item: Any) -> Any:
        return self.run(item)

    async def run(self, item: Any) -> Any:
        gate = self.gates[item] = Gate()
        self.running.append(item)
        self.most = max(self.most, len(self.running))
        try:
            await gate.wait()
        finally:
            self.running.remove(item)
        return f"<{item}>"


async def same(item: Any) -> Any:
    await asyncio.sleep(0)
    if isinstance(item, Exception):
        raise item
    return item


def ties(ref: Any) -> tuple[Any, Any, Any]:
    extra = ref._extra
    return (
        (extra.links or {}, extra.watching or {}, extra.monitors or {}) if extra else ({}, {}, {})
    )


async def nothing_is_left(stage: Any, tasks: Any) -> None:
    await stage.turns()
    assert (await tasks.count_children()).specs == 0
    names = [ref.actor_class.__name__ for ref in stage.system.actors.values()]
    assert "TaskActor" not in names
    assert "_Keeper" not in names


async def test_results_keep_the_order_of_the_items(stage: Any) -> None:
    """S73: async_stream keeps input order, whichever task ends first."""
    crew = Crew()
    async with stage:
        tasks = await stage.start(TaskSupervisor)
        results = tasks.stream(crew, "abc", max_concurrency=3)
        first = asyncio.ensure_future(anext(results))
        await stage.turns()
        for item in "cb":
            crew.gates[item].open()
            await stage.turns()
        assert not first.done()
        crew.gates["a"].open()
        assert await first == "<a>"
        assert [result async for result in results] == ["<b>", "<c>"]
        await nothing_is_left(stage, tasks)


async def test_unordered_results_come_as_their_tasks_end(stage: Any) -> None:
    """S73."""
    crew = Crew()
    async with stage:
        tasks = await stage.start(TaskSupervisor)
        results = tasks.stream(crew, "abc", max_concurrency=3, ordered=False)
        for item in "cab":
            step = asyncio.ensure_future(anext(results))
            await stage.turns()
            crew.gates[item].open()
            assert await step == f"<{item}>"
        assert [result async for result in results] == []
        await nothing_is_left(stage, tasks)


@pytest.mark.parametrize("ordered", [True, False])
async def test_no_more_run_at_once_than_were_allowed(stage: Any, ordered: bool) -> None:
    """S73: bounded concurrency; ``max_children`` may be as low."""
    crew = Crew()
    async with stage:
        tasks = await stage.start(TaskSupervisor, max_children=3)
        results = tasks.stream(crew, range(20), max_concurrency=3, ordered=ordered)
        collecting = asyncio.ensure_future(_collect(results))
        while not collecting.done():
            await stage.turns()
            assert len(crew.running) <= 3
            for item in crew.running[::-1]:
                crew.gates[item].open()
        assert sorted(await collecting) == sorted(f"<{number}>" for number in range(20))
        assert crew.most == 3


async def _collect(results: Any) -> list[Any]:
    return [result async for result in results]


async def test_items_are_taken_only_while_somebody_waits(stage: Any) -> None:
    """S73: the items may be without end."""
    taken = 0

    def numbers() -> Iterator[int]:
        nonlocal taken
        for number in itertools.count():
            taken += 1
            yield number

    async with stage:
        tasks = await stage.start(TaskSupervisor)
        async with aclosing(tasks.stream(same, numbers(), max_concurrency=2)) as results:
            assert taken == 0
            assert [await anext(results) for _ in range(5)] == [0, 1, 2, 3, 4]
            await stage.turns()
            assert taken <= 7
        await nothing_is_left(stage, tasks)


async def test_a_failure_is_raised_in_its_place_and_ends_the_rest(stage: Any) -> None:
    """S73: halting early kills the rest."""
    boom = ValueError("boom")
    crew = Crew()

    async def either(item: Any) -> Any:
        return await (same(item) if isinstance(item, (int, Exception)) else crew(item))

    async with stage:
        tasks = await stage.start(TaskSupervisor)
        results = tasks.stream(either, [1, boom, "x", "y"], max_concurrency=4)
        assert await anext(results) == 1
        with pytest.raises(ValueError, match="boom") as caught:
            await anext(results)
        assert caught.value is boom
        await nothing_is_left(stage, tasks)
        assert crew.running == []
        with pytest.raises(StopAsyncIteration):
            await anext(results)


async def test_a_failure_can_be_a_result(stage: Any) -> None:
    """S73: as async_stream_nolink's exits."""
    boom = ValueError("boom")
    async with stage:
        tasks = await stage.start(TaskSupervisor)
        results = tasks.stream(same, [1, boom, 2], max_concurrency=2, on_error="yield")
        assert [result async for result in results] == [1, boom, 2]


async def test_a_task_that_somebody_else_ends_is_a_failure_too(stage: Any) -> None:
    """S73."""
    crew = Crew()
    async with stage:
        tasks = await stage.start(TaskSupervisor)
        results = tasks.stream(crew, "ab", max_concurrency=2, on_error="yield")
        first = asyncio.ensure_future(anext(results))
        await stage.turns()
        [row, _] = await tasks.which_children()
        await tasks.terminate_child(row.ref)
        assert isinstance(await first, ActorDead)
        crew.gates["b"].open()
        assert [result async for result in results] == ["<b>"]


async def test_halting_early_kills_the_rest(stage: Any, caplog: pytest.LogCaptureFixture) -> None:
    """S73: by leaving the loop, or closing the iterator; and nothing is reported."""
    crew = Crew()

    async def first_quick(item: int) -> Any:
        return await (crew(item) if item else same(item))

    async with stage:
        tasks = await stage.start(TaskSupervisor)
        async for result in tasks.stream(first_quick, range(9), max_concurrency=4):
            assert result == 0
            await stage.turns()
            assert len(crew.running) == 3
            break
        gc.collect()
        await nothing_is_left(stage, tasks)
        async with aclosing(tasks.stream(first_quick, range(9), max_concurrency=4)) as results:
            assert await anext(results) == 0
        await nothing_is_left(stage, tasks)
        assert crew.running == []
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("host_class", [Host, TrappingHost])
@pytest.mark.parametrize("early", [True, False])
async def test_no_message_or_link_is_left_in_the_caller(
    stage: Any, host_class: type[Host], early: bool
) -> None:
    """S73: "leaves no messages or links"."""

    async def body(me: Host) -> list[Any]:
        results: list[Any] = []
        async with aclosing(tasks.stream(same, range(6), max_concurrency=3)) as stream:
            async for result in stream:
                results.append(result)
                if early and result == 2:
                    break
        return results

    async with stage:
        tasks = await stage.start(TaskSupervisor)
        host = await stage.start(host_class)
        assert await host.call(body) == list(range(3 if early else 6))
        await nothing_is_left(stage, tasks)
        assert ties(host) == ({}, {}, {})
        assert host._actor.got == []


@pytest.mark.parametrize("reason", ["stop", "crash", "kill"])
async def test_the_end_of_the_caller_kills_the_rest(stage: Any, reason: str) -> None:
    """S73: even if something still holds the iterator."""
    crew = Crew()
    held: list[Any] = []

    async def body(me: Host) -> None:
        held.append(tasks.stream(first_quick, range(9), max_concurrency=4))
        assert await anext(held[0]) == 0

    async def first_quick(item: int) -> Any:
        return await (crew(item) if item else same(item))

    async with stage:
        tasks = await stage.start(TaskSupervisor)
        host = await stage.start(Host)
        await host.call(body)
        assert len(crew.running) == 3
        if reason == "stop":
            await host.stop(block=False)
        else:
            host.exit(reason)
        await nothing_is_left(stage, tasks)
        assert crew.running == []
        await held[0].aclose()


async def test_a_killed_caller_takes_its_stream_along(stage: Any) -> None:
    """S73, S42: while it waits for a result."""
    crew = Crew()

    async def body(me: Host) -> None:
        async for _ in tasks.stream(crew, range(4), max_concurrency=4):
            pass

    async with stage:
        tasks = await stage.start(TaskSupervisor)
        host = await stage.start(Host)
        host.tell(body)
        await stage.turns()
        assert len(crew.running) == 4
        host.kill()
        assert host.reason == KILLED
        await nothing_is_left(stage, tasks)


async def test_a_task_that_starts_after_the_end_is_killed(stage: Any) -> None:
    """S73: a start that was asked for cannot be taken back."""
    crew = Crew()
    async with stage:
        tasks = await stage.start(TaskSupervisor)
        gate = Gate()
        stage.will("slow", gate)
        slow = tasks.start_child(stage.worker("slow"))
        waiting = asyncio.ensure_future(anext(tasks.stream(crew, "ab")))
        await stage.turns()
        waiting.cancel()
        await stage.turns()
        gate.open()
        await slow
        await stage.turns()
        assert crew.running == []
        assert (await tasks.count_children()).specs == 1


async def test_a_task_that_takes_too_long_is_killed_and_raised(stage: Any) -> None:
    """S73: on_timeout exit; each task has its own time."""
    crew = Crew()
    async with stage:
        tasks = await stage.start(TaskSupervisor)
        results = tasks.stream(crew, "abc", max_concurrency=2, timeout=5.0)
        step = asyncio.ensure_future(anext(results))
        await stage.turns()
        stage.clock.advance(3.0)
        crew.gates["a"].open()
        assert await step == "<a>"
        step = asyncio.ensure_future(anext(results))
        await stage.turns()
        assert crew.running == ["b", "c"]
        stage.clock.advance(2.0)
        with pytest.raises(CallTimeout):
            await step
        await nothing_is_left(stage, tasks)
        assert crew.running == []


async def test_a_timeout_can_be_a_result(stage: Any) -> None:
    """S73: on_timeout kill_task."""
    crew = Crew()
    async with stage:
        tasks = await stage.start(TaskSupervisor)
        results = tasks.stream(crew, "ab", max_concurrency=1, timeout=5.0, on_timeout="yield")
        step = asyncio.ensure_future(anext(results))
        await stage.turns()
        stage.clock.advance(5.0)
        assert isinstance(await step, CallTimeout)
        step = asyncio.ensure_future(anext(results))
        await stage.turns()
        assert crew.running == ["b"]
        crew.gates["b"].open()
        assert await step == "<b>"


async def test_a_timeout_inside_the_function_is_its_failure(stage: Any) -> None:
    """S73: and not that of its task."""
    inner = CallTimeout("inside")
    async with stage:
        tasks = await stage.start(TaskSupervisor)
        with pytest.raises(CallTimeout, match="inside"):
            await anext(tasks.stream(same, [inner], timeout=5.0, on_timeout="yield"))


async def test_too_few_places_are_an_error(stage: Any) -> None:
    """S73: max_children raises."""
    crew = Crew()
    async with stage:
        tasks = await stage.start(TaskSupervisor, max_children=2)
        with pytest.raises(TooManyChildren):
            await anext(tasks.stream(crew, "abc", max_concurrency=3))
        await nothing_is_left(stage, tasks)


async def test_what_the_items_raise_ends_the_stream(stage: Any) -> None:
    """S73."""
    crew = Crew()

    def items() -> Iterator[str]:
        yield "a"
        raise LookupError

    async with stage:
        tasks = await stage.start(TaskSupervisor)
        with pytest.raises(LookupError):
            await anext(tasks.stream(crew, items(), max_concurrency=2))
        await nothing_is_left(stage, tasks)


async def test_the_tasks_work_for_the_caller(stage: Any) -> None:
    """S73: the ``$callers`` chain."""

    async def who(_item: Any) -> Any:
        return callers()

    async def body(me: Host) -> Any:
        return [chain async for chain in tasks.stream(who, [1])]

    async with stage:
        tasks = await stage.start(TaskSupervisor)
        host = await stage.start(Host)
        assert await host.call(body) == [(host,)]


@pytest.mark.parametrize("in_thread", [True, False])
def test_a_stream_can_be_followed_on_another_loop(in_thread: bool) -> None:
    """S73: the node has its own."""

    async def body() -> Any:
        results = tasks.stream(abs, range(-20, 0), max_concurrency=4, in_thread=in_thread)
        return [result async for result in results]

    async def halt() -> None:
        async with aclosing(tasks.stream(first, [0, 1, 2], max_concurrency=3)) as results:
            await anext(results)

    async def first(item: int) -> None:
        await Gate(open=item == 0).wait()

    with Node() as node:
        tasks: Any = node.start_child(TaskSupervisor).get(timeout=5)
        assert asyncio.run(body()) == list(range(20, 0, -1))
        asyncio.run(halt())
        assert tasks.count_children().get(timeout=5).specs == 0


@pytest.mark.parametrize(
    "options",
    [
        {"items": 5},
        {"max_concurrency": 0},
        {"max_concurrency": 1.5},
        {"timeout": 0},
        {"on_timeout": "kill"},
        {"on_error": "ignore"},
    ],
)
async def test_wrong_options_are_refused_at_once(stage: Any, options: dict[str, Any]) -> None:
    """S4."""
    async with stage:
        tasks = await stage.start(TaskSupervisor)
        [name] = options
        with pytest.raises(InvalidOption, match=name):
            tasks.stream(same, **{"items": [], **options})
