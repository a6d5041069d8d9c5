"""W10 open: the CPU time to open a stream when 200 are open, and when 5,000 are."""

from __future__ import annotations

import resource
from statistics import median
from typing import Final

import puckstream as puck
from benchmarks.gauge import cpu_seconds, on_asyncio
from benchmarks.model import model
from benchmarks.workload import Sample, Subject, Workload, costs

__all__ = ["WORKLOAD"]

STREAMS: Final = 5_000
BATCH: Final = 50
WINDOW: Final = 8
"""Batches at either end of which the median is taken."""
SPARE_FILES: Final = 200


def files_short() -> str | None:
    """Raise the limit of open files as far as allowed; return why that is too low.

    Processes started later have the raised limit too.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < STREAMS + SPARE_FILES:
        return f"the limit of open files is {hard}"
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return None


async def first_chunk(stream: puck.Stream) -> None:
    async with stream.subscribe() as events:
        async for event in events:
            if event.kind == "content":
                return
    msg = f"{stream} ended before it had a chunk"
    raise RuntimeError(msg)


async def ours(url: str, streams: int) -> Sample:
    client = puck.Client("openai:bench", base_url=url, api_key="", max_connections=streams)
    batches: list[float] = []
    async with puck.Node() as node:
        for _ in range(streams // BATCH):
            begun = cpu_seconds()
            batch = [await node.start_stream(client, "Go on.") for _ in range(BATCH)]
            for stream in batch:
                await first_chunk(stream)
            batches.append((cpu_seconds() - begun) / BATCH * 1e3)
        window = min(WINDOW, len(batches) // 2)
        return {"early": median(batches[:window]), "late": median(batches[-window:])}


def turn(streams: int) -> Sample:
    with model("--text", "one two", "--fault", "stall:1") as url:
        return on_asyncio(lambda: ours(url, streams))


WORKLOAD = Workload(
    name="streams_open",
    title="W10 open",
    rounds=2,
    subjects=(Subject("puckstream", turn, STREAMS, 200, absent=files_short),),
    goals=(
        costs(
            "CPU to open one, at 5,000 against at 200",
            ours="puckstream",
            figure="late",
            peer="puckstream",
            peer_figure="early",
            unit="ms",
            must=1.3,
        ),
    ),
)
