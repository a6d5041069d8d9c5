"""W2: one sender, one actor, until every message is handled."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pykka

import puckstream as puck
from benchmarks.beam import elixir
from benchmarks.gauge import Stopwatch, on_asyncio
from benchmarks.workload import Sample, Subject, Workload, faster

__all__ = ["WORKLOAD"]


class Counter(puck.Actor):
    def __init__(self, count: int, done: asyncio.Future[None]) -> None:
        super().__init__()
        self.left = count
        self.done = done

    def on_receive(self, message: Any) -> None:  # noqa: ARG002  # a hook
        self.left -= 1
        if not self.left:
            self.done.set_result(None)


async def our_tell(count: int) -> Sample:
    async with puck.Node() as node:
        done = asyncio.get_running_loop().create_future()
        ref = await node.spawn(Counter, count, done)
        watch = Stopwatch()
        for number in range(count):
            ref.tell(number)
        await done
        return {"time": watch.micros(count)}


async def queue_tell(count: int) -> Sample:
    queue: asyncio.Queue[int] = asyncio.Queue()

    async def counter() -> None:
        left = count
        while left:
            await queue.get()
            left -= 1

    task = asyncio.create_task(counter())
    await asyncio.sleep(0)
    watch = Stopwatch()
    for number in range(count):
        queue.put_nowait(number)
    await task
    return {"time": watch.micros(count)}


class PykkaCounter(pykka.ThreadingActor):
    def __init__(self, count: int, done: threading.Event) -> None:
        super().__init__()
        self.left = count
        self.done = done

    def on_receive(self, message: Any) -> None:  # noqa: ARG002  # a hook
        self.left -= 1
        if not self.left:
            self.done.set()


def pykka_tell(count: int) -> Sample:
    done = threading.Event()
    ref = PykkaCounter.start(count, done)
    watch = Stopwatch()
    for number in range(count):
        ref.tell(number)
    done.wait()
    sample = {"time": watch.micros(count)}
    ref.stop()
    return sample


WORKLOAD = Workload(
    name="tell",
    title="W2 tell",
    subjects=(
        Subject("puckstream", lambda count: on_asyncio(lambda: our_tell(count)), 200_000, 5_000),
        Subject("asyncio", lambda count: on_asyncio(lambda: queue_tell(count)), 200_000, 5_000),
        Subject("pykka", pykka_tell, 50_000, 2_000),
        elixir("tell", 200_000, 20_000),
    ),
    goals=(
        faster("a message, against pykka", ours="puckstream", peer="pykka", must=10),
        faster("a message, against asyncio.Queue", ours="puckstream", peer="asyncio", must=1.3),
        faster("a message, against GenServer.cast", ours="puckstream", peer="Elixir", aim=0.35),
    ),
)
