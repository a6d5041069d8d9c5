from __future__ import annotations

import asyncio
import functools
import inspect
import threading
from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.signals import KILLED, NORMAL, SHUTDOWN, Crash, Down, Exit
from puckstream.actors.thread_actor import ThreadActor
from puckstream.errors import (
    ActorDead,
    CallTimeout,
    Refuse,
    StartFailed,
)
from puckstream.supervision.task import TaskReply
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


class TrappingHost(Host):
    trap_exit = True


class ThreadHost(ThreadActor):
    def __init__(self) -> None:
        super().__init__()
        self.got: list[Any] = []

    def on_receive(self, message: Any) -> Any:
        if callable(message):
            return message(self)
        self.got.append(message)
        return None


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


# ------------------------------------------------------------------------------------- a result


async def test_outside_of_an_actor_a_task_is_awaited(stage: Any) -> None:
    """S73."""
    async with stage:
        tasks = await stage.start(TaskSupervisor)
        task = await tasks.run(double, 21)
        assert await task == 42
        assert (await task, await task.result(timeout=1), task.done) == (42, 42, True)
        assert (task.owner, task.linked, task.monitor, task.callers) == (None, False, None, ())
        plain = await tasks.run(functools.partial(int, base=2), "101")
        assert await plain == 5


async def test_a_task_whose_result_is_there_takes_no_place(stage: Any) -> None:
    """S73: ``max_children`` counts tasks that run."""
    async with stage:
        tasks = await stage.start(TaskSupervisor, max_children=1)
        for number in range(10):
            assert await (await tasks.run(double, number)) == 2 * number


async def test_the_caller_gets_what_the_function_raised(stage: Any) -> None:
    """S73."""
    async with stage:
        tasks = await stage.start(TaskSupervisor)
        task = await tasks.run(fail)
        for _ in range(2):
            with pytest.raises(ValueError, match="boom") as caught:
                await task
            assert caught.value is BOOM
        assert task.ref.reason == Crash(BOOM)


async def test_a_refusal_by_the_function_is_a_failure_of_the_task(stage: Any) -> None:
    """S51: there is no request to refuse."""

    async def refuse() -> None:
        raise Refuse(BOOM)

    def refuse_at_once() -> None:
        raise Refuse(BOOM)

    async with stage:
        tasks = await stage.start(TaskSupervisor)
        for function in (refuse, refuse_at_once):
            with pytest.raises(ValueError, match="boom"):
                await (await tasks.run(function))


@pytest.mark.parametrize("end", ["kill", "shutdown", "cancelled"])
async def test_a_task_that_ends_without_a_result_is_a_dead_actor(stage: Any, end: str) -> None:
    """S50: and never looks as if the caller had been cancelled."""

    async def cancelled() -> None:
        raise asyncio.CancelledError

    async with stage:
        tasks = await stage.start(TaskSupervisor)
        task = await tasks.run(cancelled if end == "cancelled" else forever)
        if end != "cancelled":
            await stage.turns()
            task.ref.exit(end)
        with pytest.raises(ActorDead, match="ended without a result"):
            await task


async def test_a_result_that_outlives_an_exit_signal_does_not_count(stage: Any) -> None:
    """S42."""
    gate = Gate()

    async def stubborn() -> int:
        try:
            await gate.wait()
        except asyncio.CancelledError:
            return 1
        return 2

    async with stage:
        tasks = await stage.start(TaskSupervisor)
        task = await tasks.run(stubborn)
        await stage.turns()
        task.ref.exit(SHUTDOWN)
        with pytest.raises(ActorDead, match="shutdown"):
            await task


# ------------------------------------------------------------------------- the calling actor


