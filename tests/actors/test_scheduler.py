"""The run queue: turns, fairness, nested calls, and the end of the engine."""

from __future__ import annotations

import asyncio
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors import scheduler
from puckstream.actors.signals import KILLED
from puckstream.errors import ActorDead, NodeNotRunning

if TYPE_CHECKING:
    from tests.actors.conftest import Doer, Door, Engine, Threads

    AnyEngine = type[Engine]
    AnyKind = type[Doer]


async def test_actors_share_the_loop_in_order_of_their_first_message(
    engine: AnyEngine, doer: AnyKind
) -> None:
    async with engine() as e:
        heard: list[Any] = []
        refs = [await e.spawn(doer, heard) for _ in range(3)]
        for number in range(2):
            for index, ref in enumerate(refs):
                ref.tell((index, number))
        await e.settle()
        assert heard == [(index, number) for index in range(3) for number in range(2)]


async def test_actors_that_never_rest_leave_the_loop_its_time(
    engine: AnyEngine, doer: AnyKind
) -> None:
    """Two actors that tell each other for ever, and a timer beside them."""

    async with engine() as e:
        one, other = await e.spawn(doer), await e.spawn(doer)

        def to_and_fro(there: Any, back: Any) -> Any:
            def act(_actor: Doer) -> None:
                there.tell(to_and_fro(back, there))

            return act

        one.tell(to_and_fro(other, one))
        for _ in range(5):
            await asyncio.sleep(0)
        one.kill()
        other.kill()


@pytest.mark.parametrize(("takes", "handlers"), [(2.0, 1), (0.6, 2), (0.3, 4)])
async def test_a_turn_ends_as_soon_as_its_time_is_over(
    engine: AnyEngine,
    doer: AnyKind,
    monkeypatch: pytest.MonkeyPatch,
    takes: float,
    handlers: int,
) -> None:
    """Of handlers that take so many turns each, as many run in one."""
    now = 0.0
    turns: list[int] = []
    monkeypatch.setattr(scheduler, "time", SimpleNamespace(perf_counter=lambda: now))

    def slow(_actor: Doer) -> None:
        nonlocal now
        now += takes * scheduler.TURN
        turns[-1] += 1

    async with engine() as e:
        for ref in [await e.spawn(doer) for _ in range(20)]:
            ref.tell(slow)
        while sum(turns) < 20:
            turns.append(0)
            await asyncio.sleep(0)
        assert max(turns) == handlers
        monkeypatch.undo()


# ----------------------------------------------------------------------------------- nested calls


async def test_a_crash_inside_a_nested_call_ends_the_called_alone(
    engine: AnyEngine, doer: AnyKind
) -> None:
    async with engine() as e:
        one, other = await e.spawn(doer), await e.spawn(doer)

        async def ask(_actor: Doer) -> str:
            with pytest.raises(ValueError, match="no"):
                await other.call(ValueError("no"))
            return "unharmed"

        assert await one.call(ask) == "unharmed"
        assert not other.is_alive()
        assert one.is_alive()


async def test_a_task_of_its_own_may_await_an_actor_while_another_is_inside(
    engine: AnyEngine, doer: AnyKind
) -> None:
    async with engine() as e:
        one, other = await e.spawn(doer), await e.spawn(doer)
        answers = await asyncio.gather(
            *(ref.call(number) for number in range(10) for ref in (one, other))
        )
        assert sorted(answers) == sorted([*range(10), *range(10)])


# ------------------------------------------------------------------------------------------ perform


async def test_an_operation_from_a_thread_brings_back_its_result(
    engine: AnyEngine, threads: Threads
) -> None:
    async with engine() as e:
        assert await threads.run(lambda: e.system.perform(int, "7").get()) == 7
        with pytest.raises(ValueError, match="x"):
            await threads.run(lambda: e.system.perform(int, "x").get())


