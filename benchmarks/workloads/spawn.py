"""W1 spawn: start supervised idle actors one by one, and stop them all.

pykka has fewer: it searches a list for every actor that stops, so that its cost per actor grows
with their number, and the smaller number is in its favour.
"""

from __future__ import annotations

from benchmarks.beam import elixir
from benchmarks.gauge import on_asyncio
from benchmarks.idle import our_life, pykka_life, task_life
from benchmarks.workload import Subject, Workload, faster

__all__ = ["WORKLOAD"]

WORKLOAD = Workload(
    name="spawn",
    title="W1 spawn",
    fresh=True,
    rounds=3,
    subjects=(
        Subject("puckstream 10k", lambda count: on_asyncio(lambda: our_life(count)), 10_000, 500),
        Subject("asyncio 10k", lambda count: on_asyncio(lambda: task_life(count)), 10_000, 500),
        Subject("pykka 1k", pykka_life, 1_000, 200),
        elixir("spawn", 10_000, 1_000, "Elixir 10k"),
        Subject("puckstream 100k", lambda count: on_asyncio(lambda: our_life(count)), 100_000, 500),
        Subject("asyncio 100k", lambda count: on_asyncio(lambda: task_life(count)), 100_000, 500),
        elixir("start", 100_000, 1_000, "Elixir 100k"),
    ),
    goals=(
        faster(
            "10,000 started and stopped, against pykka (1,000)",
            ours="puckstream 10k",
            peer="pykka 1k",
            must=25,
        ),
        faster(
            "10,000 started and stopped, against task + Queue",
            ours="puckstream 10k",
            peer="asyncio 10k",
            must=2,
        ),
        faster(
            "10,000 started, against DynamicSupervisor",
            ours="puckstream 10k",
            peer="Elixir 10k",
            figure="start",
            aim=0.9,
        ),
        faster(
            "100,000 started and stopped, against pykka (1,000)",
            ours="puckstream 100k",
            peer="pykka 1k",
            must=25,
        ),
        faster(
            "100,000 started and stopped, against task + Queue",
            ours="puckstream 100k",
            peer="asyncio 100k",
            must=2,
        ),
        faster(
            "100,000 started, against DynamicSupervisor",
            ours="puckstream 100k",
            peer="Elixir 100k",
            figure="start",
            aim=0.9,
        ),
        faster(
            "10,000 stopped, against DynamicSupervisor",
            ours="puckstream 10k",
            peer="Elixir 10k",
            figure="stop",
        ),
    ),
)
