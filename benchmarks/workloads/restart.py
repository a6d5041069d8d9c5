"""W7: a supervised child that crashes again and again; the next crash follows the restart."""

from __future__ import annotations

import asyncio
from typing import Any

import puckstream as puck
from benchmarks.beam import elixir
from benchmarks.gauge import Stopwatch, on_asyncio
from benchmarks.workload import Sample, Subject, Workload, faster

__all__ = ["WORKLOAD"]


class Fragile(puck.Actor):
    def __init__(self, started: asyncio.Queue[puck.ActorRef[Any]]) -> None:
        super().__init__()
        self.started = started

    def on_start(self) -> None:
        self.started.put_nowait(self.actor_ref)

    def on_receive(self, message: Any) -> None:
        raise ValueError(message)


async def our_restarts(count: int) -> Sample:
    started: asyncio.Queue[puck.ActorRef[Any]] = asyncio.Queue()
    supervisor = puck.child(
        puck.Supervisor, [puck.child(Fragile, started)], intensity=1_000_000, period=1.0
    )
    async with puck.Node([supervisor]):
        ref = await started.get()
        watch = Stopwatch()
        for _ in range(count):
            ref.tell("crash")
            ref = await started.get()
        return {"time": watch.micros(count)}


async def task_restarts(count: int) -> Sample:
    """Do the same with a loop that catches and starts anew."""
    started: asyncio.Queue[asyncio.Queue[str]] = asyncio.Queue()

    async def fragile(inbox: asyncio.Queue[str]) -> None:
        started.put_nowait(inbox)
        raise ValueError(await inbox.get())

    async def supervisor() -> None:
        while True:
            child = asyncio.create_task(fragile(asyncio.Queue()))
            await asyncio.wait([child])
            child.exception()

    task = asyncio.create_task(supervisor())
    inbox = await started.get()
    watch = Stopwatch()
    for _ in range(count):
        inbox.put_nowait("crash")
        inbox = await started.get()
    sample = {"time": watch.micros(count)}
    task.cancel()
    return sample


WORKLOAD = Workload(
    name="restart",
    title="W7 restart",
    subjects=(
        Subject("puckstream", lambda count: on_asyncio(lambda: our_restarts(count)), 2_000, 200),
        Subject("asyncio", lambda count: on_asyncio(lambda: task_restarts(count)), 2_000, 200),
        elixir("restart", 2_000, 200),
    ),
    goals=(
        faster(
            "a crash and restart, against Supervisor",
            ours="puckstream",
            peer="Elixir",
            must=1.5,
            aim=4,
        ),
        faster("a crash and restart, against a loop around a task", ours="puckstream", peer="asyncio"),
    ),
)
