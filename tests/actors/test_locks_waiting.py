"""Waiting for a lock: how long, in threads, and over the death of a registry and of a node.

Covers S66.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.locks import Lock
from puckstream.errors import ActorDead, BlockingCall, CallTimeout, InvalidOption, NodeNotRunning
from puckstream.node import Node
from puckstream.testing.clock import VirtualClock
from tests.actors.lockers import PATIENCE, Locker, ThreadLocker, stage

# ------------------------------------------------------------------------------------ timeouts


async def test_one_waits_no_longer_than_one_wants() -> None:
    """A place given up holds up nobody."""
    async with stage() as here:
        await here.lockers(0)
        impatient = await here.locker("impatient", timeout=2.0)
        asked = impatient.call("go", timeout=None)
        await here.lockers(1)
        here.clock.advance(1.9)
        await VirtualClock.settle()
        assert not asked.done
        here.clock.advance(0.2)
        with pytest.raises(CallTimeout, match=r"'key' was not free within 2\.0 seconds"):
            await asked
        here.gate.open()
        assert await here.free()
        assert here.diary == [("in", 0), ("out", 0), ("in", 1), ("out", 1)]


async def test_who_gives_up_leaves_no_timer_behind() -> None:
    async with stage() as here:
        await here.lockers(0)
        before = here.clock.delays
        waiting = asyncio.ensure_future(enter(here.registry.lock("key", timeout=60.0)))
        await VirtualClock.settle()
        assert len(here.clock.delays) == len(before) + 1
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        assert here.clock.delays == before


async def test_a_timeout_counts_the_waiting_and_not_the_block() -> None:
    async with stage() as here:
        ref = await here.locker("patient", timeout=2.0)
        asked = ref.call("go", timeout=None)
        waiting = (await here.locker("next", timeout=60.0)).call("go", timeout=None)
        await VirtualClock.settle()
        here.clock.advance(50.0)
        here.gate.open()
        assert await asyncio.gather(*(settled(reply) for reply in (asked, waiting))) == [
            "patient",
            "next",
        ]
        here.clock.advance(50.0)
        assert await here.free()


async def settled(reply: Any) -> Any:
    return await reply


@pytest.mark.parametrize("wrong", [-1, float("inf"), float("nan"), True, "1"])
async def test_an_impossible_timeout_is_refused(wrong: Any) -> None:
    async with stage() as here:
        with pytest.raises(InvalidOption, match="timeout="):
            here.registry.lock("key", timeout=wrong)


async def test_who_asks_again_for_what_he_holds_waits_for_his_timeout() -> None:
    """Not reentrant."""
    async with stage() as here:
        async with here.registry.lock("key"):
            again = asyncio.ensure_future(enter(here.registry.lock("key", timeout=1.0)))
            await VirtualClock.settle()
            here.clock.advance(1.0)
            with pytest.raises(CallTimeout):
                await again
        assert await here.free()


async def enter(lock: Lock) -> None:
    async with lock:
        pass


# ------------------------------------------------------------------------------------- threads


async def test_threads_tasks_and_actors_exclude_each_other() -> None:
    async with stage() as here:
        inside, most, lock = 0, 0, here.registry.lock("key")

        def work() -> None:
            nonlocal inside, most
            for _ in range(20):
                with lock:
                    inside += 1
                    most = max(most, inside)
                    inside -= 1

        async def task() -> None:
            nonlocal inside, most
            for _ in range(20):
                async with lock:
                    inside += 1
                    most = max(most, inside)
                    await asyncio.sleep(0)
                    inside -= 1

        threads = (asyncio.to_thread(work) for _ in range(3))
        await asyncio.gather(task(), *threads, task())
        assert (inside, most) == (0, 1)
        assert await here.free()


async def test_a_thread_gets_the_exception_of_its_block_and_the_key_is_free() -> None:
    async with stage() as here:

        def work() -> None:
            with pytest.raises(LookupError), here.registry.lock("key"):
                raise LookupError

        await asyncio.to_thread(work)
        assert await here.free()


async def test_a_thread_waits_no_longer_than_it_wants() -> None:
    async with stage() as here:
        await here.lockers(0)

        def work() -> None:
            with pytest.raises(CallTimeout), here.registry.lock("key", timeout=0):
                pytest.fail("locked")

        waiting = asyncio.ensure_future(asyncio.to_thread(work))
        while here.waiting < 2:
            await asyncio.sleep(0)
        here.clock.advance(0.0)
        await waiting
        assert here.waiting == 1


async def test_a_loop_is_never_blocked_by_a_lock() -> None:
    async with stage() as here:
        with pytest.raises(BlockingCall, match="async with"), here.registry.lock("key"):
            pytest.fail("locked")
        assert await here.free()


async def test_the_death_of_a_threads_actor_frees_the_key() -> None:
    """Its thread cannot be stopped, and runs on, but it holds up nobody."""
    async with stage() as here:
        entered, leave = threading.Event(), threading.Event()
        try:
            holder = await here.node.spawn(ThreadLocker, here.registry.lock("key"), entered, leave)
            holder.tell("go")
            assert await asyncio.to_thread(entered.wait, PATIENCE)
            waiting = await here.node.spawn(ThreadLocker, here.registry.lock("key"), entered, leave)
            asked = waiting.call("go", timeout=None)
            await here.lockers("next")
            waiting.kill()
            with pytest.raises(ActorDead):
                await asked
            assert here.diary == []
            holder.kill()
            await VirtualClock.settle()
            assert here.diary == [("in", "next")]
        finally:
            leave.set()
        here.gate.open()
        while here.node.registry.service.system.zombies:
            await asyncio.sleep(0)
        assert await here.free()


async def test_nothing_is_granted_to_the_dead_while_they_leave() -> None:
    """One thread of an actor holds the key, another waits for it, when the actor is killed."""
    async with stage() as here:
        leave, entered = threading.Event(), list[str]()

        class TwoThreads(Actor):
            def on_receive(self, message: Any) -> None:
                self.start_task(message, self.run, message)

            async def run(self, name: str) -> None:
                await self.run_in_thread(self.work, name)

            def work(self, name: str) -> None:
                with contextlib.suppress(ActorDead), here.registry.lock("key"):
                    entered.append(name)
                    assert leave.wait(PATIENCE)

        try:
            ref = await here.node.spawn(TwoThreads)
            for count, name in enumerate(("first", "second"), start=1):
                ref.tell(name)
                while here.waiting < count or not entered:
                    await asyncio.sleep(0)
            await here.lockers("next")
            ref.kill()
            await VirtualClock.settle()
            assert (entered, here.diary) == (["first"], [("in", "next")])
        finally:
            leave.set()
        here.gate.open()
        assert await here.free()
        await here.registry.service.system.run_in_thread(leave.wait)
        assert entered == ["first"]


# ---------------------------------------------------------------------------------- the node


async def test_locks_survive_the_death_of_the_registrys_actor() -> None:
    """The holder holds, who waits waits, in the same order."""
    async with stage() as here:
        await here.lockers(0, 1)
        for _ in range(2):
            keeper: Any = here.node.whereis_child("registry")
            keeper.kill()
            assert here.waiting == 2
            await keeper.wait_stopped()
            await VirtualClock.settle()
        await here.lockers(2)
        assert here.diary == [("in", 0)]
        here.gate.open()
        assert await here.free()
        assert [name for what, name in here.diary if what == "in"] == [0, 1, 2]


async def test_who_waits_when_the_node_shuts_down_is_told_so() -> None:
    """And who holds a lock by then is not disturbed by it."""
    async with Node() as node:
        lock, entered = node.registry.lock("key"), asyncio.Event()
        shut_down = asyncio.Event()

        async def hold() -> None:
            async with lock:
                entered.set()
                await shut_down.wait()

        holding = asyncio.ensure_future(hold())
        await entered.wait()
        waiting = asyncio.ensure_future(enter(node.registry.lock("key")))
        thread = asyncio.ensure_future(asyncio.to_thread(lock.__enter__))
        while len(node.registry.locks.queues["key"]) < 3:
            await asyncio.sleep(0)
    for each in (waiting, thread):
        with pytest.raises(NodeNotRunning):
            await each
    shut_down.set()
    await holding
    with pytest.raises(NodeNotRunning):
        await enter(lock)


async def test_an_actor_of_another_node_is_refused() -> None:
    async with stage() as here, stage() as there:
        stranger = await there.node.spawn(
            Locker, here.registry.lock("key"), here.gate, here.diary, "stranger"
        )
        with pytest.raises(InvalidOption, match="another"):
            await stranger.call("go")
