"""Wj cancel: from the cancel of one of 5,000 open streams until its connection is closed."""

from __future__ import annotations

from typing import Final

import puckstream as puck
from benchmarks.gauge import Stopwatch, on_asyncio
from benchmarks.model import model
from benchmarks.workload import Sample, Subject, Workload, at_most, reads
from benchmarks.workloads.streams_open import BATCH, files_short, first_chunk

__all__ = ["WORKLOAD"]

STREAMS: Final = 5_000
CANCELS: Final = 200
"""At most; fewer where there are not five times as many streams."""


async def ours(url: str, streams: int) -> Sample:
    client = puck.Client("openai:bench", base_url=url, api_key="", max_connections=streams)
    cancels = min(CANCELS, streams // 5)
    async with puck.Node() as node:
        opened: list[puck.Stream] = []
        for _ in range(streams // BATCH):
            batch = [await node.start_stream(client, "Go on.") for _ in range(BATCH)]
            for stream in batch:
                await first_chunk(stream)
            opened += batch
        times: list[float] = []
        for stream in opened[:: len(opened) // cancels][:cancels]:
            watch = Stopwatch()
            outcome = await stream.cancel(wait=True)
            times.append(watch.seconds() * 1e3)
            assert outcome == "cancelled"
        times.sort()
        return {"p50": times[len(times) // 2], "p99": times[len(times) * 99 // 100]}


def turn(streams: int) -> Sample:
    with model("--text", "one two", "--fault", "stall:1") as url:
        return on_asyncio(lambda: ours(url, streams))


WORKLOAD = Workload(
    name="cancel",
    title="Wj cancel",
    rounds=2,
    subjects=(Subject("puckstream", turn, STREAMS, 200, absent=files_short),),
    goals=(
        reads(
            "to closed connection, one of 5,000, p99",
            ours="puckstream",
            figure="p99",
            unit="ms",
            must=at_most(20),
        ),
        reads(
            "to closed connection, one of 5,000, p50", ours="puckstream", figure="p50", unit="ms"
        ),
    ),
)
