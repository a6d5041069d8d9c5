"""Whatever dies, nobody who asked is left without an answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.errors import ActorDead

if TYPE_CHECKING:
    from puckstream.actors.reply import Reply
    from tests.actors.conftest import Engine, Threads

ACTORS = 10_000
ASKS = 100_000
ASKERS = 20
THREADS = 4
OWN = ASKS // (ASKERS + THREADS)
"""Asks of each asker; the first makes up for the remainder."""
BATCH = 500
PATIENCE = 20.0

Verdicts = Counter[str]


class Target(Actor):
    """Answers at once, late, in two steps, by a crash, or never by itself."""

    async def on_receive(self, message: Any) -> Any:
        match message % 16:
            case 0:
                await asyncio.sleep(0)
            case 1:
                self.start_task(f"work {message}", asyncio.sleep, 0) if message % 64 == 1 else None
            case 2 if message % 1024 == 2:
                raise ValueError(message)
            case 3 if message % 256 == 3:
                await asyncio.Event().wait()
            case 4 if message % 512 == 4:
                self.stop()
        return message


def verdict(number: int, reply: Reply[Any], timeout: float | None = 0.0) -> str:
    """Say what has become of an ask; without a timeout it is settled, or forgotten."""
    try:
        return "answered" if reply.get(timeout=timeout) == number else "wrong"
    except ActorDead:
        return "dead"
    except ValueError as error:
        return "crashed" if error.args == (number,) else "wrong"
    except TimeoutError:
        return "forgotten"


class Asker(Actor):
    """Asks random targets, many at a time, and counts what becomes of it."""

    def __init__(self, targets: list[Any], numbers: range, chance: random.Random) -> None:
        super().__init__()
        self.targets, self.numbers, self.chance = targets, numbers, chance

    async def on_receive(self, message: Any) -> Verdicts:
        replies: list[tuple[int, Reply[Any]]] = []
        for number in self.numbers:
            target = self.chance.choice(self.targets)
            replies.append((number, target.call(number, timeout=None)))
            if not number % 50:
                await asyncio.sleep(0)
        verdicts: Verdicts = Counter()
        for number, reply in replies:
            with contextlib.suppress(ActorDead, ValueError):
                await reply
            verdicts[verdict(number, reply)] += 1
        return verdicts


def ask_from_a_thread(targets: list[Any], numbers: range, seed: int) -> Verdicts:
    chance = random.Random(seed)
    verdicts: Verdicts = Counter()
    for start in range(0, len(numbers), BATCH):
        replies: list[tuple[int, Reply[Any]]] = []
        for number in numbers[start : start + BATCH]:
            target = chance.choice(targets)
            if number % 2:
                replies.append((number, target.ask(number, block=False)))
            else:
                replies.append((number, target.call(number, timeout=None)))
        for number, reply in replies:
            verdicts[verdict(number, reply, PATIENCE)] += 1
    return verdicts


async def test_every_ask_is_answered_or_fails_while_ten_thousand_actors_are_killed(
    engine: type[Engine], threads: Threads, caplog: pytest.LogCaptureFixture
) -> None:
    """Asked by actors and by threads; seeded, but threads are what they are."""
    caplog.set_level(logging.CRITICAL)
    chance = random.Random(20_000)
    shares = [range(start, min(start + OWN, ASKS)) for start in range(0, ASKS, OWN)]
    async with engine() as e:
        targets = [await e.spawn(Target) for _ in range(ACTORS)]
        asking = [
            threads.run(ask_from_a_thread, targets, share, seed)
            for seed, share in enumerate(shares[ASKERS:])
        ]
        for seed, share in enumerate(shares[:ASKERS]):
            asker = await e.spawn(Asker, targets, share, random.Random(seed))
            asking.append(asker.call("ask", timeout=None))
        doomed = targets.copy()
        chance.shuffle(doomed)
        for number, victim in enumerate(doomed):
            victim.exit(chance.choice(("kill", "kill", "shutdown", "boom")))
            if not number % 20:
                await asyncio.sleep(0)
        verdicts: Verdicts = Counter()
        for reply in asking:
            verdicts += await reply
        # Those that were told to exit before they suspended for ever are gone as well.
        for target in targets:
            await target.wait_stopped()
        assert verdicts.total() == ASKS
        assert verdicts.keys() - {"crashed"} == {"answered", "dead"}
        await e.settle()
        assert not e.system.zombies
        assert len(e.system.actors) == ASKERS
