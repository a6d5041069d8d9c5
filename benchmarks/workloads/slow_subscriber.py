"""One subscriber that takes a second over each event, beside 99 quick ones on one stream.

The latency of the quick ones, from the emit of an event until each has handled it, must be what
it is without the slow one.
"""

from __future__ import annotations

import asyncio
import time
from statistics import median
from typing import Any, Final

import puckstream as puck
from benchmarks.gauge import on_asyncio
from benchmarks.workload import Sample, Subject, Workload, costs

__all__ = ["WORKLOAD"]

QUICK: Final = 99


class Quick(puck.Actor):
    def __init__(self, latencies: list[float]) -> None:
        super().__init__()
        self.latencies = latencies

    def on_receive(self, message: Any) -> None:
        event = message[2]
        if event.kind == "content":
            self.latencies.append(time.perf_counter() - float(event.chunk.content))


class Slow(puck.Actor):
    async def on_receive(self, message: Any) -> None:  # noqa: ARG002  # a hook
        await asyncio.sleep(1.0)


async def ours(events: int, *, slow: bool) -> Sample:
    async def source(emit: Any) -> None:
        for _ in range(events):
            emit(f"{time.perf_counter():.9f}")
            await asyncio.sleep(0)

    latencies: list[float] = []
    async with puck.Node() as node:
        stream = await node.start_stream(source)
        refs = [await node.spawn(Quick, latencies) for _ in range(QUICK)]
        if slow:
            refs.append(await node.spawn(Slow))
        for ref in refs:
            await node.subscribe(stream.id, subscriber=ref)
        await stream.wait()
        while len(latencies) < events * QUICK:  # noqa: ASYNC110  # nothing says so
            await asyncio.sleep(0)
        for ref in refs:
            ref.kill()
    latencies.sort()
    return {"p50": median(latencies) * 1e6, "p99": latencies[len(latencies) * 99 // 100] * 1e6}


def turn(events: int, *, slow: bool) -> Sample:
    return on_asyncio(lambda: ours(events, slow=slow))


WORKLOAD = Workload(
    name="slow_subscriber",
    title="W10 slow subscriber",
    rounds=3,
    subjects=(
        Subject("with a slow one", lambda events: turn(events, slow=True), 10_000, 500),
        Subject("quick ones only", lambda events: turn(events, slow=False), 10_000, 500),
    ),
    goals=tuple(
        costs(
            f"latency of 99 quick ones, {figure}",
            ours="with a slow one",
            peer="quick ones only",
            figure=figure,
            must=2.0,
        )
        for figure in ("p50", "p99")
    ),
)
