"""Locks: mutual exclusion per key, and what becomes of it when somebody dies.

Covers S66.
"""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.registry import Registry
from puckstream.errors import ActorDead
from puckstream.testing.clock import VirtualClock
from puckstream.testing.gate import Gate
from tests.actors.lockers import Locker, Stubborn, Tasks, stage

# ---------------------------------------------------------------------------- mutual exclusion


async def test_one_at_a_time_has_the_key_in_the_order_they_came() -> None:
    async with stage() as here:
        await here.lockers(*range(5))
        assert here.diary == [("in", 0)]
        here.gate.open()
        assert await here.free()
        assert here.diary == [(what, name) for name in range(5) for what in ("in", "out")]


async def test_keys_do_not_meet_nor_do_registries_nor_names() -> None:
    async with stage() as here:
        other = Registry("duplicate", system=here.node.registry.service.system)
        owner = await here.locker("owner")
        await here.registry.register("key", owner)
        async with here.registry.lock("key"), here.registry.lock("other"), other.lock("key"):
            assert here.waiting == 1
            assert here.registry.whereis("key") is owner
        assert await here.free()


async def test_a_free_key_is_had_without_a_turn_of_the_loop() -> None:
    async with stage() as here:
        turns: list[int] = []
        asyncio.get_running_loop().call_soon(turns.append, 1)
        async with here.registry.lock("key"):
            assert turns == []


async def test_one_lock_object_serves_any_number_at_once() -> None:
    async with stage() as here:
        lock, inside, most = here.registry.lock("key"), 0, 0

        async def enter() -> None:
            nonlocal inside, most
            async with lock as entered:
                assert entered is lock
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0)
                inside -= 1

        await asyncio.gather(*(enter() for _ in range(50)))
        assert (inside, most) == (0, 1)
        assert await here.free()
        assert repr(lock) == "<Lock 'key' of the registry>"


async def test_the_tasks_of_one_actor_exclude_each_other() -> None:
    async with stage() as here:
        ref = await here.locker("owner", Tasks)
        ref.tell("start")
        await VirtualClock.settle()
        assert here.diary == [("in", "first")]
        here.gate.release()
        await VirtualClock.settle()
        assert here.diary == [("in", "first"), ("out", "first"), ("in", "second")]
        ref.kill()
        assert await here.free()


# ------------------------------------------------------------------------------- its release


async def test_an_exception_in_the_block_frees_the_key() -> None:
    """And goes on to whom it would have gone to."""
    async with stage() as here:
        ref = await here.locker(0)
        asked = ref.call("raise")
        await here.lockers(1)
        here.gate.open()
        with pytest.raises(LookupError, match="in the block"):
            await asked
        assert await here.free()
        assert here.diary == [("in", 0), ("out", 0), ("in", 1), ("out", 1)]


async def test_a_cancelled_block_frees_the_key() -> None:
    async with stage() as here:
        entered = asyncio.Event()

        async def forever() -> None:
            async with here.registry.lock("key"):
                entered.set()
                await asyncio.Event().wait()

        task = asyncio.ensure_future(forever())
        await entered.wait()
        await here.lockers("next")
        assert here.diary == []
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await VirtualClock.settle()
        assert here.diary == [("in", "next")]


@pytest.mark.parametrize("end", ["kill", "exit"])
async def test_the_death_of_the_holder_frees_the_key(end: str) -> None:
    async with stage() as here:
        holder, _, _ = await here.lockers(0, 1, 2)
        if end == "kill":
            holder.kill()
        else:
            holder.exit("because")
        await VirtualClock.settle()
        assert here.diary == [("in", 0), ("out", 0), ("in", 1)]
        assert here.waiting == 2


