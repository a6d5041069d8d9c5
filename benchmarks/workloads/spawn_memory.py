"""W1 memory: what 100,000 idle actors add to the resident memory of the process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import puckstream as puck
from benchmarks.beam import elixir
from benchmarks.gauge import on_asyncio, settle
from benchmarks.idle import Idle, worker
from benchmarks.memory import resident
from benchmarks.workload import Sample, Subject, Workload, at_most, costs, reads
from puckstream.supervision.handle import DynamicSupervisorRef

__all__ = ["WORKLOAD"]


class Growth:
    """Resident memory since it was made."""

    def __init__(self) -> None:
        settle()
        self.before = resident()

    def per_one(self, count: int) -> Sample:
        settle()
        return {"memory": (resident() - self.before) / count / 1000}


async def ours_alone(count: int) -> Sample:
    async with puck.Node() as node:
        growth = Growth()
        refs = [await node.spawn(Idle) for _ in range(count)]
        sample = growth.per_one(count)
        assert len(refs) == count
        return sample


async def ours_supervised(count: int) -> Sample:
    async with puck.Node() as node:
        workers = await node.start_child(puck.child(puck.DynamicSupervisor, id="workers"))
        assert isinstance(workers, DynamicSupervisorRef)
        spec = puck.child(Idle)
        growth = Growth()
        for _ in range(count):
            await workers.start_child(spec)
        return growth.per_one(count)


async def tasks(count: int) -> Sample:
    growth = Growth()
    started = [asyncio.create_task(worker(asyncio.Queue())) for _ in range(count)]
    await asyncio.sleep(0)
    sample = growth.per_one(count)
    for task in started:
        task.cancel()
    await asyncio.gather(*started, return_exceptions=True)
    return sample


def subject(name: str, main: Callable[[int], Coroutine[Any, Any, Sample]]) -> Subject:
    return Subject(name, lambda count: on_asyncio(lambda: main(count)), 100_000, 2_000)


WORKLOAD = Workload(
    name="spawn_memory",
    title="W1 memory",
    fresh=True,
    rounds=2,
    subjects=(
        subject("puckstream", ours_alone),
        subject("puckstream, supervised", ours_supervised),
        subject("asyncio", tasks),
        elixir("spawn_memory", 100_000, 2_000),
    ),
    goals=(
        reads(
            "of an idle actor",
            ours="puckstream",
            figure="memory",
            unit="KB",
            must=at_most(1.0),
            aim=at_most(0.6),
        ),
        costs(
            "of an idle actor, against task + Queue",
            ours="puckstream",
            peer="asyncio",
            figure="memory",
            unit="KB",
            must=0.2,
        ),
        reads(
            "of a supervised idle actor",
            ours="puckstream, supervised",
            figure="memory",
            unit="KB",
            must=at_most(1.0),
            aim=at_most(0.6),
        ),
        costs(
            "of a supervised idle actor, against GenServer",
            ours="puckstream, supervised",
            peer="Elixir",
            figure="memory",
            unit="KB",
        ),
    ),
)
