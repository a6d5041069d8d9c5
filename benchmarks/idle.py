"""Idle workers, started and stopped: what the spawn workloads have in common."""

from __future__ import annotations

import asyncio

import pykka

import puckstream as puck
from benchmarks.gauge import Stopwatch
from benchmarks.workload import Sample
from puckstream.supervision.handle import DynamicSupervisorRef

__all__ = ["Idle", "our_life", "pykka_life", "task_life", "worker"]


class Idle(puck.Actor):
    """An actor without a message to handle."""


async def our_life(count: int) -> Sample:
    """Start ``count`` children of a dynamic supervisor one by one, and stop it."""
    async with puck.Node() as node:
        workers = await node.start_child(puck.child(puck.DynamicSupervisor, id="workers"))
        assert isinstance(workers, DynamicSupervisorRef)
        spec = puck.child(Idle)
        watch = Stopwatch()
        for _ in range(count):
            await workers.start_child(spec)
        start = watch.micros(count)
        watch = Stopwatch()
        await workers.stop(block=False)
        stop = watch.micros(count)
        return {"time": start + stop, "start": start, "stop": stop, "stops": 1e6 / stop}


async def worker(inbox: asyncio.Queue[int]) -> None:
    """Handle messages, of which none come."""
    while True:
        await inbox.get()


async def task_life(count: int) -> Sample:
    """Start ``count`` tasks with a queue each, let them run, and cancel them all."""
    watch = Stopwatch()
    tasks = [asyncio.create_task(worker(asyncio.Queue())) for _ in range(count)]
    await asyncio.sleep(0)
    start = watch.micros(count)
    watch = Stopwatch()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    stop = watch.micros(count)
    return {"time": start + stop, "start": start, "stop": stop}


class PykkaIdle(pykka.ThreadingActor):
    pass


def pykka_life(count: int) -> Sample:
    """Start ``count`` threads, and stop them all at once."""
    watch = Stopwatch()
    refs = [PykkaIdle.start() for _ in range(count)]
    start = watch.micros(count)
    watch = Stopwatch()
    pykka.get_all([ref.stop(block=False) for ref in refs])
    stop = watch.micros(count)
    return {"time": start + stop, "start": start, "stop": stop}
