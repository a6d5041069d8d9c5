"""W4: one publisher, 1,000 subscribers, through PubSub.

In two ways. *One by one*: an event is published when all have handled the one before, as with the
chunks of a model, which come further apart than they take to deliver. *In a burst*: all events
are published at once, and handled in batches.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any, Final

import pykka

import puckstream as puck
from benchmarks.beam import elixir
from benchmarks.gauge import Stopwatch, on_asyncio
from benchmarks.workload import Sample, Subject, Workload, faster

__all__ = ["WORKLOAD"]

SUBSCRIBERS: Final = 1_000


class Tally:
    """Counts deliveries down, and says when all are there."""

    def __init__(self) -> None:
        self.left = 0
        self.tell: Callable[[], object] = lambda: None

    def expect(self, deliveries: int) -> asyncio.Future[None]:
        """Return a future that is done after ``deliveries``."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.left = deliveries
        self.tell = lambda: done.set_result(None)
        return done

    def count(self) -> None:
        """Count one delivery."""
        self.left -= 1
        if not self.left:
            self.tell()


class Subscriber(puck.Actor):
    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self.tally = tally

    def on_receive(self, message: Any) -> None:  # noqa: ARG002  # a hook
        self.tally.count()


async def ours(events: int, batch: int) -> Sample:
    tally = Tally()
    async with puck.Node() as node:
        for _ in range(SUBSCRIBERS):
            await node.pubsub.subscribe("news", await node.spawn(Subscriber, tally))
        watch = Stopwatch()
        for first in range(0, events, batch):
            done = tally.expect(SUBSCRIBERS * batch)
            for number in range(first, first + batch):
                node.broadcast("news", number)
            await done
        return {"time": watch.micros(events * SUBSCRIBERS)}


async def queues(events: int, batch: int) -> Sample:
    tally = Tally()
    inboxes: list[asyncio.Queue[int]] = [asyncio.Queue() for _ in range(SUBSCRIBERS)]

    async def subscriber(inbox: asyncio.Queue[int]) -> None:
        while True:
            await inbox.get()
            tally.count()

    tasks = [asyncio.create_task(subscriber(inbox)) for inbox in inboxes]
    await asyncio.sleep(0)
    watch = Stopwatch()
    for first in range(0, events, batch):
        done = tally.expect(SUBSCRIBERS * batch)
        for number in range(first, first + batch):
            for inbox in inboxes:
                inbox.put_nowait(number)
        await done
    sample = {"time": watch.micros(events * SUBSCRIBERS)}
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    return sample


class PykkaSubscriber(pykka.ThreadingActor):
    def __init__(self, events: int, done: threading.Semaphore) -> None:
        super().__init__()
        self.left = events
        self.done = done

    def on_receive(self, message: Any) -> None:  # noqa: ARG002  # a hook
        self.left -= 1
        if not self.left:
            self.done.release()


def pykka_tells(events: int) -> Sample:
    done = threading.Semaphore(0)
    refs = [PykkaSubscriber.start(events, done) for _ in range(SUBSCRIBERS)]
    watch = Stopwatch()
    for number in range(events):
        for ref in refs:
            ref.tell(number)
    for _ in refs:
        done.acquire()
    sample = {"time": watch.micros(events * SUBSCRIBERS)}
    pykka.get_all([ref.stop(block=False) for ref in refs])
    return sample


WORKLOAD = Workload(
    name="fan_out",
    title="W4 fan-out",
    rounds=3,
    subjects=(
        Subject("puckstream", lambda events: on_asyncio(lambda: ours(events, 1)), 200, 5),
        Subject("asyncio", lambda events: on_asyncio(lambda: queues(events, 1)), 200, 5),
        Subject("pykka", pykka_tells, 10, 1),
        elixir("fan_out", 200, 10),
        Subject(
            "puckstream, burst", lambda events: on_asyncio(lambda: ours(events, events)), 200, 5
        ),
        Subject(
            "asyncio, burst", lambda events: on_asyncio(lambda: queues(events, events)), 200, 5
        ),
        elixir("fan_out_burst", 200, 10, "Elixir, burst"),
    ),
    goals=(
        faster("a delivery, against pykka tells", ours="puckstream", peer="pykka", must=30),
        faster("a delivery, against asyncio.Queue", ours="puckstream", peer="asyncio", must=7),
        faster(
            "a delivery, against Registry.dispatch",
            ours="puckstream",
            peer="Elixir",
            must=0.6,
            aim=1.0,
        ),
        faster(
            "a delivery in a burst, against asyncio.Queue",
            ours="puckstream, burst",
            peer="asyncio, burst",
        ),
        faster(
            "a delivery in a burst, against Registry.dispatch",
            ours="puckstream, burst",
            peer="Elixir, burst",
        ),
    ),
)
