"""W3: round trips inside the loop, one after the other."""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import Any

import pykka

import puckstream as puck
from benchmarks.beam import elixir
from benchmarks.gauge import Stopwatch, on_asyncio
from benchmarks.workload import Sample, Subject, Workload, at_most, faster, reads

__all__ = ["WORKLOAD"]


class Echo(puck.Actor):
    def on_receive(self, message: Any) -> Any:
        return message


async def our_ask(count: int) -> Sample:
    async with puck.Node() as node:
        ref = await node.spawn(Echo)
        watch = Stopwatch()
        for number in range(count):
            await ref.call(number)
        mean = watch.micros(count)
        each: list[float] = []
        for number in range(count):
            begun = time.perf_counter_ns()
            await ref.call(number)
            each.append((time.perf_counter_ns() - begun) / 1e3)
        return {"time": mean, "p50": median(each)}


async def queue_ask(count: int) -> Sample:
    inbox: asyncio.Queue[tuple[int, asyncio.Future[int]]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    async def echo() -> None:
        while True:
            message, answer = await inbox.get()
            answer.set_result(message)

    async def ask(message: int) -> int:
        answer: asyncio.Future[int] = loop.create_future()
        inbox.put_nowait((message, answer))
        return await answer

    task = asyncio.create_task(echo())
    watch = Stopwatch()
    for number in range(count):
        await ask(number)
    sample = {"time": watch.micros(count)}
    task.cancel()
    return sample


class PykkaEcho(pykka.ThreadingActor):
    def on_receive(self, message: Any) -> Any:
        return message


def pykka_ask(count: int) -> Sample:
    ref = PykkaEcho.start()
    watch = Stopwatch()
    for number in range(count):
        ref.ask(number)
    sample = {"time": watch.micros(count)}
    ref.stop()
    return sample


WORKLOAD = Workload(
    name="ask",
    title="W3 ask",
    subjects=(
        Subject("puckstream", lambda count: on_asyncio(lambda: our_ask(count)), 20_000, 1_000),
        Subject("asyncio", lambda count: on_asyncio(lambda: queue_ask(count)), 20_000, 1_000),
        Subject("pykka", pykka_ask, 5_000, 500),
        elixir("ask", 20_000, 5_000),
    ),
    goals=(
        faster("a round trip, against pykka", ours="puckstream", peer="pykka", must=2.3),
        faster(
            "a round trip, against asyncio Queue + Future",
            ours="puckstream",
            peer="asyncio",
            must=1,
            aim=3,
        ),
        reads("a round trip, p50", ours="puckstream", figure="p50", unit="µs", aim=at_most(10)),
        faster("a round trip, against GenServer.call", ours="puckstream", peer="Elixir"),
    ),
)
