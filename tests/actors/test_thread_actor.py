"""What only an actor with a thread does; the rest it shares with `Actor`, and so its tests."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors.signals import KILLED, NORMAL, SHUTDOWN, Crash
from puckstream.actors.thread_actor import ThreadActor
from puckstream.errors import ActorDead, StartFailed

if TYPE_CHECKING:
    from tests.actors.conftest import Doer, Door, Engine, Threads

    AnyEngine = type[Engine]
    AnyKind = type[Doer]


async def test_every_hook_and_handler_runs_in_the_one_thread(engine: AnyEngine) -> None:
    seen: list[int] = []

    class Where(ThreadActor):
        def on_start(self) -> None:
            seen.append(threading.get_ident())

        def on_receive(self, message: Any) -> None:
            seen.append(threading.get_ident())

        def on_stop(self) -> None:
            seen.append(threading.get_ident())

    async with engine() as e:
        ref = await e.spawn(Where)
        ref.tell("told")
        await ref.call("called when idle")
        await ref.call("by the control lane", control=True)
        await ref.stop(block=False)
        assert len(seen) == 5
        assert len(set(seen)) == 1
        assert seen[0] != threading.get_ident()


async def test_the_thread_is_named_after_the_actor_and_ends_with_it(
    engine: AnyEngine, thread_doer: AnyKind
) -> None:
    async with engine() as e:
        ref = await e.spawn(thread_doer)
        thread = await ref.call(lambda _: [threading.current_thread()])
        assert thread[0].name == f"ThreadDoer-{ref.id}"
        assert not thread[0].daemon
        ref.exit()
        await ref.wait_stopped()
        thread[0].join(20)
        assert not thread[0].is_alive()
        assert e.system.threads == set()


async def test_a_thread_may_be_cut_off_at_the_end_of_the_program(
    engine: AnyEngine, thread_doer: AnyKind
) -> None:
    async with engine() as e:
        ref = await e.spawn(type("Daemon", (thread_doer,), {"use_daemon_thread": True}))
        assert await ref.call(lambda _: threading.current_thread().daemon) is True


@pytest.mark.parametrize("hook", ["on_start", "on_receive", "on_stop", "on_failure"])
async def test_an_async_hook_or_handler_is_a_clear_error(engine: AnyEngine, hook: str) -> None:
    async def method(_self: Any, *_args: Any) -> None: ...

    def fail(_self: Any, _message: Any) -> None:
        raise ValueError

    namespace: dict[str, Any] = {"on_receive": fail, hook: method}
    async with engine() as e:
        starting = e.spawn(type("Mistaken", (ThreadActor,), namespace))
        if hook == "on_start":
            with pytest.raises(StartFailed, match="plain functions, not 'async def'"):
                await starting
            return
        ref = await starting
        if hook == "on_receive":
            with pytest.raises(TypeError, match="plain functions, not 'async def'"):
                await ref.call("hello")
        elif hook == "on_stop":
            await ref.stop(block=False)
            reason = ref.reason
            assert isinstance(reason, Crash)
            assert isinstance(reason.error, TypeError)
        else:
            ref.tell("fail")
            reason = await ref.wait_stopped()
            assert isinstance(reason, Crash)
            assert isinstance(reason.error, ValueError)


async def test_killing_a_blocked_thread_tells_everybody_at_once(
    engine: AnyEngine, thread_doer: AnyKind, door: Door
) -> None:
    """The thread is a zombie until it returns: seen in the engine, and by no one else."""
    async with engine() as e:
        probe, ref = await e.probe(), await e.spawn(thread_doer)
        probe.monitor(ref)
        probe.link(ref)
        handled, queued = ref.call(door.hold), ref.call("queued")
        await door.reached
        ref.tell("lost")
        stopping = ref.stop(block=False)
        ref.kill()
        assert (await probe.receive()).reason == KILLED
        assert (await probe.receive()).reason == KILLED
        for reply in (handled, queued):
            with pytest.raises(ActorDead):
                await reply
        await stopping
        with pytest.raises(ActorDead):
            ref.tell("too late")
        assert list(e.system.zombies.values()) == [ref]
        assert e.system.dead_letters.count == 1
        (thread,) = e.system.zombies
        door.open()
        thread.join(20)  # type: ignore[attr-defined]
        assert e.system.zombies == {}
        assert ref.reason == KILLED


async def test_an_exit_of_a_blocked_thread_waits_for_it_and_a_kill_then_does_not(
    engine: AnyEngine, thread_doer: AnyKind, door: Door
) -> None:
    async with engine() as e:
        ref = await e.spawn(thread_doer)
        ref.tell(door.hold)
        await door.reached
        ref.exit()
        await e.settle()
        assert ref.state == "exiting"
        ref.kill()
        assert ref.reason == KILLED
        door.open()


async def test_a_zombie_thread_that_raises_or_answers_changes_nothing(
    engine: AnyEngine, thread_doer: AnyKind, new_door: type[Door]
) -> None:
    async with engine() as e:
        for outcome in (ValueError("late"), "late"):
            door = new_door()

            def act(_: Any, door: Door = door, outcome: Any = outcome) -> Any:
                door.block()
                if isinstance(outcome, Exception):
                    raise outcome
                return outcome

            ref = await e.spawn(thread_doer)
            asked = ref.call(act)
            await door.reached
            ref.kill()
            (thread,) = e.system.zombies
            door.open()
            thread.join(20)  # type: ignore[attr-defined]
            assert ref.reason == KILLED
            with pytest.raises(ActorDead):
                await asked


async def test_an_actor_killed_while_its_on_stop_blocks_is_dead_at_once(
    engine: AnyEngine, door: Door
) -> None:
    class Slow(ThreadActor):
        def on_stop(self) -> None:
            door.block()

    async with engine() as e:
        ref = await e.spawn(Slow)
        stopped = ref.stop(block=False)
        await door.reached
        ref.kill()
        assert await stopped is True
        assert ref.reason == KILLED
        door.open()


async def test_an_actor_killed_while_its_on_start_blocks_is_dead_at_once(
    engine: AnyEngine, door: Door
) -> None:
    class Slow(ThreadActor):
        def on_start(self) -> None:
            door.block()

        def on_receive(self, message: Any) -> None:
            pytest.fail("a killed actor has handled a message")

    async with engine() as e:
        starting = e.spawn(Slow)
        await door.reached
        (ref,) = e.system.actors.values()
        ref.tell("never")
        ref.kill()
        with pytest.raises(StartFailed, match="killed"):
            await starting
        (thread,) = e.system.zombies
        door.open()
        thread.join(20)  # type: ignore[attr-defined]


async def test_closing_the_engine_waits_for_threads_as_long_as_it_is_told_to(
    engine: AnyEngine, thread_doer: AnyKind, door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    e = engine()
    await e.__aenter__()
    ref = await e.spawn(thread_doer)
    ref.tell(door.hold)
    await door.reached
    before = time.monotonic()
    await e.system.close(grace=0.0)
    assert time.monotonic() - before < 10
    assert "still runs" in caplog.text
    door.open()


async def test_a_stop_sent_by_the_actor_itself_comes_after_what_it_has_got(
    engine: AnyEngine, thread_doer: AnyKind, door: Door
) -> None:
    async with engine() as e:
        heard: list[Any] = []
        ref = await e.spawn(thread_doer, heard)

        def stop(actor: Doer) -> None:
            door.block()
            actor.stop()

        ref.tell(stop)
        await door.reached
        ref.tell("queued")
        door.open()
        assert await ref.wait_stopped() == NORMAL
        assert heard == ["queued", "on_stop"]


async def test_exits_from_every_side_end_an_actor_once(
    engine: AnyEngine, thread_doer: AnyKind, threads: Threads
) -> None:
    """Stop, exit, crash and kill at the same moment: one end, told once."""
    async with engine() as e:
        probe = await e.probe()
        for _ in range(30):
            ref = await e.spawn(thread_doer)
            number = probe.monitor(ref)
            start = threading.Barrier(4)

            def end(how: Any, start: Any = start) -> None:
                start.wait()
                how()

            def crash(ref: Any = ref) -> None:
                ref.ask(ValueError("crash"), block=False)

            ending = [
                threads.run(end, how)
                for how in (lambda ref=ref: ref.stop(block=False), ref.exit, ref.kill, crash)
            ]
            for ended in ending:
                await ended
            down = await probe.receive()
            assert (down.monitor, down.reason) == (number, ref.reason)
            assert down.reason in (NORMAL, SHUTDOWN, KILLED) or isinstance(down.reason, Crash)
        await probe.no_message()