async def test_a_killed_holder_that_runs_on_does_not_hold_up_anybody() -> None:
    """Nor does it free, when it ends at last, what is not its own any more."""
    async with stage() as here:
        zombie = await here.locker("zombie", Stubborn)
        zombie.tell("go")
        await VirtualClock.settle()
        zombie._actor.lock = None  # the lock in use is on its stack
        gate, here.gate = here.gate, Gate()
        one, _ = await here.lockers(1, 2)
        assert here.diary == [("in", "zombie")]
        zombie.kill()
        await VirtualClock.settle()
        assert here.diary == [("in", "zombie"), ("in", 1)]
        gate.open()
        await VirtualClock.settle()
        assert here.diary == [("in", "zombie"), ("in", 1), ("out", "zombie")]
        assert (one.is_alive(), here.waiting) == (True, 2)
        here.gate.open()
        assert await here.free()


async def test_a_zombie_that_shares_a_lock_object_frees_nobody_elses() -> None:
    async with stage() as here:
        lock, gate = here.registry.lock("key"), Gate()
        zombie = await here.node.spawn(Stubborn, lock, gate, here.diary, "zombie")
        zombie.tell("go")
        await VirtualClock.settle()
        heir = await here.node.spawn(Locker, lock, here.gate, here.diary, "heir")
        heir.tell("go")
        zombie.kill()
        await VirtualClock.settle()
        gate.open()
        await VirtualClock.settle()
        assert here.diary == [("in", "zombie"), ("in", "heir"), ("out", "zombie")]
        assert here.waiting == 1
        here.gate.open()
        assert await here.free()


async def test_the_death_of_one_who_waits_costs_him_his_place_and_nobody_else_theirs() -> None:
    async with stage() as here:
        _, second, _, fourth = await here.lockers(0, 1, 2, 3)
        second.kill()
        fourth.exit("because")
        await VirtualClock.settle()
        assert here.waiting == 2
        here.gate.open()
        assert await here.free()
        assert here.diary == [("in", 0), ("out", 0), ("in", 2), ("out", 2)]


async def test_who_dies_at_the_moment_it_is_his_turn_passes_it_on() -> None:
    """The key is granted, and its new holder dead before he has gone on."""
    async with stage() as here:
        first, second, _ = await here.lockers(0, 1, 2)
        first.kill()
        second.kill()
        await VirtualClock.settle()
        assert here.diary == [("in", 0), ("out", 0), ("in", 2)]


async def test_who_is_cancelled_at_the_moment_it_is_his_turn_passes_it_on() -> None:
    async with stage() as here:
        lock = here.registry.lock("key")

        async def enter() -> None:
            async with lock:
                pytest.fail("cancelled, and yet inside")

        (first,) = await here.lockers(0)
        task = asyncio.ensure_future(enter())
        await VirtualClock.settle()
        await here.lockers(2)
        first.kill()  # it is the task's turn
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await VirtualClock.settle()
        assert here.diary == [("in", 0), ("out", 0), ("in", 2)]


async def test_the_dead_cannot_lock() -> None:
    """What runs on of a killed actor gets an error, not the key."""
    async with stage() as here:
        gate, errors = Gate(), list[BaseException]()

        class Late(Actor):
            async def on_receive(self, message: Any) -> None:
                try:
                    await gate.wait()
                except asyncio.CancelledError:
                    try:
                        async with here.registry.lock("key"):
                            pytest.fail("locked by the dead")
                    except ActorDead as error:
                        errors.append(error)
                    raise

        ref = await here.node.spawn(Late)
        ref.tell("go")
        await VirtualClock.settle()
        ref.kill()
        await VirtualClock.settle()
        assert [str(ref) in str(error) for error in errors] == [True]
        assert await here.free()


async def test_a_thousand_locks_leave_nothing_behind() -> None:
    """Of an actor that lives on, one note is kept until it ends."""
    async with stage() as here:
        here.gate.open()
        ref = await here.locker(0)
        for _ in range(1000):
            await ref.call("go")
        locks = here.registry.locks
        assert (locks.queues, locks.owners) == ({}, {ref: {}})
        assert len(ref._ensure_extra().on_death) == 1
        ref.kill()
        assert locks.owners == {}