async def test_a_failing_operation_from_a_thread_stops_no_other(
    engine: AnyEngine, doer: AnyKind, threads: Threads, caplog: pytest.LogCaptureFixture
) -> None:
    async with engine() as e:
        ref = await e.spawn(doer)

        def send() -> None:
            e.system.post(int, "x")
            ref.tell("after")

        await threads.run(send)
        await e.settle()
        assert await ref.call(lambda actor: actor.heard) == ["after"]
    assert "invalid literal" in caplog.text


# -------------------------------------------------------------------------------------------- close


async def test_closing_the_engine_kills_every_actor_and_ends_every_task(
    engine: AnyEngine, kind: AnyKind, doer: AnyKind
) -> None:
    async with engine() as e:
        refs = [await e.spawn(kind) for _ in range(10)]
        waiting = await e.spawn(doer)
        waiting.tell(lambda actor: asyncio.Event().wait())
        await refs[0].call(lambda actor: actor.start_task("wait", asyncio.Event().wait))
        await e.settle()
    assert {ref.reason for ref in (*refs, waiting)} == {KILLED}
    assert e.system.actors == {}
    assert e.system.threads == set()


async def test_closing_twice_is_closing_once(engine: AnyEngine, doer: AnyKind) -> None:
    async with engine() as e:
        await e.spawn(doer)
        await e.system.close()
        await e.system.close()


async def test_actors_that_die_of_the_closing_start_no_others(
    engine: AnyEngine, doer: AnyKind
) -> None:
    """Whoever reacts to a death by starting somebody is told that it is over."""
    async with engine() as e:
        ref = await e.spawn(doer)
        restarted: list[Any] = []
        ref._on_death(lambda *_: restarted.append(e.spawn(doer)))
    with pytest.raises(NodeNotRunning):
        await restarted[0]
    assert e.system.actors == {}


async def test_a_start_that_suspends_fails_when_the_engine_closes(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    class Slow(kind):  # type: ignore[misc, valid-type]
        def on_start(self) -> Any:
            return door.hold(self)

    async with engine() as e:
        starting = e.spawn(Slow)
        await door.reached
        closing = asyncio.ensure_future(e.system.close(grace=20.0))
        with pytest.raises(Exception, match="did not start"):
            await starting
        door.open()
        await closing


def test_a_loop_that_is_gone_refuses_what_threads_send(engine: AnyEngine, doer: AnyKind) -> None:
    """The loop was closed without the engine."""
    loop = asyncio.new_event_loop()
    e = engine()

    async def start() -> Any:
        await e.__aenter__()
        return await e.spawn(doer)

    ref = loop.run_until_complete(start())
    loop.close()
    outcomes: list[Any] = []

    def send() -> None:
        for act in (lambda: ref.tell("hello?"), lambda: ref.ask("hello?")):
            try:
                act()
            except NodeNotRunning as error:
                outcomes.append(error)

    thread = threading.Thread(target=send)
    thread.start()
    thread.join(20)
    assert len(outcomes) == 2
    e.system.closed = True
    e.system.actors.clear()


async def test_a_message_is_handled_without_a_task_or_thread_of_its_own(
    engine: AnyEngine, doer: AnyKind
) -> None:
    async with engine() as e:
        tasks, threads = len(asyncio.all_tasks()), threading.active_count()
        refs = [await e.spawn(doer) for _ in range(1000)]
        for ref in refs:
            ref.tell("hello")
        assert all(ref._box is not None for ref in refs)
        await e.settle()
        assert (len(asyncio.all_tasks()), threading.active_count()) == (tasks, threads)
        assert all(ref._box is None and ref._extra is None for ref in refs)
        assert all(ref.state == "idle" for ref in refs)


async def test_the_time_to_stop_an_actor_does_not_grow_with_their_number(
    engine: AnyEngine, doer: AnyKind
) -> None:
    """Trap of pykka's registry: stopping 20,000 actors took 54 s; generous for busy machines."""
    async with engine() as e:
        refs = [await e.spawn(doer) for _ in range(20_000)]
        before = time.monotonic()
        for ref in refs:
            ref.exit()
        await refs[-1].wait_stopped()
        assert time.monotonic() - before < 20
        with pytest.raises(ActorDead):
            refs[0].tell("hello?")
