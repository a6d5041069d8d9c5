"""What an actor can do: spawn others, own tasks and timers, have blocking work done."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.signals import KILLED, NORMAL, SHUTDOWN, Custom, TaskDone, TaskFailed
from puckstream.actors.thread_actor import ThreadActor
from puckstream.errors import InvalidOption, NodeNotRunning, StartFailed, TaskExists

if TYPE_CHECKING:
    from tests.actors.conftest import Doer, Door, Engine

    AnyEngine = type[Engine]
    AnyKind = type[Doer]


async def heard(ref: Any) -> list[Any]:
    """Return what a doer has been told so far."""
    return list(await ref.call(lambda actor: actor.heard))


# ---------------------------------------------------------------------------------------- classes


@pytest.mark.parametrize("base", [Actor, ThreadActor])
@pytest.mark.parametrize(
    ("attribute", "value"), [("ask_errors", "ignore"), ("mailbox", 100), ("mailbox", "refuse")]
)
def test_an_impossible_class_attribute_is_refused_with_the_class(
    base: type[Actor], attribute: str, value: Any
) -> None:
    with pytest.raises(InvalidOption, match=rf"Odd\.{attribute}={value!r}"):
        type("Odd", (base,), {attribute: value})


@pytest.mark.parametrize("base", [Actor, ThreadActor])
def test_an_actor_is_a_pykka_actor(base: type[Actor]) -> None:
    assert issubclass(base, pykka.Actor)


def test_an_instance_nobody_started_can_be_tested_by_its_methods(doer: AnyKind) -> None:
    actor = doer()
    assert actor.on_receive("hello") == "hello"
    assert not actor.actor_ref.is_alive()
    assert "Doer" in str(actor)


async def test_a_pykka_mixin_brings_its_hooks(engine: AnyEngine, kind: AnyKind) -> None:
    class Mixin(pykka.Actor):
        def on_start(self) -> None:
            self.mixed_in = True

    async with engine() as e:
        ref = await e.spawn(type("Mixed", (Mixin, kind), {}))
        assert await ref.call(lambda actor: actor.mixed_in) is True


async def test_an_unexpected_message_is_logged_and_changes_nothing(
    engine: AnyEngine, caplog: pytest.LogCaptureFixture
) -> None:
    """S57."""
    async with engine() as e:
        ref = await e.spawn(Actor)
        ref.tell("odd")
        await ref.call("odd")
        assert ref.is_alive()
    assert "Unexpected message" in caplog.text


async def test_an_actor_without_a_node_says_so(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        with pytest.raises(NodeNotRunning, match="bare engine"):
            await ref.call(lambda actor: actor.node)


# ------------------------------------------------------------------------------------------ spawn


async def test_an_actor_spawns_another(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        started: list[Any] = []
        (reply,) = await ref.call(lambda actor: [actor.spawn(kind, started)])
        child = await reply
        child.tell("hello")
        assert await child.call("again") == "again"
        assert started == ["hello", "again"]


async def test_a_thread_may_wait_for_the_actor_it_spawns(
    engine: AnyEngine, kind: AnyKind, thread_doer: AnyKind
) -> None:
    async with engine() as e:
        ref = await e.spawn(thread_doer)
        child = await ref.call(lambda actor: actor.spawn(kind).get(timeout=20))
        assert await child.call("hello") == "hello"


async def test_a_failed_spawn_is_told_and_hurts_nobody(engine: AnyEngine, kind: AnyKind) -> None:
    class Failing(Actor):
        def on_start(self) -> None:
            raise ValueError

    async with engine() as e:
        ref = await e.spawn(kind)
        (reply,) = await ref.call(lambda actor: [actor.spawn(Failing)])
        with pytest.raises(StartFailed):
            await reply
        assert ref.is_alive()


# ----------------------------------------------------------------------------------------- timers


async def test_a_message_is_sent_after_the_delay(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        await ref.call(lambda actor: actor.send_after(3.0, "later") and None)
        await ref.call(lambda actor: actor.send_after(1.0, "sooner") and None)
        await e.settle()
        e.clock.advance(2.9)
        assert await heard(ref) == ["sooner"]
        e.clock.advance(0.1)
        assert await heard(ref) == ["sooner", "later"]
        assert ref._extra.timers == {}


async def test_a_timer_can_be_taken_back(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        cancel = (await ref.call(lambda actor: [actor.send_after(3.0, "never")]))[0]
        await ref.call(lambda _: cancel())
        await e.settle()
        assert 3.0 not in e.clock.delays
        cancel()
        e.clock.advance(10.0)
        assert await heard(ref) == []


async def test_timers_end_with_their_actor(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        for end in ("kill", "exit"):
            ref = await e.spawn(kind)
            cancel = (await ref.call(lambda actor: [actor.send_after(3.0, "never")]))[0]
            await e.settle()
            getattr(ref, end)()
            await ref.wait_stopped()
            assert 3.0 not in e.clock.delays
            cancel()
        e.clock.advance(3.0)
        assert e.system.dead_letters.count == 0


# ------------------------------------------------------------------------------------------ tasks


async def test_the_end_of_an_owned_task_is_a_message(engine: AnyEngine, kind: AnyKind) -> None:
    error = ValueError("no")

    async def double(number: int, *, plus: int = 0) -> int:
        await asyncio.sleep(0)
        return 2 * number + plus

    async def fail(error: BaseException) -> None:
        raise error

    async with engine() as e:
        ref = await e.spawn(kind)

        def start(actor: Doer) -> None:
            actor.start_task("double", double, 4, plus=1)
            actor.start_task("fail", fail, error)

        await ref.call(start)
        await e.settle()
        assert sorted(await heard(ref)) == [TaskDone("double", 9), TaskFailed("fail", error)]


async def test_a_system_exit_in_an_owned_task_is_a_failure_like_any_other(
    engine: AnyEngine, kind: AnyKind
) -> None:
    """It must not end the loop."""
    error = SystemExit(3)

    async def leave() -> None:
        raise error

    async with engine() as e:
        ref = await e.spawn(kind)
        await ref.call(lambda actor: actor.start_task("leave", leave))
        await e.settle()
        assert await heard(ref) == [TaskFailed("leave", error)]


async def test_a_name_has_one_task_at_a_time(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)

        def start_twice(actor: Doer) -> None:
            actor.start_task("wait", asyncio.Event().wait)
            with pytest.raises(TaskExists, match="'wait'"):
                actor.start_task("wait", asyncio.sleep, 0)

        await ref.call(start_twice)
        assert await ref.call(lambda actor: actor.cancel_task("wait")) is True
        await e.settle()
        ((name, error),) = await heard(ref)
        assert (name, type(error)) == ("wait", asyncio.CancelledError)
        assert await ref.call(lambda actor: actor.cancel_task("wait")) is False
        await ref.call(lambda actor: actor.start_task("wait", asyncio.sleep, 0))
        await e.settle()
        assert (await heard(ref))[1:] == [TaskDone("wait", None)]


async def test_a_task_that_cannot_be_started_is_refused_at_the_call(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async def nothing() -> None: ...

    async with engine() as e:
        ref = await e.spawn(kind)

        def start(actor: Doer) -> None:
            with pytest.raises(TypeError):
                actor.start_task("one too many", nothing, 1)

        await ref.call(start)


async def test_an_orderly_end_waits_for_the_cleanup_of_owned_tasks(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    cleaned_up: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await door.wait()
            cleaned_up.append("yes")

    async with engine() as e:
        probe, ref = await e.probe(), await e.spawn(kind)
        probe.monitor(ref)
        await ref.call(lambda actor: [actor.start_task(name, work) for name in "ab"] and None)
        await e.settle()
        stopped = ref.stop(block=False)
        await door.reached
        await probe.no_message()
        assert ref.state == "stopping"
        door.open()
        assert (await probe.receive()).reason == NORMAL
        assert await stopped is True
        assert cleaned_up == ["yes", "yes"]


async def test_an_exit_waits_for_owned_tasks_and_a_kill_does_not(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    """A task that swallows its cancellation: outlived by a kill, counted as a zombie."""
    async with engine() as e:
        probe, ref = await e.probe(), await e.spawn(kind)
        probe.monitor(ref)
        await ref.call(lambda actor: actor.start_task("resist", door.resist))
        await door.reached
        ref.exit("enough")
        await e.settle()
        await probe.no_message()
        ref.kill()
        assert (await probe.receive()).reason == KILLED
        # Its thread may be one, too, until it has noticed.
        assert set(e.system.zombies.values()) == {ref}
        door.open()
        await e.no_zombies()


async def test_a_kill_tells_everybody_at_once_and_cancels_owned_tasks(
    engine: AnyEngine, kind: AnyKind
) -> None:
    ended: list[str] = []

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async with engine() as e:
        ref = await e.spawn(kind)
        await ref.call(lambda actor: actor.start_task("work", work))
        await e.settle()
        ref.kill()
        assert ref.reason == KILLED
        await e.no_zombies()
        assert ended == ["cancelled"]


async def test_a_task_killed_before_its_first_step_leaves_nothing(
    engine: AnyEngine, doer: AnyKind
) -> None:
    async def never() -> None:
        pytest.fail("it ran")

    async with engine() as e:
        ref = await e.spawn(doer)
        ref.call(lambda actor: actor.start_task("never", never)).get()
        ref.kill()
        await e.settle()
        assert e.system.zombies == {}


async def test_a_task_that_fails_after_its_actor_is_logged(
    engine: AnyEngine, kind: AnyKind, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            msg = "in the cleanup"
            raise ValueError(msg)

    async with engine() as e:
        ref = await e.spawn(kind)
        await ref.call(lambda actor: actor.start_task("work", work))
        await e.settle()
        await ref.stop(block=False)
    assert "in the cleanup" in caplog.text


async def test_a_task_may_end_its_own_actor(engine: AnyEngine, kind: AnyKind) -> None:
    async def leave(actor: Doer) -> None:
        actor.exit("from the task")
        await asyncio.Event().wait()

    async with engine() as e:
        ref = await e.spawn(kind)
        await ref.call(lambda actor: actor.start_task("leave", leave, actor))
        assert await ref.wait_stopped() == Custom("from the task")


async def test_code_in_a_task_acts_for_its_actor(engine: AnyEngine, kind: AnyKind) -> None:
    """Also when the constructor has started it."""

    class Early(kind):  # type: ignore[misc, valid-type]
        def __init__(self, other: Any) -> None:
            super().__init__()
            self.start_task("watch", self.watch, other)

        async def watch(self, other: Any) -> None:
            other.monitor()

    async with engine() as e:
        starter, other = await e.spawn(kind), await e.spawn(kind)
        (reply,) = await starter.call(lambda actor: [actor.spawn(Early, other)])
        ref = await reply
        await e.settle()
        other.exit()
        await other.wait_stopped()
        await e.settle()
        done, down = await heard(ref)
        assert (done, down.ref, down.reason) == (TaskDone("watch", None), other, SHUTDOWN)
        assert await heard(starter) == []


# -------------------------------------------------------------------------------------- in threads


async def test_blocking_work_runs_in_a_thread_while_the_loop_goes_on(
    engine: AnyEngine, doer: AnyKind, door: Door
) -> None:
    async def work(actor: Doer) -> Any:
        def block() -> int:
            door.block()
            return threading.get_ident()

        return await actor.run_in_thread(block)

    async with engine() as e:
        one, other = await e.spawn(doer), await e.spawn(doer)
        working = one.call(work)
        await door.reached
        assert await other.call("fine") == "fine"
        door.open()
        assert await working != threading.get_ident()


async def test_blocking_work_hands_its_exception_to_the_handler(
    engine: AnyEngine, doer: AnyKind
) -> None:
    def fail(message: str) -> None:
        raise LookupError(message)

    async def work(actor: Doer) -> str:
        with pytest.raises(LookupError, match="no"):
            await actor.run_in_thread(fail, "no")
        return "caught"

    async with engine() as e:
        ref = await e.spawn(doer)
        assert await ref.call(work) == "caught"


async def test_blocking_work_may_use_the_actor_and_others(
    engine: AnyEngine, kind: AnyKind, doer: AnyKind
) -> None:
    async with engine() as e:
        ref, other = await e.spawn(doer), await e.spawn(kind)

        async def work(actor: Doer) -> Any:
            def block() -> Any:
                actor.link(other)
                actor.actor_ref.tell("a message")
                actor.send_after(1.0, "a timer")
                actor.start_task("a task", asyncio.sleep, 0)
                return other.ask("asked")

            return await actor.run_in_thread(block)

        assert await ref.call(work) == "asked"
        await e.settle()
        e.clock.advance(1.0)
        await e.settle()
        assert await heard(ref) == ["a message", TaskDone("a task", None), "a timer"]
        other.kill()
        assert await ref.wait_stopped() == KILLED


async def test_an_actor_may_be_ended_while_its_blocking_work_goes_on(
    engine: AnyEngine, doer: AnyKind, door: Door
) -> None:
    async def work(actor: Doer) -> None:
        await actor.run_in_thread(door.block)

    async with engine() as e:
        ref = await e.spawn(doer)
        ref.tell(work)
        await door.reached
        ref.exit("enough")
        assert await ref.wait_stopped() == Custom("enough")
        door.open()


async def test_a_refusal_nobody_waits_for_is_logged_and_no_failure(
    engine: AnyEngine, kind: AnyKind, caplog: pytest.LogCaptureFixture
) -> None:
    from puckstream.errors import Refuse

    caplog.set_level(logging.INFO)
    async with engine() as e:
        ref = await e.spawn(kind)
        ref.tell(Refuse("not today"))
        await ref.call("fence")
        assert ref.is_alive()
    assert "not today" in caplog.text
