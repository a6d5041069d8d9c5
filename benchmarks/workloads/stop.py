"""W1 stop: the mass stop of a dynamic supervisor, per actor, at 10,000 and at 100,000."""

from __future__ import annotations

from benchmarks.gauge import on_asyncio
from benchmarks.idle import our_life
from benchmarks.workload import Subject, Workload, at_least, costs, reads

__all__ = ["WORKLOAD"]

WORKLOAD = Workload(
    name="stop",
    title="W1 stop",
    fresh=True,
    subjects=(
        Subject("puckstream 10k", lambda count: on_asyncio(lambda: our_life(count)), 10_000, 500),
        Subject("puckstream 100k", lambda count: on_asyncio(lambda: our_life(count)), 100_000, 500),
    ),
    goals=(
        reads(
            "stopped in a second, of 10,000",
            ours="puckstream 10k",
            figure="stops",
            unit="/s",
            must=at_least(100_000),
        ),
        reads(
            "stopped in a second, of 100,000",
            ours="puckstream 100k",
            figure="stops",
            unit="/s",
            must=at_least(100_000),
        ),
        costs(
            "one of 100,000, against one of 10,000",
            ours="puckstream 100k",
            peer="puckstream 10k",
            figure="stop",
            must=1.3,
            aim=1.2,
        ),
    ),
)
