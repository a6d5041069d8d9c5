from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.signals import KILLED
from puckstream.supervision.child import child
from puckstream.supervision.job import ancestors, callers
from puckstream.supervision.supervisor import Supervisor
from puckstream.supervision.tasks import TaskSupervisor


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


# ------------------------------------------------------------------------------------- lineage


async def test_a_task_knows_its_callers_and_ancestors(stage: Any) -> None:
    """S73: the ``$callers`` and ``$ancestors`` chains."""

    async def inner() -> Any:
        return callers(), ancestors()

    async def outer() -> Any:
        task = await tasks.run(inner)
        return await task, task.callers, task.ancestors

    async def body(me: Host) -> Any:
        task = await tasks.run(outer)
        return task, await task

    async with stage:
        top = await stage.start(Supervisor, [child(TaskSupervisor)])
        [row] = await top.which_children()
        tasks = row.ref
        host = await stage.start(Host)
        task, (inside, *outside) = await host.call(body)
        assert inside == ((task.ref, host), (tasks, top))
        assert outside == [(task.ref, host), (tasks, top)]
        assert (task.callers, task.ancestors) == ((host,), (tasks, top))
        assert (ancestors(tasks), ancestors(host), ancestors(), callers()) == ((top,), (), (), ())


async def test_a_task_runs_in_a_copy_of_its_callers_context(stage: Any) -> None:
    """S73: contextvars tell whose work it is, as ``$callers`` does."""
    user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="nobody")

    async def change() -> str:
        before = user.get()
        user.set("somebody else")
        return before

    async with stage:
        tasks = await stage.start(TaskSupervisor)
        user.set("ann")
        assert await (await tasks.run(change)) == "ann"
        assert await (await tasks.run(user.get, in_thread=True)) == "ann"
        assert user.get() == "ann"


# ------------------------------------------------------------------------------------- threads


async def test_a_function_that_blocks_has_a_thread(stage: Any) -> None:
    """S73."""
    async with stage:
        tasks = await stage.start(TaskSupervisor)
        task = await tasks.run(threading.get_ident, in_thread=True)
        assert await task != threading.get_ident()
        assert (await tasks.count_children()).specs == 0
        failed = await tasks.run(int, "x", in_thread=True)
        with pytest.raises(ValueError, match="invalid literal"):
            await failed
        with pytest.raises(TypeError, match="is async"):
            await (await tasks.run(lambda: double(1), in_thread=True))


async def test_a_quick_function_in_a_thread_has_started_all_the_same(stage: Any) -> None:
    """S48: an end after the start is not a failure to start."""
    async with stage:
        tasks = await stage.start(TaskSupervisor, max_children=1)
        for number in range(30):
            assert await (await tasks.run(abs, -number, in_thread=True)) == number


async def test_a_killed_task_that_blocks_is_counted_until_it_returns(stage: Any) -> None:
    """S42, S31: the caller is told at once."""
    release, entered = threading.Event(), threading.Event()

    def block() -> None:
        entered.set()
        release.wait(5)

    async with stage:
        tasks = await stage.start(TaskSupervisor)
        task = await tasks.run(block, in_thread=True, shutdown=1.0)
        await asyncio.to_thread(entered.wait, 5)
        cancelled = task.cancel()
        await stage.turns()
        assert not task.done
        stage.clock.advance(1.0)
        assert await cancelled
        assert (task.ref.reason, len(stage.system.zombies)) == (KILLED, 1)
        release.set()