async def test_a_linked_task_that_fails_takes_its_caller_along(stage: Any) -> None:
    """S73, S43: async links."""

    async def wait(me: Host) -> None:
        await (await me.kept.run(fail))

    async def go_on(me: Host) -> None:
        await me.kept.run(fail)

    async with stage:
        tasks = await stage.start(TaskSupervisor)
        for body in (wait, go_on):
            host = await stage.start(Host)
            await host.call(lambda me: setattr(me, "kept", tasks))
            host.tell(body)
            assert await host.wait_stopped() == Crash(BOOM)


async def test_a_task_without_link_fails_alone(stage: Any) -> None:
    """S73: async_nolink does not link, but monitors."""

    async def body(me: Host) -> str:
        try:
            await (await me.kept.run(fail, link=False))
        except ValueError as error:
            return str(error)
        return "nothing"

    async def not_awaited(me: Host) -> Any:
        return await me.kept.run(fail, link=False)

    async with stage:
        tasks = await stage.start(TaskSupervisor)
        host = await stage.start(Host)
        await host.call(lambda me: setattr(me, "kept", tasks))
        assert await host.call(body) == "boom"
        assert await got(host) == []
        task = await host.call(not_awaited)
        await stage.turns()
        assert await got(host) == [Down(task.monitor, task.ref, Crash(BOOM))]


@pytest.mark.parametrize("link", [True, False])
async def test_the_end_of_the_caller_ends_a_linked_task_only(stage: Any, link: bool) -> None:
    """S73, S43."""
    async with stage:
        tasks = await stage.start(TaskSupervisor)
        host = await stage.start(Host)
        task = await host.call(lambda me: tasks.run(forever, link=link))
        host.kill()
        await stage.turns()
        assert task.ref.is_alive() is not link
        assert task.ref.reason == (KILLED if link else None)


async def test_a_trapping_caller_gets_the_exit_of_a_linked_task(stage: Any) -> None:
    """S43: a link is a link."""
    async with stage:
        tasks = await stage.start(TaskSupervisor)
        host = await stage.start(TrappingHost)
        task = await host.call(lambda me: tasks.run(fail))
        await stage.turns()
        assert await got(host) == [
            Exit(task.ref, Crash(BOOM)),
            Down(task.monitor, task.ref, Crash(BOOM)),
        ]


async def test_the_result_comes_as_a_message_and_then_the_end(stage: Any) -> None:
    """S73: reply, then DOWN normal."""
    async with stage:
        tasks = await stage.start(TaskSupervisor)
        host = await stage.start(Host)
        task = await host.call(lambda me: tasks.run(double, 4))
        await stage.turns()
        assert await got(host) == [TaskReply(task, 8), Down(task.monitor, task.ref, NORMAL)]
        assert ties(host) == ({}, {}, {})


@pytest.mark.parametrize("late", [True, False])
async def test_an_awaited_task_leaves_no_message(stage: Any, late: bool) -> None:
    """S73: wherever the result is when it is asked for."""

    async def body(me: Host) -> Any:
        task = await me.kept.run(double, 4)
        if late:
            await stage.turns()
            assert task.done
            assert me.actor_ref.mailbox_length == 2
        return await task

    async with stage:
        tasks = await stage.start(TaskSupervisor)
        host = await stage.start(Host)
        await host.call(lambda me: setattr(me, "kept", tasks))
        assert await host.call(body) == 8
        await stage.turns()
        assert await got(host) == []
        assert ties(host) == ({}, {}, {})


async def test_a_caller_whose_time_is_over_gets_no_late_message(stage: Any) -> None:
    """S49."""
    gate = Gate()

    async def body(me: Host) -> None:
        me.kept = await me.kept.run(gate.wait)
        await me.kept.result(timeout=5.0)

    async def catching(me: Host) -> str:
        try:
            await body(me)
        except CallTimeout:
            return "timeout"
        return "nothing"

    async with stage:
        tasks = await stage.start(TaskSupervisor)
        host = await stage.start(Host)
        await host.call(lambda me: setattr(me, "kept", tasks))
        answer = host.call(catching, timeout=None)
        await stage.turns()
        stage.clock.advance(5.0)
        assert await answer == "timeout"
        [task] = await host.call(lambda me: [me.kept])
        assert not task.done
        gate.open()
        await stage.turns()
        assert task.done
        assert await got(host) == []
        assert await task is None


