"""Locks under random requests, kills, exits, cancellations, timeouts and threads.

Covers S66.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from typing import Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.locks import Lock
from puckstream.actors.scheduler import CURRENT
from puckstream.errors import PuckstreamError
from puckstream.node import Node
from puckstream.testing.clock import VirtualClock

STEPS = 300
KEYS = ("a", "b")


class Visitor(Actor):
    """Enters where it is told to, in its handler or in a task of its own."""

    def __init__(self, house: House) -> None:
        super().__init__()
        self.house = house

    async def on_receive(self, message: Any) -> None:
        match message:
            case ("visit", key, number, lock):
                await self.house.visit(key, number, lock)
            case ("task", key, number, lock):
                self.start_task(str(number), self.house.visit, key, number, lock)


class House:
    """Who asked for which key, who got it, and who is inside."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.asked: dict[str, list[int]] = {key: [] for key in KEYS}
        self.entered: dict[str, list[int]] = {key: [] for key in KEYS}
        self.inside: dict[str, dict[int, Any]] = {key: {} for key in KEYS}
        self.crowded: list[Any] = []

    async def visit(self, key: str, number: int, lock: Lock) -> None:
        with contextlib.suppress(PuckstreamError):
            self.asked[key].append(number)
            async with lock:
                self.enter(key, number)
                try:
                    for _ in range(self.chance.randrange(4)):
                        await asyncio.sleep(0)
                    if self.chance.random() < 0.1:
                        raise PuckstreamError("out of the window")
                finally:
                    del self.inside[key][number]

    def enter(self, key: str, number: int) -> None:
        self.entered[key].append(number)
        # One that was killed may still be on its way out; it does not count.
        others = [ref for ref in self.inside[key].values() if ref is None or ref.is_alive()]
        if others:
            self.crowded.append((key, number, others))
        self.inside[key][number] = CURRENT.get()


@pytest.mark.parametrize("seed", range(12))
async def test_no_schedule_of_faults_lets_two_in_or_leaves_one_out(seed: int) -> None:
    """And all get their turn in the order in which they asked, but those who did not wait."""
    chance = random.Random(seed)
    house, clock, tasks = House(chance), VirtualClock(), list[asyncio.Future[None]]()
    visitors: list[Any] = []
    async with Node(clock=clock) as node:
        for number in range(STEPS):
            while len(visitors) < 4:
                visitors.append(await node.spawn(Visitor, house))
            key, visitor = chance.choice(KEYS), chance.choice(visitors)
            lock = node.registry.lock(key, timeout=chance.choice((None, 1.0)))
            match chance.randrange(10):
                case 0 | 1 | 2:
                    visitor.tell(("visit", key, number, lock))
                case 3 | 4:
                    visitor.tell(("task", key, number, lock))
                case 5 | 6:
                    tasks.append(asyncio.ensure_future(house.visit(key, number, lock)))
                case 7 if tasks:
                    chance.choice(tasks).cancel()
                case 8:
                    visitor.exit(chance.choice(("kill", "because")))
                    visitors.remove(visitor)
                case _:
                    clock.advance(chance.choice((0.3, 1.0)))
            for _ in range(chance.randrange(3)):
                await asyncio.sleep(0)
        await asyncio.gather(*tasks, return_exceptions=True)
        await VirtualClock.settle()
        assert node.registry.locks.queues == {}
        assert {ref.is_alive() for ref in node.registry.locks.owners} <= {True}
    assert house.crowded == []
    assert house.inside == {key: {} for key in KEYS}
    for key in KEYS:
        order = [number for number in house.asked[key] if number in set(house.entered[key])]
        assert house.entered[key] == order
        assert len(order) > STEPS / 10


async def test_threads_and_loops_that_come_and_go_leave_the_lock_free() -> None:
    """From three threads and a loop of somebody else's, with errors in the blocks."""
    async with Node() as node:
        lock, inside, most = node.registry.lock("key"), 0, 0

        def enter(seed: int) -> None:
            nonlocal inside, most
            inside += 1
            most = max(most, inside)
            inside -= 1
            if seed % 3 == 0:
                raise LookupError

        def thread(seed: int) -> None:
            for number in range(30):
                with contextlib.suppress(LookupError), lock:
                    enter(seed + number)

        async def elsewhere() -> None:
            for number in range(30):
                with contextlib.suppress(LookupError, TimeoutError):
                    async with asyncio.timeout(number % 2 * 10 or None), lock:
                        enter(number)

        loops = [asyncio.to_thread(asyncio.run, elsewhere()) for _ in range(2)]
        await asyncio.gather(*(asyncio.to_thread(thread, seed) for seed in range(3)), *loops)
        await VirtualClock.settle()
        assert (inside, most, node.registry.locks.queues) == (0, 1, {})
