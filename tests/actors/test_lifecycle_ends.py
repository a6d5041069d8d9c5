"""How actors end: exit, kill, crash, and what is left of them."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors import lifecycle
from puckstream.actors.actor import Actor
from puckstream.actors.signals import KILLED, SHUTDOWN, Custom, ExitReason
from puckstream.errors import ActorDead, CallingSelf, StartFailed

if TYPE_CHECKING:
    from tests.actors.conftest import Doer, Door, Engine, Threads

    AnyEngine = type[Engine]
    AnyKind = type[Doer]


async def test_an_exit_signal_cancels_a_suspended_handler(
    engine: AnyEngine, doer: AnyKind, door: Door
) -> None:
    cleaned_up: list[str] = []

    async def wait(_actor: Doer) -> None:
        try:
            await door.wait()
        finally:
            await asyncio.sleep(0)
            cleaned_up.append("yes")

    async with engine() as e:
        ref = await e.spawn(doer)
        ref.tell(wait)
        await door.reached
        ref.exit("enough")
        assert await ref.wait_stopped() == Custom("enough")
        assert cleaned_up == ["yes"]
        assert e.system.zombies == {}


async def test_a_handler_that_swallows_its_cancellation_ends_the_actor_when_it_returns(
    engine: AnyEngine, doer: AnyKind, door: Door
) -> None:
    async with engine() as e:
        heard: list[Any] = []
        ref = await e.spawn(doer, heard)
        ref.tell(lambda _: door.resist())
        ref.tell("never")
        await door.reached
        ref.exit("enough")
        await e.settle()
        assert ref.state == "exiting"
        door.open()
        assert await ref.wait_stopped() == Custom("enough")
        assert heard == []


async def test_the_first_exit_signal_gives_the_reason(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        ref.tell(door.hold)
        await door.reached
        ref.exit("first")
        ref.exit("second")
        door.open()
        assert await ref.wait_stopped() == Custom("first")


async def test_a_killed_actor_is_dead_at_once_and_its_handler_a_zombie_until_it_ends(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    """The coroutine swallows its cancellation, the thread cannot be interrupted."""
    async with engine() as e:
        probe = await e.probe()
        ref = await e.spawn(kind)
        probe.monitor(ref)
        resist = door.hold if kind.__name__ == "ThreadDoer" else lambda _: door.resist()
        ref.tell(resist)
        await door.reached
        ref.kill()
        assert (ref.state, ref.reason) == ("dead", KILLED)
        assert (await probe.receive()).reason == KILLED
        await e.settle()
        assert list(e.system.zombies.values()) == [ref]
        door.open()
        await e.no_zombies()


async def test_a_zombie_can_do_no_harm(engine: AnyEngine, doer: AnyKind, door: Door) -> None:
    """It goes on with an actor that is dead: what it starts is refused or ends at once."""
    outcomes: list[Any] = []

    async def haunt(actor: Doer) -> None:
        await door.resist()
        actor.start_task("late", asyncio.Event().wait)
        actor.send_after(0.0, "late")
        actor.monitor(bystander)
        actor.link(bystander)
        actor.stop()
        with pytest.raises(ActorDead):
            actor.actor_ref.tell("late")
        outcomes.append("survived")
        msg = "nobody hears this"
        raise ValueError(msg)

    async with engine() as e:
        ref, bystander = await e.spawn(doer), await e.spawn(doer)
        ref.tell(haunt)
        await door.reached
        ref.kill()
        door.open()
        await e.settle()
        e.clock.advance(1.0)
        assert outcomes == ["survived"]
        assert e.system.zombies == {}
        assert await bystander.call("fine") == "fine"
        assert bystander._extra is None or not bystander._extra.monitors


async def test_a_handler_that_kills_its_own_actor_goes_on_as_a_zombie(
    engine: AnyEngine, doer: AnyKind, door: Door
) -> None:
    async def suicide(actor: Doer) -> None:
        actor.actor_ref.kill()
        await door.resist()

    async with engine() as e:
        ref = await e.spawn(doer)
        asked = ref.call(suicide)
        assert ref.reason == KILLED
        assert len(e.system.zombies) == 1
        with pytest.raises(ActorDead):
            await asked
        door.open()
        await e.settle()
        assert e.system.zombies == {}


async def test_closing_the_engine_names_the_zombies_that_are_left(
    engine: AnyEngine, doer: AnyKind, door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    e = engine()
    await e.__aenter__()
    ref = await e.spawn(doer)
    ref.tell(lambda _: door.resist())
    await door.reached
    with caplog.at_level(logging.ERROR):
        await e.system.close(grace=0.0)
    assert "still runs" in caplog.text
    assert list(e.system.zombies.values()) == [ref]
    door.open()
    await e.settle()
    assert e.system.zombies == {}
    await e.system.close()


async def test_messages_without_a_handler_become_dead_letters(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        ref.tell(door.hold)
        await door.reached
        asked = ref.call("a request is answered instead")
        for number in range(3):
            ref.tell(number)
        ref.exit()
        door.open()
        await ref.wait_stopped()
        letters = e.system.dead_letters
        assert letters.count == 3
        assert [(letter.ref, letter.message) for letter in letters.recent] == [
            (ref, 0),
            (ref, 1),
            (ref, 2),
        ]
        with pytest.raises(ActorDead):
            await asked


async def test_a_failing_callback_on_a_death_disturbs_no_other(
    engine: AnyEngine, kind: AnyKind, caplog: pytest.LogCaptureFixture
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)

        def fail(*_: Any) -> None:
            raise ValueError

        ref._on_death(fail)
        waiting = ref.wait_stopped()
        with caplog.at_level(logging.ERROR):
            ref.exit()
            assert await waiting == SHUTDOWN
        assert "callback on the death" in caplog.text


async def test_a_crash_is_logged_once(
    engine: AnyEngine, kind: AnyKind, caplog: pytest.LogCaptureFixture
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        with caplog.at_level(logging.ERROR), pytest.raises(ValueError, match="no"):
            await ref.call(ValueError("no"))
        await ref.wait_stopped()
        (record,) = caplog.records
        assert str(ref) in record.getMessage()


async def test_an_expected_end_is_not_logged(
    engine: AnyEngine, kind: AnyKind, caplog: pytest.LogCaptureFixture
) -> None:
    """S47."""
    caplog.set_level(logging.WARNING)
    async with engine() as e:
        for reason in ("shutdown", "kill", "odd"):
            ref = await e.spawn(kind)
            ref.exit(reason)
            await ref.wait_stopped()
        ref = await e.spawn(kind)
        await ref.stop(block=False)
    assert caplog.records == []


async def test_a_system_without_threads_fails_the_start_of_a_thread_actor(
    engine: AnyEngine, thread_doer: AnyKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_thread: threading.Thread) -> None:
        msg = "can't start new thread"
        raise RuntimeError(msg)

    async with engine() as e:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            with pytest.raises(StartFailed, match="can't start new thread"):
                await e.spawn(thread_doer)
        assert (e.system.actors, e.system.threads) == ({}, set())


async def test_contexts_are_each_actors_own_and_last(
    engine: AnyEngine, kind: AnyKind, threads: Threads
) -> None:
    import contextvars

    variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable", default="unset")

    async with engine() as e:
        variable.set("the test's")
        one, other = await e.spawn(kind), await e.spawn(kind)
        await one.call(lambda _: variable.set("one's"))
        assert await other.call(lambda _: variable.get()) == "unset"
        assert await one.call(lambda _: variable.get()) == "one's"
        assert await threads.run(one.ask, lambda _: variable.get()) == "one's"
        assert variable.get() == "the test's"


async def test_contexts_last_across_awaits_hooks_and_tasks(engine: AnyEngine) -> None:
    import contextvars

    variable: contextvars.ContextVar[Any] = contextvars.ContextVar("variable", default="unset")
    seen: list[Any] = []

    class Keeper(Actor):
        async def on_start(self) -> None:
            variable.set("on_start")
            await asyncio.sleep(0)

        async def on_receive(self, message: Any) -> Any:
            seen.append(variable.get())
            await asyncio.sleep(0)
            variable.set(message)
            if message == "task":
                self.start_task("look", self.look)
            if message == "crash":
                await asyncio.sleep(0)
                raise ValueError
            await asyncio.sleep(0)
            return variable.get()

        async def look(self) -> None:
            seen.append(("task", variable.get()))
            variable.set("the task's own")

        def on_failure(self, *_: Any) -> None:
            seen.append(("on_failure", variable.get()))

    async with engine() as e:
        refs = [await e.spawn(Keeper) for _ in range(2)]
        ref, other = refs
        assert [await ref.call("first"), await ref.call("task")] == ["first", "task"]
        await other.call("other")
        await e.settle()
        with pytest.raises(ValueError):  # noqa: PT011
            await ref.call("crash")
        await ref.wait_stopped()
        assert (
            seen
            == [
                "on_start",
                "first",
                "on_start",
                ("task", "task"),
                "task",
                "task",
                ("on_failure", "crash"),
            ]
            or ("on_failure", "crash") in seen
        )


async def test_a_name_is_free_before_the_starter_learns_of_the_failure() -> None:
    """S48."""
    import puckstream as puck

    class Failing(Actor):
        def on_start(self) -> None:
            self.start_task("slow to end", self.slow)
            raise ValueError

        async def slow(self) -> None:
            await asyncio.Event().wait()

    async with puck.Node() as node:
        system = node._running
        with pytest.raises(StartFailed):
            lifecycle.spawn(system, Failing, (), {}, name="name")
        assert lifecycle.spawn(system, Actor, (), {}, name="name") is node.whereis("name")


@pytest.mark.parametrize("control", [False, True])
async def test_an_actor_that_would_wait_for_itself_in_on_start_is_refused(
    engine: AnyEngine, control: bool
) -> None:
    class Confused(Actor):
        async def on_start(self) -> None:
            await self.actor_ref.call("me", control=control)

    async with engine() as e:
        with pytest.raises(StartFailed) as caught:
            await e.spawn(Confused)
        assert isinstance(caught.value.__cause__, CallingSelf)


@pytest.mark.parametrize("reason", ["shutdown", "boom", "kill"])
async def test_a_constructor_that_ends_its_actor_is_told_by_return_and_to_nobody_else(
    engine: AnyEngine, doer: AnyKind, reason: str
) -> None:
    class Stillborn(Actor):
        def __init__(self) -> None:
            super().__init__()
            self.exit(reason)

    async with engine() as e:
        parent, starter = await e.spawn(doer), await e.spawn(doer)
        why = KILLED if reason == "kill" else ExitReason.of(reason)
        with pytest.raises(StartFailed) as caught:
            lifecycle.spawn(e.system, Stillborn, (), {}, parent=parent, starter=starter)
        assert caught.value.reason == why
        await e.settle()
        assert parent.is_alive()
        assert starter.is_alive()
        for ref in (parent, starter):
            assert not (ref._extra and ref._extra.links)


async def test_an_error_in_on_start_after_an_exit_leaves_the_signal_as_the_reason(
    engine: AnyEngine,
) -> None:
    class Wavering(Actor):
        def on_start(self) -> None:
            self.exit("boom")
            raise ZeroDivisionError

    async with engine() as e:
        with pytest.raises(StartFailed) as caught:
            await e.spawn(Wavering)
        assert caught.value.reason == ExitReason.of("boom")
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