async def test_others_may_await_a_task_and_its_owner_is_told_all_the_same(stage: Any) -> None:
    """S73: the messages are the owner's."""
    async with stage:
        tasks = await stage.start(TaskSupervisor)
        host = await stage.start(Host)
        task = await host.call(lambda me: tasks.run(double, 4))
        assert await task.result(timeout=1.0) == 8
        await stage.turns()
        assert [type(message) for message in await got(host)] == [TaskReply, Down]


async def test_a_thread_actor_that_waits_gets_no_message(stage: Any) -> None:
    """S73."""
    entered, release = threading.Event(), threading.Event()

    def body(me: ThreadHost) -> Any:
        task = tasks.run(double, 4).get(timeout=5)
        entered.set()
        release.wait(5)
        return task.result(timeout=5).get(timeout=5)

    def go_on(me: ThreadHost) -> Any:
        return [tasks.run(double, 4).get(timeout=5)]

    async with stage:
        tasks = await stage.start(TaskSupervisor)
        host = await stage.start(ThreadHost)
        answer = host.call(body, timeout=None)
        await asyncio.to_thread(entered.wait, 5)
        await stage.turns()
        assert host.mailbox_length == 2
        release.set()
        assert await answer == 8
        assert await got(host) == []
        [task] = await host.call(go_on)
        await task.ref.wait_stopped()
        await stage.turns()
        assert await got(host) == [TaskReply(task, 8), Down(task.monitor, task.ref, NORMAL)]
        await host.stop(block=False)


async def test_a_task_of_a_caller_that_has_ended_is_not_started(stage: Any) -> None:
    """S73, S43."""
    ran: list[int] = []
    async with stage:
        tasks = await stage.start(TaskSupervisor)
        host = await stage.start(Host)
        gate = Gate()
        stage.will("slow", gate)
        slow = tasks.start_child(stage.worker("slow"))
        starting: Any = await host.call(lambda me: [tasks.run(ran.append, 1)])
        host.kill()
        gate.open()
        with pytest.raises(StartFailed, match="has stopped"):
            await starting[0]
        await slow
        assert (ran, (await tasks.count_children()).active) == ([], 1)


# ----------------------------------------------------------------------------------- cancelling


async def test_cancelling_ends_the_function_and_spares_the_caller(stage: Any) -> None:
    """S73, S31: the task gets its shutdown time."""
    cleaned: list[str] = []

    async def tidy() -> None:
        try:
            await Gate().wait()
        finally:
            cleaned.append("up")

    async def body(me: Host) -> Any:
        task = await me.kept.run(tidy)
        await stage.turns()
        return task, await task.cancel(), await task.cancel()

    async with stage:
        tasks = await stage.start(TaskSupervisor)
        host = await stage.start(Host)
        await host.call(lambda me: setattr(me, "kept", tasks))
        task, *cancelled = await host.call(body)
        assert (cancelled, cleaned, task.ref.reason) == ([True, False], ["up"], SHUTDOWN)
        assert await got(host) == []
        with pytest.raises(ActorDead):
            await task


async def test_a_function_that_does_not_end_in_time_is_killed(stage: Any) -> None:
    """S31."""
    gate = Gate()

    async def stubborn() -> None:
        while True:
            try:
                await gate.wait()
            except asyncio.CancelledError:
                continue
            return

    async with stage:
        tasks = await stage.start(TaskSupervisor)
        task = await tasks.run(stubborn, shutdown=3.0)
        await stage.turns()
        cancelled = task.cancel()
        await stage.turns()
        stage.clock.advance(2.9)
        assert not task.done
        stage.clock.advance(0.1)
        assert await cancelled
        assert task.ref.reason == KILLED
        assert len(stage.system.zombies) == 1
        gate.open()
