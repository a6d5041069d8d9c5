from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.signals import NORMAL, SHUTDOWN
from puckstream.errors import (
    ActorDead,
    CallTimeout,
    ChildNotFound,
    InvalidOption,
    InvalidSpec,
    NodeNotRunning,
    StartFailed,
    TooManyChildren,
)
from puckstream.node import Node
from puckstream.supervision.tasks import TaskSupervisor
from puckstream.testing.gate import Gate

BOOM = ValueError("boom")


class Host(Actor):
    """Runs the functions it is sent, as its own code, and keeps all other messages."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []
        self.kept: Any = None

    async def on_receive(self, message: Any) -> Any:
        if not callable(message):
            self.got.append(message)
            return None
        result = message(self)
        return await result if inspect.isawaitable(result) else result


async def double(number: int) -> int:
    return 2 * number


async def fail() -> None:
    raise BOOM


async def forever() -> None:
    await Gate().wait()


async def got(host: Any) -> list[Any]:
    found: list[Any] = await host.call(lambda me: list(me.got))
    return found


def ties(ref: Any) -> tuple[Any, Any, Any]:
    """What an actor is linked with, watches, and is watched by."""
    extra = ref._extra
    return (
        (extra.links or {}, extra.watching or {}, extra.monitors or {}) if extra else ({}, {}, {})
    )


async def test_more_than_max_children_are_refused(stage: Any) -> None:
    """S73: max_children raises."""
    async with stage:
        tasks = await stage.start(TaskSupervisor, max_children=1)
        task = await tasks.run(forever)
        with pytest.raises(TooManyChildren):
            await tasks.run(double, 1)
        with pytest.raises(TooManyChildren):
            await tasks.start_child(double, 1)
        assert await task.cancel()
        assert await (await tasks.run(double, 1)) == 2


async def test_a_task_can_be_terminated_like_any_child(stage: Any) -> None:
    """S73: terminate_child ok, or not found."""
    async with stage:
        tasks = await stage.start(TaskSupervisor)
        task = await tasks.run(forever)
        assert await tasks.terminate_child(task.ref) is None
        with pytest.raises(ChildNotFound):
            await tasks.terminate_child(task.ref)
        assert task.ref.reason == SHUTDOWN


async def test_the_end_of_the_supervisor_ends_its_tasks(stage: Any) -> None:
    """S30."""
    async with stage:
        tasks = await stage.start(TaskSupervisor)
        task = await tasks.run(forever)
        await tasks.stop(block=False)
        with pytest.raises(ActorDead):
            await task
        assert not await task.cancel()
        with pytest.raises(ActorDead):
            await tasks.run(double, 1)


def test_tasks_are_run_from_a_thread() -> None:
    """S73: without a loop of one's own."""
    with Node() as node:
        tasks: Any = node.start_child(TaskSupervisor).get(timeout=5)
        task = tasks.run(double, 4).get(timeout=5)
        assert task.result(timeout=5).get(timeout=5) == 8
        running = tasks.run(forever).get(timeout=5)
        with pytest.raises(CallTimeout):
            running.result(timeout=0.01).get(timeout=5)
        assert running.cancel().get(timeout=5)
    assert task.result().get() == 8
    with pytest.raises(NodeNotRunning):
        running.cancel()


async def test_start_child_sends_nothing_and_links_nobody(stage: Any) -> None:
    """S73: start_child has no reply."""
    gate = Gate()

    async def body(me: Host) -> Any:
        return [await me.kept.start_child(gate.wait), await me.kept.start_child(fail)]

    async with stage:
        tasks = await stage.start(TaskSupervisor)
        host = await stage.start(Host)
        await host.call(lambda me: setattr(me, "kept", tasks))
        ref, _ = await host.call(body)
        assert ties(host) == ({}, {}, {})
        gate.open()
        assert await ref.wait_stopped() == NORMAL
        await stage.turns()
        assert await got(host) == []
        assert (await tasks.count_children()).specs == 0


async def test_start_child_is_temporary_unless_told_otherwise(stage: Any) -> None:
    """S73: restart and shutdown may be overridden; a restart has the same arguments."""
    runs: list[str] = []

    async def flaky(name: str, *, times: int) -> None:
        runs.append(name)
        if runs.count(name) < times:
            raise BOOM

    async with stage:
        tasks = await stage.start(TaskSupervisor, intensity=10)
        await tasks.start_child(flaky, "once", times=3)
        await tasks.start_child(flaky, "again", times=3, restart="transient", shutdown=0.5)
        await stage.turns()
        assert runs.count("once") == 1
        assert runs.count("again") == 3
        assert (await tasks.count_children()).specs == 0
        ref = await tasks.start_child(forever, restart="permanent", shutdown="brutal_kill")
        await stage.end(ref)
        [row] = await tasks.which_children()
        assert (row.ref is not ref, row.spec.shutdown) == (True, "brutal_kill")


async def test_start_child_takes_a_child_spec_as_it_is(stage: Any) -> None:
    """S41: it is a dynamic supervisor."""
    async with stage:
        tasks = await stage.start(TaskSupervisor)
        ref = await tasks.start_child(stage.worker("w"))
        assert await ref.call(1) == 1


# -------------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize("call", ["run", "start_child", "stream"])
async def test_a_function_that_cannot_be_run_is_refused_at_once(stage: Any, call: str) -> None:
    """S4: in the caller."""
    async with stage:
        tasks = await stage.start(TaskSupervisor)
        start: Callable[..., Any] = getattr(tasks, call)
        args: tuple[Any, ...] = ([],) if call == "stream" else ()
        for function in (None, Host):
            with pytest.raises(InvalidOption, match="function"):
                start(function, *args)
        with pytest.raises(InvalidOption, match="in_thread"):
            start(double, *args, in_thread=True)


async def test_wrong_options_are_refused_at_once(stage: Any) -> None:
    """S4, S41."""
    async with stage:
        tasks = await stage.start(TaskSupervisor)
        with pytest.raises(InvalidSpec, match="shutdown"):
            tasks.run(double, 1, shutdown=-1)
        with pytest.raises(InvalidSpec, match="restart"):
            tasks.start_child(double, 1, restart="sometimes")
        with pytest.raises(StartFailed, match="max_children"):
            await stage.start(TaskSupervisor, max_children=-1)


async def test_tasks_are_named_in_the_tree_after_their_functions(stage: Any) -> None:
    """S81."""
    async with stage:
        tasks = await stage.start(TaskSupervisor)
        task = await tasks.run(functools.partial(forever))
        [node] = (await tasks.tree()).children
        assert (node.id, node.detail, repr(task)) == (
            "forever",
            "forever",
            "<Task forever: running>",
        )
