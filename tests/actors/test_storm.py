"""The acceptance of the engine: no ask is forgotten, whatever dies meanwhile."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.errors import PuckstreamError

if TYPE_CHECKING:
    from puckstream.actors.reply import Reply
    from tests.actors.conftest import Engine, Threads

    AnyEngine = type[Engine]

ACTORS = 10_000
ASKS = 100_000
ASKERS = 20
THREADS = 4
OWN = ASKS // (ASKERS + THREADS)
"""Asks of each asker; the first makes up for the remainder."""


class Target(Actor):
    """Answers at once, late, in two steps, by a crash, or never by itself."""

    async def on_receive(self, message: Any) -> Any:
        match message % 16:
            case 0:
                await asyncio.sleep(0)
            case 1:
                self.start_task("work", asyncio.sleep, 0) if message % 64 == 1 else None
            case 2 if message % 1024 == 2:
                raise ValueError(message)
            case 3 if message % 256 == 3:
                await asyncio.Event().wait()
            case 4 if message % 512 == 4:
                self.stop()
        return message


class Asker(Actor):
    """Asks random targets, and keeps every reply."""

    def __init__(self, targets: list[Any], numbers: range, chance: random.Random) -> None:
        super().__init__()
        self.targets, self.numbers, self.chance = targets, iter(numbers), chance
        self.replies: list[tuple[int, Reply[Any]]] = []

    async def on_receive(self, message: Any) -> Any:
        for number in self.numbers:
            target = self.chance.choice(self.targets)
            self.replies.append((number, target.call(number, timeout=None)))
            if not number % 50:
                await asyncio.sleep(0)
        return self.replies


async def test_100_000_asks_are_answered_while_10_000_actors_are_killed_at_random(
    engine: AnyEngine, threads: Threads, caplog: pytest.LogCaptureFixture
) -> None:
    """Asked by actors and by threads; seeded, but threads are what they are."""
    caplog.set_level(logging.CRITICAL)
    chance = random.Random(20_000)
    async with engine() as e:
        targets = [await e.spawn(Target) for _ in range(ACTORS)]
        shares = [range(start, min(start + OWN, ASKS)) for start in range(0, ASKS, OWN)]

        def ask(numbers: range, seed: int) -> list[tuple[int, Reply[Any]]]:
            chance = random.Random(seed)
            replies: list[tuple[int, Reply[Any]]] = []
            for number in numbers:
                target = chance.choice(targets)
                if number % 2:
                    replies.append((number, target.ask(number, block=False)))
                else:
                    replies.append((number, target.call(number, timeout=None)))
            return replies

        asking = [threads.run(ask, share, seed) for seed, share in enumerate(shares[ASKERS:])]
        askers = [
            await e.spawn(Asker, targets, share, random.Random(seed))
            for seed, share in enumerate(shares[:ASKERS])
        ]
        asking += [asker.call("ask", timeout=None) for asker in askers]

        doomed = targets.copy()
        chance.shuffle(doomed)
        for number, victim in enumerate(doomed):
            victim.kill() if chance.random() < 0.8 else victim.exit("storm")
            if not number % 20:
                await asyncio.sleep(0)
        asked = [reply for replies in asking for reply in await replies]
        # Those that were told to exit before they suspended for ever are gone as well.
        for target in targets:
            await target.wait_stopped()

        assert len(asked) == ASKS
        answered = failed = 0
        for number, reply in asked:
            assert reply.done, "forgotten"
            try:
                assert reply.get() == number
                answered += 1
            except (PuckstreamError, ValueError):
                failed += 1
        assert answered > 0
        assert failed > 0
        assert answered + failed == ASKS
        await e.settle()
        assert len(e.system.actors) == ASKERS
        assert e.system.zombies == {}
