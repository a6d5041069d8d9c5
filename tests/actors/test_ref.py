"""What a ref promises its holder: sending, asking, stopping. Both kinds of actor, unless said."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pykka
import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.reply import Reply
from puckstream.actors.signals import KILLED, NORMAL, SHUTDOWN
from puckstream.actors.thread_actor import ThreadActor
from puckstream.errors import (
    CallingSelf,
    CallTimeout,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.actors.conftest import Doer, Door, Engine, Threads

    AnyEngine = type[Engine]
    AnyKind = type[Doer]
    Outcome = Callable[[Reply[Any]], Any]


# ------------------------------------------------------------------------------------------ call


async def test_a_call_that_gets_no_reply_in_time_fails(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    """S49; the actor is not told and goes on, the late reply is dropped."""
    async with engine() as e:
        ref = await e.spawn(kind)
        asked = ref.call(door.hold, timeout=3.0)
        await door.reached
        e.clock.advance(2.9)
        assert not asked.done
        e.clock.advance(0.1)
        with pytest.raises(CallTimeout, match=r"within 3\.0 seconds"):
            await asked
        door.open()
        assert await ref.call("next") == "next"
        with pytest.raises(CallTimeout):
            asked.get()


async def test_a_call_waits_five_seconds_unless_told_otherwise(
    engine: AnyEngine, kind: AnyKind, new_door: type[Door]
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        door = new_door()
        asked, patient = ref.call(door.hold), ref.call("hello", timeout=None)
        await door.reached
        e.clock.advance(4.9)
        assert not asked.done
        e.clock.advance(1000.0)
        with pytest.raises(TimeoutError):
            await asked
        door.open()
        assert await patient == "hello"


async def test_a_call_from_a_thread_has_a_timeout_too(
    engine: AnyEngine, kind: AnyKind, door: Door, threads: Threads
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        asked = await threads.run(ref.call, door.hold, 3.0)
        await door.reached
        await e.settle()
        e.clock.advance(3.0)
        with pytest.raises(CallTimeout):
            await asked
        door.open()


async def test_a_blocking_ask_with_a_timeout_gives_up(
    engine: AnyEngine, kind: AnyKind, door: Door, threads: Threads
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        holding = ref.call(door.hold)
        await door.reached
        with pytest.raises(pykka.Timeout):
            await threads.run(lambda: ref.ask("hello?", timeout=0.01))
        door.open()
        await holding
        assert await ref.call("still here") == "still here"


async def test_cancelling_the_waiter_leaves_the_request_and_the_actor_alone(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        asked = ref.call(door.hold)

        async def wait() -> None:
            await asked

        waiter = asyncio.create_task(wait())
        await door.reached
        await e.settle()
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter
        door.open()
        assert await asked is None
        assert await ref.call("still here") == "still here"


async def test_a_call_works_from_another_thread_and_from_another_loop(
    engine: AnyEngine, kind: AnyKind, threads: Threads
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)

        async def on_another_loop() -> Any:
            assert asyncio.get_running_loop() is not e.system.loop
            return await ref.call("from another loop")

        assert await threads.run(lambda: asyncio.run(on_another_loop())) == "from another loop"
        assert (
            await threads.run(lambda: ref.call("from a thread").get(timeout=20)) == "from a thread"
        )


async def test_an_actor_that_calls_itself_is_told_at_once(engine: AnyEngine, kind: AnyKind) -> None:
    """S50."""
    async with engine() as e:
        ref = await e.spawn(kind)
        with pytest.raises(CallingSelf):
            await ref.call(lambda actor: actor.actor_ref.call("me"))


async def test_an_actor_that_has_suspended_and_calls_itself_is_told_at_once(
    engine: AnyEngine, doer: AnyKind
) -> None:
    async def call_myself(actor: Doer) -> None:
        await asyncio.sleep(0)
        await actor.actor_ref.call("me")

    async with engine() as e:
        ref = await e.spawn(doer)
        with pytest.raises(CallingSelf):
            await ref.call(call_myself)


async def test_a_thread_that_asks_or_stops_its_own_actor_is_told_at_once(
    engine: AnyEngine, thread_doer: AnyKind
) -> None:
    async with engine() as e:
        for act in (
            lambda actor: actor.actor_ref.ask("me"),
            lambda actor: actor.actor_ref.stop(),
        ):
            ref = await e.spawn(thread_doer)
            with pytest.raises(CallingSelf):
                await ref.call(act)


async def test_an_actor_may_call_itself_from_a_task_it_owns(
    engine: AnyEngine, doer: AnyKind
) -> None:
    async with engine() as e:
        heard: list[Any] = []
        ref = await e.spawn(doer, heard)

        async def ask(actor: Doer) -> Any:
            return await actor.actor_ref.call("me")

        await ref.call(lambda actor: actor.start_task("ask", ask, actor))
        await e.settle()
        assert heard == ["me", ("ask", "me")]


async def test_a_function_on_the_reply_may_call_the_actor_that_gives_it(
    engine: AnyEngine, doer: AnyKind, door: Door
) -> None:
    """The function is the asker's code, although the answering actor's turn runs it."""
    async with engine() as e:
        ref = await e.spawn(doer)

        def answer(actor: Doer) -> str:
            return "first"

        holding = ref.call(door.hold)
        await door.reached
        again = ref.call(answer).map(lambda value: (value, ref.call("second")))
        door.open()
        await holding
        first, second = await again
        assert (first, await second) == ("first", "second")


# ---------------------------------------------------------------------------------- control lane


async def test_control_requests_come_before_all_that_is_queued(
    engine: AnyEngine, kind: AnyKind, door: Door, threads: Threads
) -> None:
    async with engine() as e:
        heard: list[Any] = []
        ref = await e.spawn(kind, heard)
        ref.tell(door.hold)
        await door.reached
        for number in range(5):
            ref.tell(number)
        one = ref.call("control", control=True)
        two = await threads.run(lambda: ref.call("from a thread", control=True))
        await e.settle()
        door.open()
        assert (await one, await two) == ("control", "from a thread")
        await ref.call("done")
        assert heard == ["control", "from a thread", 0, 1, 2, 3, 4, "done"]


async def test_a_control_request_wakes_an_idle_actor(engine: AnyEngine, kind: AnyKind) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        assert await ref.call("wake up", control=True) == "wake up"


async def test_a_kill_is_carried_out_ahead_of_two_hundred_queued_messages(
    engine: AnyEngine, kind: AnyKind, door: Door
) -> None:
    """Trap 5."""
    async with engine() as e:
        heard: list[Any] = []
        ref = await e.spawn(kind, heard)
        ref.tell(door.hold)
        await door.reached
        for number in range(200):
            ref.tell(number)
        assert ref.mailbox_length == 200
        ref.kill()
        assert ref.reason == KILLED
        door.open()
        await e.settle()
        assert heard == []
        assert e.system.dead_letters.count == 200
        assert ref.mailbox_length == 0


# ------------------------------------------------------------------------------------------ stop


async def test_a_stop_comes_after_the_messages_sent_before_it(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        heard: list[Any] = []
        ref = await e.spawn(kind, heard)
        for number in range(10):
            ref.tell(number)
        assert await ref.stop(block=False) is True
        assert heard == [*range(10), "on_stop"]
        assert ref.reason == NORMAL
        assert not ref.is_alive()


async def test_a_stop_is_answered_once_the_actor_is_fully_down(
    engine: AnyEngine, doer: AnyKind, door: Door
) -> None:
    """Also for a second one that was waiting in the mailbox, and for one that finds it ending."""

    class Slow(Actor):
        async def on_stop(self) -> None:
            await door.wait()

    async with engine() as e:
        ref = await e.spawn(Slow)
        first, second = ref.stop(block=False), ref.stop(block=False)
        await door.reached
        await e.settle()
        assert (first.done, second.done) == (False, False)
        assert not ref.is_alive()
        door.open()
        assert await first is True
        assert await second is True


async def test_a_blocking_stop_returns_whether_the_actor_was_alive(
    engine: AnyEngine, kind: AnyKind, threads: Threads
) -> None:
    async with engine() as e:
        ref = await e.spawn(kind)
        assert await threads.run(ref.stop) is True
        assert await threads.run(ref.stop) is False


# --------------------------------------------------------------------------------- looking at it


async def test_a_ref_tells_what_its_actor_is_doing(
    engine: AnyEngine, doer: AnyKind, door: Door
) -> None:
    async with engine() as e:
        ref = await e.spawn(doer)
        assert (ref.state, ref.is_alive(), ref.reason) == ("idle", True, None)
        ref.tell(lambda actor: actor.heard.append(actor.actor_ref.state))
        assert (ref.state, ref.mailbox_length) == ("queued", 1)
        assert len(ref.actor_inbox) == 1
        ref.tell(door.hold)
        await door.reached
        assert (ref.state, ref.mailbox_length) == ("waiting", 0)
        ref.exit()
        assert ref.state == "exiting"
        await ref.wait_stopped()
        assert (ref.state, ref.is_alive(), ref.reason) == ("dead", False, SHUTDOWN)


async def test_every_thread_sees_the_same_urn_and_event(
    engine: AnyEngine, kind: AnyKind, threads: Threads
) -> None:
    """Looking at a ref from a thread must not cost the loop its links and monitors."""
    async with engine() as e:
        probe = await e.probe()
        for _ in range(50):
            ref = await e.spawn(kind)
            start = threading.Barrier(3)

            def look(ref: Any = ref, start: Any = start) -> Any:
                start.wait()
                return ref.actor_urn, ref.actor_stopped

            looking = [threads.run(look) for _ in range(2)]
            await asyncio.to_thread(start.wait)
            probe.monitor(ref)
            seen = {await looked for looked in looking}
            assert seen == {(ref.actor_urn, ref.actor_stopped)}
            ref.exit()
            assert (await probe.receive()).ref is ref
            assert ref.actor_stopped.is_set()


async def test_a_ref_is_equal_to_itself_alone_and_names_its_class(
    engine: AnyEngine, kind: AnyKind
) -> None:
    async with engine() as e:
        one, other = await e.spawn(kind), await e.spawn(kind)
        assert one == one  # noqa: PLR0124
        assert one != other
        assert len({one, other, one}) == 2
        assert kind.__name__ in repr(one)
        assert one.id != other.id


async def test_a_proxy_reads_calls_and_sets(engine: AnyEngine, kind: AnyKind) -> None:
    class Counter(kind):  # type: ignore[misc, valid-type]
        count = 1

        def add(self, number: int) -> int:
            self.count += number
            return self.count

    async with engine() as e:
        ref = await e.spawn(Counter)
        proxy: Any = ref.proxy()
        assert await proxy.count == 1
        assert await proxy.add(2) == 3
        proxy.add.defer(4)
        assert await proxy.count == 7


async def test_a_proxy_calls_async_methods(engine: AnyEngine) -> None:
    class Slow(Actor):
        async def double(self, number: int) -> int:
            await asyncio.sleep(0)
            return 2 * number

    async with engine() as e:
        ref = await e.spawn(Slow)
        assert await ref.proxy().double(4) == 8  # type: ignore[misc]


async def test_a_proxy_from_a_thread_may_block(
    engine: AnyEngine, kind: AnyKind, threads: Threads
) -> None:
    class Counter(kind):  # type: ignore[misc, valid-type]
        count = 1

    async with engine() as e:
        ref = await e.spawn(Counter)

        def use() -> Any:
            proxy: Any = ref.proxy()
            proxy.count = 5
            return proxy.count.get()  # pyright: ignore[reportAttributeAccessIssue]  # a proxy gives a reply

        assert await threads.run(use) == 5


async def test_a_thread_actor_answers_in_its_own_thread(engine: AnyEngine) -> None:
    """Also when it is idle, and called on the loop."""

    class Where(ThreadActor):
        def on_receive(self, message: Any) -> Any:
            return threading.get_ident()

    async with engine() as e:
        ref = await e.spawn(Where)
        await ref.call("first")
        assert await ref.call("second") != threading.get_ident()


async def test_stopping_what_is_stopping_is_answered_when_it_is_down(
    engine: AnyEngine, new_door: type[Door]
) -> None:
    door = new_door()

    class Slow(Actor):
        async def on_stop(self) -> None:
            self.own = await self.actor_ref.stop(block=False)
            await door.wait()

    class SlowThread(ThreadActor):
        def on_stop(self) -> None:
            door.block()

    for kind in (Slow, SlowThread):
        door = new_door()
        async with engine() as e:
            ref = await e.spawn(kind)
            first = ref.stop(block=False)
            await door.reached
            second = ref.stop(block=False)
            await e.settle()
            assert not second.done
            door.open()
            assert (await first, await second) == (True, False)
            assert ref.state == "dead"
            assert await ref.stop(block=False) is False


async def test_calling_oneself_is_refused_on_the_control_lane_too(
    engine: AnyEngine, doer: AnyKind
) -> None:
    async def calls(actor: Any) -> None:
        await actor.actor_ref.call("me", control=True)

    async def calls_when_told_to_exit(actor: Any) -> None:
        actor.exit("shutdown")
        await actor.actor_ref.call("me")

    async with engine() as e:
        for handler in (calls, calls_when_told_to_exit):
            ref = await e.spawn(doer)
            with pytest.raises(CallingSelf):
                await ref.call(handler)
