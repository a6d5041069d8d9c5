"""Whatever dies, nobody who asked is left without an answer."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from puckstream.actors.actor import Actor
from puckstream.actors.reply import Reply
from puckstream.errors import ActorDead

if TYPE_CHECKING:
    from tests.actors.conftest import Engine, Threads

ACTORS = 10_000
ASKERS, ASKED_BY_EACH = 4, 15_000
THREADS, ASKED_BY_EACH_THREAD = 4, 10_000
BATCH = 500

Verdicts = Counter[str]


class Echo(Actor):
    """Answers at once."""

    def on_receive(self, message: Any) -> Any:
        return message


class SlowEcho(Actor):
    """Suspends in the middle of every third message."""

    async def on_receive(self, message: Any) -> Any:
        if message % 3 == 0:
            await asyncio.sleep(0)
        return message


class Asker(Actor):
    """Asks targets at random, many at a time, and counts what becomes of it."""

    def __init__(self, targets: list[Any], seed: int) -> None:
        super().__init__()
        self.targets = targets
        self.random = random.Random(seed)
        self.verdicts: Verdicts = Counter()

    async def on_receive(self, message: int) -> Verdicts:
        for start in range(0, message, BATCH):
            numbers = range(start, start + BATCH)
            await asyncio.gather(*map(self.ask, numbers))
        return self.verdicts

    async def ask(self, number: int) -> None:
        reply = self.random.choice(self.targets).call(number, timeout=None)
        try:
            answer = await reply
        except ActorDead:
            self.verdicts["dead"] += 1
        else:
            self.verdicts["answered" if answer == number else "wrong"] += 1


def ask_from_a_thread(targets: list[Any], count: int, seed: int) -> Verdicts:
    chance = random.Random(seed)
    verdicts: Verdicts = Counter()
    for start in range(0, count, BATCH):
        numbers = range(start, start + BATCH)
        replies: list[Reply[Any]] = [
            chance.choice(targets).ask(number, block=False) for number in numbers
        ]
        for number, reply in zip(numbers, replies, strict=True):
            try:
                answer = reply.get(timeout=20)
            except ActorDead:
                verdicts["dead"] += 1
            except TimeoutError:
                verdicts["lost"] += 1
            else:
                verdicts["answered" if answer == number else "wrong"] += 1
    return verdicts


@pytest.mark.parametrize("seed", [1])
async def test_every_ask_is_answered_or_fails_while_ten_thousand_actors_are_killed(
    engine: type[Engine], threads: Threads, caplog: pytest.LogCaptureFixture, seed: int
) -> None:
    caplog.set_level(logging.CRITICAL, "puckstream")
    chance = random.Random(seed)
    async with engine() as e:
        targets = [await e.spawn(chance.choice((Echo, SlowEcho))) for _ in range(ACTORS)]
        askers = [await e.spawn(Asker, targets, seed + number) for number in range(ASKERS)]
        from_threads = [
            threads.run(ask_from_a_thread, targets, ASKED_BY_EACH_THREAD, seed + number)
            for number in range(THREADS)
        ]
        from_actors = [asker.call(ASKED_BY_EACH, timeout=None) for asker in askers]
        doomed = list(targets)
        chance.shuffle(doomed)
        for number, ref in enumerate(doomed):
            ref.exit(chance.choice(("kill", "kill", "shutdown", "boom")))
            if number % 20 == 0:
                await asyncio.sleep(0)
        verdicts: Verdicts = Counter()
        for reply in (*from_actors, *from_threads):
            verdicts += await reply
        assert verdicts.total() == ASKERS * ASKED_BY_EACH + THREADS * ASKED_BY_EACH_THREAD
        assert verdicts.keys() == {"answered", "dead"}
        await e.settle()
        assert not any(ref.is_alive() for ref in targets)
        assert not e.system.zombies
        assert len(e.system.actors) == ASKERS
